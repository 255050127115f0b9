"""How coverage looks on a terminal: a table of channels, and one channel in full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ragd.cli.render import format_seconds, one_line
from ragd.snowflake import to_unix_ms
from ragd.store.completeness import ChannelCompleteness, percent
from ragd.store.coverage import THREAD_TYPES, Interval, ProvedInterval

PROOFS = {"gateway": "live", "rest": "REST", "import": "file"}
"""How each source of an interval is called: an unbroken session, pages of history, an imported file."""

MOST_SPANS = 200
"""Intervals and holes of one channel that are listed; more would only scroll away. `--json` has all."""

WIDTH_WITH_IDS = 110
"""Columns that the table of intervals takes with their ids."""

_ID_HEADINGS = ("first id", "last id")


# All channels


def show_channels(screen: Console, channels: Sequence[ChannelCompleteness]) -> None:
    """A table of each guild's channels, threads under their parents, and what is left out with the reason."""
    if not channels:
        screen.print("No channel is known yet: start ragd, or see `ragdctl status`.")
        return
    for guild_channels in _by_guild(channels):
        _show_guild(screen, guild_channels)
    screen.print(_summary(channels))


def _by_guild(channels: Sequence[ChannelCompleteness]) -> list[list[ChannelCompleteness]]:
    guilds: dict[int, list[ChannelCompleteness]] = defaultdict(list)
    for channel in channels:
        guilds[channel.guild_id].append(channel)
    return [guilds[guild_id] for guild_id in sorted(guilds)]


def _show_guild(screen: Console, channels: Sequence[ChannelCompleteness]) -> None:
    screen.print(Text(one_line(channels[0].guild) or f"server {channels[0].guild_id}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("channel", overflow="ellipsis", no_wrap=True, max_width=40)
    for heading in ("complete", "intervals", "holes", "messages"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("newest hole ends", no_wrap=True)
    table.add_column("proved by", overflow="ellipsis", no_wrap=True)
    for channel, depth in _family_order(channels):
        table.add_row(*_row(channel, depth))
    screen.print(table)
    screen.print()


def _family_order(channels: Sequence[ChannelCompleteness]) -> Iterator[tuple[ChannelCompleteness, int]]:
    """Channels by name, each followed by its threads; threads whose parent nobody knows come last."""
    threads: dict[int | None, list[ChannelCompleteness]] = defaultdict(list)
    tops: list[ChannelCompleteness] = []
    for channel in sorted(channels, key=lambda one: (one.name.casefold(), one.channel_id)):
        (threads[channel.parent_id] if channel.type in THREAD_TYPES else tops).append(channel)
    for top in tops:
        yield top, 0
        yield from ((thread, 1) for thread in threads.pop(top.channel_id, ()))
    yield from ((orphan, 1) for orphans in threads.values() for orphan in orphans)


def _row(channel: ChannelCompleteness, depth: int) -> list[Text | str]:
    name = f"{'  ' * depth}{'' if depth else '#'}{one_line(channel.name)}"
    if channel.left_out:
        return [name, "-", f"{channel.intervals:,}", "-", f"{channel.messages:,}", "-", Text(channel.left_out, "dim")]
    return [
        name,
        Text(_percent(channel.percent), style="yellow" if channel.holes else "green"),
        f"{channel.intervals:,}",
        f"{len(channel.holes):,}",
        f"{channel.messages:,}",
        _time_of(channel.holes[-1][1]) if channel.holes else "-",
        _how(channel),
    ]


def _how(channel: ChannelCompleteness) -> Text:
    """How much of what is covered was proved in which way, and whether Discord refuses to say more."""
    by = channel.covered_by
    shares = [f"{PROOFS.get(source, source)} {_share(by[source], channel.covered)}" for source in sorted(by)]
    text = Text(", ".join(shares) or "nothing yet", style="dim")
    if channel.refused_until:
        text = Text(f"Discord refused; asked again at {_time(channel.refused_until)}", style="yellow")
    return text


def _share(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %" if whole else "0 %"


def _percent(value: float) -> str:
    return "100 %" if value == 100 else f"{value:.2f} %"


def _summary(channels: Sequence[ChannelCompleteness]) -> Text:
    captured = [channel for channel in channels if not channel.left_out]
    holes = sum(len(channel.holes) for channel in captured if not channel.refused_until)
    refused = sum(len(channel.holes) for channel in captured if channel.refused_until)
    whole = percent(
        sum(channel.covered for channel in captured),
        sum(channel.extent for channel in captured),
        complete=not holes and not refused,
    )
    later = f", {_count(refused, 'hole')} where Discord refused" if refused else ""
    left_out = len(channels) - len(captured)
    return Text(
        f"{_percent(whole)} complete: {_count(len(captured), 'channel')} captured, {left_out:,} left out,"
        f" {sum(channel.messages for channel in channels):,} messages, {_count(holes, 'hole')} to fetch{later}",
        style="yellow" if holes or refused else "green",
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# One channel


def show_channel(screen: Console, channel: ChannelCompleteness, proofs: Sequence[ProvedInterval]) -> None:
    """Its intervals and holes, the newest first, each with its ids, its times and its proof."""
    screen.print(
        Text.assemble((f"#{one_line(channel.name)}", "bold"), f" in {one_line(channel.guild)}  {channel.channel_id}")
    )
    if channel.left_out:
        screen.print(Text(f"not captured: {channel.left_out}", style="yellow"))
    else:
        style = "yellow" if channel.holes else "green"
        screen.print(Text(f"{_percent(channel.percent)} complete, {channel.messages:,} messages", style=style))
    if channel.refused_until:
        screen.print(Text(f"Discord refused; asked again at {_time(channel.refused_until)}", style="yellow"))
    _show_spans(screen, channel, proofs)
    unlisted = len(proofs) + len(channel.holes) - MOST_SPANS
    if unlisted > 0:
        screen.print(Text(f"and {unlisted:,} older ones: see --json", style="dim"))


def _show_spans(screen: Console, channel: ChannelCompleteness, proofs: Sequence[ProvedInterval]) -> None:
    """Ids are shown whole or, where they leave no room to the times, not at all: --json has them."""
    hidden = 0 if screen.width >= WIDTH_WITH_IDS else len(_ID_HEADINGS)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for heading in _ID_HEADINGS[hidden:]:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for heading in ("from", "to", "span", "proved, last"):
        table.add_column(heading, no_wrap=heading != "proved, last")
    spans: list[Interval | ProvedInterval] = [*proofs, *channel.holes]
    for span in sorted(spans, key=_end, reverse=True)[:MOST_SPANS]:
        if isinstance(span, ProvedInterval):
            how = f"{_time(span.proved_at)} {PROOFS.get(span.source, span.source)}"
            table.add_row("complete", *_ids_and_times((span.start_id, span.end_id), channel)[hidden:], how)
        else:
            table.add_row(Text("hole", style="yellow"), *_ids_and_times(span, channel)[hidden:], "-")
    if table.row_count:
        screen.print(table)


def _end(span: Interval | ProvedInterval) -> int:
    return span.end_id if isinstance(span, ProvedInterval) else span[1]


def _ids_and_times(interval: Interval, channel: ChannelCompleteness) -> list[str]:
    """The ids as they are; the times from the making of the channel on, for before it there was nothing to miss."""
    first, last = interval
    begin = max(first, channel.first_id)
    if begin > last:
        return [str(first), str(last), "before the channel", "", ""]
    seconds = (to_unix_ms(last) - to_unix_ms(begin)) / 1000
    return [str(first), str(last), _time_of(begin), _time_of(last), format_seconds(seconds)]


def _time_of(message_id: int) -> str:
    return _time(to_unix_ms(message_id))


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
