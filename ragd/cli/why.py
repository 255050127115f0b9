"""`ragdctl why`: what became of one message, from Discord to the index. Reads, and works while everything is down."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ragd.cli.render import AsJson, console, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import DamagedError
from ragd.heartbeat import Heartbeat, process_exists, read_heartbeat
from ragd.snowflake import to_unix_ms
from ragd.store import Store
from ragd.store.canary import CANARY_CHANNEL
from ragd.trace import (
    EXIT_CODES,
    SOURCES,
    ChunkTrace,
    Link,
    Sight,
    Snapshot,
    State,
    Trace,
    at_ms,
    describe_proof,
    explain,
    parse_link,
)

EXCERPT = 80
"""Characters of the message that are shown."""

_SERVING = ("running", "degraded")

_STYLES = {State.FINDABLE: "green", State.UNFINDABLE: "red"}


def why(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A message's link, or its id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell why a message is found or is not: how it was received, what proves it, which chunks, vectors and indexes
    hold it. Exit code: 0 it is findable, 66 it is not, 75 it will be, 69 only a running searcher could tell.
    """
    settings = load_settings()
    wanted = parse_link(link)
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        sight = look(settings, store, wanted)
    trace = explain(sight)
    if as_json:
        print_json(_document(sight, trace))
    else:
        _show(console(), sight, trace)
    raise typer.Exit(EXIT_CODES[trace.state])


# Looking


def look(settings: Settings, store: Store, link: Link) -> Sight:
    """Everything that can be seen of the message, whatever runs. Raises RagdError when the store cannot be read."""
    # here, because the package loads numpy, which no other command needs
    from ragd.chunking import cell_of

    traces = store.traces
    message = traces.message(link.message_id)
    channel_id = message.channel_id if message else link.channel_id
    channel = None if channel_id in (None, CANARY_CHANNEL) else traces.channel(channel_id or 0)
    guild_id = channel.guild_id if channel else message.guild_id if message else link.guild_id
    searcher = _beat(settings, "searcher")
    strategies = traces.strategies(message.channel_id, cell_of(message.id)) if message else []
    return Sight(
        link,
        time.time_ns() // 1_000_000,
        message,
        traces.guild(guild_id) if guild_id else None,
        channel,
        traces.channel(channel.parent_id) if channel and channel.parent_id else None,
        traces.standing(channel, link.message_id, store.coverage.proofs(channel.id)) if channel else None,
        traces.chunks(link.message_id) if message else (),
        strategies,
        _positions(searcher),
        _snapshots(settings, [strategy.name for strategy in strategies]),
        traces.own_user_id() or None,
    )


def _beat(settings: Settings, process: str) -> Heartbeat | None:
    """The last heartbeat there was, whether or not the process still lives."""
    try:
        return read_heartbeat(settings.heartbeat_dir, process)
    except (DamagedError, OSError):
        return None


def _positions(searcher: Heartbeat | None) -> dict[str, int] | None:
    """Of each index of a searcher that answers; None if none does."""
    if searcher is None or searcher.state not in _SERVING or not process_exists(searcher.pid):
        return None
    return {
        name.removeprefix("position_"): count
        for name, count in searcher.counters.items()
        if name.startswith("position_") and isinstance(count, int)
    }


def _snapshots(settings: Settings, strategies: list[str]) -> dict[str, Snapshot]:
    """The newest generation of each index that can be read."""
    # here, because the package loads hnswlib, which no other command needs
    from ragd.index.snapshot import generations, read_manifest

    found = {}
    for strategy in strategies:
        directory = settings.index_dir / strategy
        with contextlib.suppress(DamagedError):
            for generation in generations(directory)[:1]:
                manifest = read_manifest(directory, generation)
                found[strategy] = Snapshot(manifest.generation, manifest.position, manifest.created_at)
    return found


# Showing


def _show(screen: Console, sight: Sight, trace: Trace) -> None:
    lines = [*_message_lines(sight), *_proof_lines(sight), *(_chunk_line(chunk) for chunk in trace.chunks)]
    for head, told in lines:
        screen.print(Text(f"{head:<9} {told}"), soft_wrap=True)
    since = f" since {at_ms(trace.findable_since_ms)}" if trace.findable_since_ms else ""
    why_not = "".join(f"\n- {one_line(reason)}" for reason in (*trace.reasons, *trace.waits))
    screen.print(Text(f"{trace.state}{since}{why_not}", style=_STYLES.get(trace.state, "yellow")), soft_wrap=True)


def _message_lines(sight: Sight) -> list[tuple[str, str]]:
    message = sight.message
    if message is None:
        return []
    channel = f"#{sight.channel.name}" if sight.channel else f"channel {message.channel_id}"
    guild = f" of {sight.guild.name}" if sight.guild else ""
    author = f" by {message.author_name}" if message.author_name else ""
    told = f"{message.id} in {channel}{guild}{author}, {at_ms(to_unix_ms(message.id))}"
    edited = f", edited {at_ms(message.edited_at)}" if message.edited_at else ""
    received = f"{at_ms(message.received_at)}, {SOURCES.get(message.source, message.source)}{edited}"
    lines = [("message", one_line(told)), ("received", received)]
    if message.content:
        lines.insert(1, ("text", _excerpt(message.content)))
    if sight.link.channel_id not in (None, message.channel_id):
        lines.append(("note", f"the link names channel {sight.link.channel_id}, it is in {message.channel_id}"))
    return lines


def _proof_lines(sight: Sight) -> list[tuple[str, str]]:
    standing = sight.standing
    if standing is None:
        return []
    if standing.proof is not None:
        return [("proved", describe_proof(standing.proof))]
    if standing.hole is not None:
        return [("proved", f"not: ids {standing.hole[0]} to {standing.hole[1]} are a hole")]
    return [("proved", "not: it is newer than what is known of the channel")]


def _chunk_line(chunk: ChunkTrace) -> tuple[str, str]:
    facts, count = chunk.facts, chunk.facts.messages
    made = f"made {at_ms(facts.made_at)}" if facts.made_at else "made before that was kept"
    vector = f"vector of {facts.model}" if facts.model else "no vector"
    indexed = {True: "in the index", False: "not in the index yet", None: "no searcher runs"}[chunk.indexed]
    snapshot = f", on disk in generation {chunk.snapshot.generation}" if chunk.snapshot else ""
    several = f"{count} messages" if count != 1 else "1 message"
    return "chunk", one_line(f"{facts.strategy} {facts.id}: {several}, {made}; {vector}; {indexed}{snapshot}")


def _excerpt(content: str) -> str:
    line = one_line(content)
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}..."


def _document(sight: Sight, trace: Trace) -> dict[str, Any]:
    return {
        "state": trace.state.value,
        "reasons": list(trace.reasons),
        "waits": list(trace.waits),
        "findable_since_ms": trace.findable_since_ms,
        "message_id": str(sight.link.message_id),
        "message": _message_document(sight),
        "proof": asdict(sight.standing.proof) if sight.standing and sight.standing.proof else None,
        "hole": list(sight.standing.hole) if sight.standing and sight.standing.hole else None,
        "chunks": [_chunk_document(chunk) for chunk in trace.chunks],
    }


def _message_document(sight: Sight) -> dict[str, Any] | None:
    message = sight.message
    if message is None:
        return None
    return {
        "guild_id": str(message.guild_id),
        "channel_id": str(message.channel_id),
        "channel": sight.channel.name if sight.channel else None,
        "author_id": str(message.author_id),
        "author": message.author_name,
        "excerpt": _excerpt(message.content),
        "source": message.source,
        "received_at_ms": message.received_at,
        "edited_at_ms": message.edited_at or None,
        "deleted": message.deleted,
    }


def _chunk_document(chunk: ChunkTrace) -> dict[str, Any]:
    facts = chunk.facts
    return {
        "id": facts.id,
        "strategy": facts.strategy,
        "key": facts.key,
        "messages": facts.messages,
        "made_at_ms": facts.made_at or None,
        "model": facts.model,
        "indexed": chunk.indexed,
        "generation": chunk.snapshot.generation if chunk.snapshot else None,
    }
