"""`ragdctl search`: ask the searcher as the operator, who may read everything, or as a member."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ragd.answers import SearchAnswer, SearchRequest, SearchResult
from ragd.cli.asker import AsUser, InGuild, find_asker, only_allowed
from ragd.cli.render import AsJson, console, harmless, link, local_time, one_line, print_json
from ragd.config import load_settings
from ragd.errors import RagdError
from ragd.search_client import ask_searcher

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_SPAN_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def search(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help='What to look for, in any words. Also "these words together", -without, from:name, in:channel or'
            " in:thread, since:, after: and before: a date, month, year or span (2026-01-31, 2026-01, 7d), and"
            " has:link, file, code, image or embed.",
        ),
    ],
    *,
    channel: Annotated[str | None, typer.Option(help="Only in this channel and its threads: name or id.")] = None,
    author: Annotated[str | None, typer.Option(help="Only passages in which this person wrote: name or id.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what is newer: 2026-01-31, an ISO time, or 30m, 12h, 7d, 2w ago.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many passages at most.")] = 10,
    as_user: AsUser = None,
    guild: InGuild = None,
    as_json: AsJson = False,
) -> None:
    """Search what was said, by words and by meaning. Each passage comes with its score, author, time and a link; the
    message that answers best is marked.
    """
    newer = parse_since(since, datetime.now().astimezone()).isoformat() if since else None
    settings = load_settings()
    access = find_asker(settings, as_user, guild).access(settings)
    request = SearchRequest(text, access, limit, channel=channel, author=author, since=newer)
    answer = only_allowed(ask_searcher(settings.search_socket, request), access)
    if as_json:
        print_json(asdict(answer))
    else:
        _show(console(), answer, request)


def parse_since(text: str, now: datetime, option: str = "--since") -> datetime:
    """A date or time (local unless it says otherwise), or a span before `now`, to a time with its offset.

    Raises RagdError naming the option and the rule.
    """
    try:
        if span := _SPAN.fullmatch(text.strip()):
            return now - timedelta(**{_SPAN_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise RagdError(
            f"{option}={one_line(text)}: must be a date (2026-01-31), an ISO time, or a span such as 30m, 12h, 7d, 2w"
        ) from None


def _show(screen: Console, answer: SearchAnswer, request: SearchRequest) -> None:
    for result in answer.results:
        _show_result(screen, result)
    if not answer.results:
        screen.print(_why_empty(answer, request), soft_wrap=True)
    for remark in answer.remarks:
        screen.print(Text(f"Note: {one_line(remark)}", style="yellow"), soft_wrap=True)
    screen.print(Text(footer(answer), style="dim"), soft_wrap=True)


def _show_result(screen: Console, result: SearchResult) -> None:
    screen.print(
        Text.assemble(
            (f"{result.score:.2f}", "bold green"),
            "  ",
            (f"#{one_line(result.channel)}", "cyan"),
            "  ",
            (one_line(result.author), "bold"),
            f"  {local_time(result.time)}",
            (f"  by {result.found_by.replace('+', ' and ')}" if result.found_by else "", "dim"),
        ),
        soft_wrap=True,
    )
    screen.print(link(result.url, "dim"), soft_wrap=True)
    passage = _passage(result)
    if screen.is_terminal:
        screen.print(Padding(passage, (0, 0, 1, 2)))
    else:  # for files and pipes one line stays one line
        screen.print(Text("\n").join([*(Text("  ") + line for line in passage.split("\n")), Text("")]), soft_wrap=True)


def _passage(result: SearchResult) -> Text:
    """What was said, the best message marked, what stands around a single one dim."""
    best = harmless(result.highlight)
    passage = harmless(result.text)
    start = f"\n{passage}\n".find(f"\n{best}\n")  # whole, for somebody else may have quoted it
    lines = [Text(f"  {line}", "dim") for text in result.before for line in harmless(text).splitlines()]
    if best and start >= 0:
        lines += _marked(passage[:start], "  ") + _marked(best, "> ", "bold")
        passage = passage[start + len(best) :].removeprefix("\n")
    lines += _marked(passage, "  ")
    lines += [Text(f"  {line}", "dim") for text in result.after for line in harmless(text).splitlines()]
    return Text("\n").join(lines)


def _marked(text: str, mark: str, style: str = "") -> list[Text]:
    return [Text(mark + line, style) for line in text.splitlines()]


def _why_empty(answer: SearchAnswer, request: SearchRequest) -> str:
    if answer.why:
        why = one_line(answer.why)
    elif not answer.indexed:
        why = "nothing is indexed yet; `ragdctl status` tells how far it is"
    elif request.channel or request.author or request.since:
        why = "no passage passes --channel, --author and --since; try with fewer of them"
    else:
        why = "none of the indexed passages can be read any more"
    return f"No results: {why}."


def footer(answer: SearchAnswer) -> str:
    """One line: how many of how many, and how well what was searched is known."""
    upto = f"indexed to {local_time(answer.indexed_to)}" if answer.indexed_to else "nothing indexed"
    waiting = f"{answer.lag_messages:,} messages found by words only" if answer.lag_messages else "none waiting"
    holes = f"{answer.holes:,} {'hole' if answer.holes == 1 else 'holes'} in these channels"
    shown = f"{len(answer.results)} of {answer.indexed:,} passages in {answer.took_ms:.0f} ms"
    return f"{shown}; {upto}, {waiting}, {holes}"
