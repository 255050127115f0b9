"""The answer to `/ask` as Discord shows it: nothing in it acts, whoever wrote it, and it keeps to Discord's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ragd.answering import Quote, Reply, Sentence, Source
from ragd.bot.commands.passages import BLOCK_OVERHEAD, Answer, nothing_found, reading_notes, that_fit, unix_seconds
from ragd.bot.commands.wording import clip, code_block, inert, inert_line, moment, width

_SENTENCE_MOST = 600
_QUOTE_MOST = 500


def render_reply(reply: Reply, room: int, *, public: bool) -> str:
    """The written answer with its citations, or the quotes, in at most `room` characters."""
    shown = Answer(reply.question, reply.found, public, command="ask")
    if not reply.sources:
        return clip("\n".join([nothing_found(shown), *reading_notes(shown)]), room)
    notes = "\n".join([*([f"-# {reply.note}"] if reply.note else []), *reading_notes(shown)])
    left = room - width(notes) - 1
    body = _written(reply, left) if reply.sentences else _quoted(reply.sources, left)
    return "\n".join(filter(None, [body, notes]))


# Written


def _written(reply: Reply, room: int) -> str:
    """As many whole sentences as there is room for beside the passages that they cite."""
    links = {source.number: source.result.url for source in reply.sources}
    foot = f"-# Written by the language model {inert_line(reply.model, 60)}; only the messages themselves are certain."
    for count in range(len(reply.sentences), 0, -1):
        sentences = reply.sentences[:count]
        cited = {number for sentence in sentences for number in sentence.cites}
        listed = [_listed(source) for source in reply.sources if source.number in cited]
        text = "\n".join([" ".join(_sentence(one, links) for one in sentences), *listed, foot])
        if width(text) <= room:
            return text
    return clip(foot, room)


def _sentence(sentence: Sentence, links: Mapping[int, str]) -> str:
    cites = " ".join(f"[({number})]({links[number]})" for number in sentence.cites)
    return f"{inert_line(sentence.text, _SENTENCE_MOST)} {cites}"


def _listed(source: Source) -> str:
    first = source.quotes[0] if source.quotes else None
    author, time = (first.author, first.time) if first else (source.result.author, source.result.time)
    return f"-# ({source.number}) {_where(source)} · {inert_line(author, 40)} · {_at(time)}"


def _where(source: Source) -> str:
    url = source.quotes[0].url if source.quotes else source.result.url
    return f"[#{inert_line(source.result.channel, 50)}]({url})"


def _at(iso: str) -> str:
    return moment(unix_seconds(iso), "f") if iso else ""


# Quotes


def _quoted(sources: Sequence[Source], room: int) -> str:
    """Each passage's own words, with the same room for each; the last are left out if there is none for them."""
    headers = that_fit([_header(source) for source in sources], room)
    if not headers:
        return clip(_header(sources[0]), room)
    spent = sum(width(header) + BLOCK_OVERHEAD + 2 for header in headers)
    share = min(_QUOTE_MOST, (room - spent) // len(headers))
    return "\n".join(
        f"{header}\n{code_block(clip(_quotes(source.quotes), share))}"
        for header, source in zip(headers, sources, strict=False)
    )


def _header(source: Source) -> str:
    time = source.quotes[0].time if source.quotes else source.result.time
    return f"**{source.number}.** {_where(source)} · {_at(time)}"


def _quotes(quotes: Sequence[Quote]) -> str:
    return "\n".join(f"{' '.join(inert(quote.author).split())}: {_lines(quote.text)}" for quote in quotes)


def _lines(text: str) -> str:
    return "\n  ".join(" ".join(line.split()) for line in inert(text).splitlines() if line.strip())
