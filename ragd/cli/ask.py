"""`ragdctl ask`: the searcher's passages as an answer, for the operator, who may read everything, or a member."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ragd.answering import Answerer, Quote, Reply, Source
from ragd.answers import SearchRequest
from ragd.cli.asker import AsUser, InGuild, find_asker, only_allowed
from ragd.cli.render import AsJson, console, harmless, link, local_time, one_line, print_json
from ragd.cli.search import footer, parse_since
from ragd.config import Settings, load_settings
from ragd.search_client import ask_searcher
from ragd.store import Store
from ragd.store.spending import OPERATOR

Result = TypeVar("Result")


def ask(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The question; it may have what `ragdctl search` knows.")],
    *,
    channel: Annotated[str | None, typer.Option(help="Only from this channel and its threads: name or id.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from what is newer: 2026-01-31, an ISO time, or 30m, 12h, 7d, 2w ago.")
    ] = None,
    as_user: AsUser = None,
    guild: InGuild = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Quotes, even with RAGD_LLM_URL.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question from what was said, with a link to every message it rests on: in sentences with RAGD_LLM_URL,
    else in quotes.
    """
    settings = load_settings()
    answerer = Answerer(settings, _writing(settings))
    newer = parse_since(since, datetime.now().astimezone()).isoformat() if since else None
    access = find_asker(settings, as_user, guild).access(settings)
    request = SearchRequest(text, access, answerer.passages, channel=channel, since=newer)
    found = only_allowed(ask_searcher(settings.search_socket, request), access)
    reply = asyncio.run(answerer.answer(text, found, OPERATOR, write=not no_llm))
    if as_json:
        print_json(document(reply))
    else:
        _show(console(), reply)


def _writing(settings: Settings) -> Any:
    """What costs is counted where capture counts it: nobody else's tokens are spent twice."""

    async def in_store(work: Callable[[Store], Result]) -> Result:
        with contextlib.closing(Store.open(settings.database_path)) as store:
            return work(store)

    return in_store


def document(reply: Reply) -> dict[str, Any]:
    """What `--json` prints; ids and times as in `ragdctl search --json`."""
    return {
        "question": reply.question,
        "written_by": reply.model,
        "sentences": [asdict(sentence) for sentence in reply.sentences],
        "note": reply.note,
        "sources": [_source(source) for source in reply.sources],
        **{name: value for name, value in asdict(reply.found).items() if name != "results"},
    }


def _source(source: Source) -> dict[str, Any]:
    result = source.result
    return {
        "number": source.number,
        "url": result.url,
        "channel": result.channel,
        "channel_id": result.channel_id,
        "guild_id": result.guild_id,
        "message_ids": result.message_ids,
        "quotes": [asdict(quote) for quote in source.quotes],
    }


def _show(screen: Console, reply: Reply) -> None:
    if reply.sentences:
        for sentence in reply.sentences:
            cites = "".join(f"[{number}]" for number in sentence.cites)
            screen.print(Text.assemble(one_line(sentence.text), " ", (cites, "bold cyan")), soft_wrap=True)
        screen.print(Text(f"Written by {one_line(reply.model)} from:", style="dim"), soft_wrap=True)
        screen.print()
    for source in reply.sources:
        _show_source(screen, source)
    if not reply.sources:
        screen.print(f"No answer: {one_line(reply.found.why) or 'nothing was found'}.", soft_wrap=True)
    shown = replace(reply.found, results=[source.result for source in reply.sources])
    for remark in [*([reply.note.rstrip(".")] if reply.note else []), *reply.found.remarks]:
        screen.print(Text(f"Note: {one_line(remark)}.", style="yellow"), soft_wrap=True)
    screen.print(Text(footer(shown), style="dim"), soft_wrap=True)


def _show_source(screen: Console, source: Source) -> None:
    number = (f"[{source.number}]", "bold cyan")
    screen.print(Text.assemble(number, "  ", (f"#{one_line(source.result.channel)}", "cyan")), soft_wrap=True)
    for quote in source.quotes:
        _show_quote(screen, quote)
    screen.print()


def _show_quote(screen: Console, quote: Quote) -> None:
    at = f"  {local_time(quote.time)}" if quote.time else ""
    screen.print(Text.assemble("  ", (one_line(quote.author), "bold"), at), soft_wrap=True)
    words = Text(harmless(quote.text))
    if screen.is_terminal:
        screen.print(Padding(words, (0, 0, 0, 4)))
    else:  # for files and pipes one line stays one line
        screen.print(Text("\n").join([Text("    ") + line for line in words.split("\n")]), soft_wrap=True)
    screen.print(Text("    ") + link(quote.url, "dim"), soft_wrap=True)
