"""Why a message is found, or is not: by what store, index files and the searcher's heartbeat say of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from ragd.errors import ExitCode, UsageError
from ragd.snowflake import to_unix_ms
from ragd.store.coverage import THREAD_PARENTS, THREAD_TYPES, ProvedInterval
from ragd.store.traces import ChannelFacts, ChunkFacts, GuildFacts, MessageFacts, Standing, StrategyFacts
from ragd.text import CONVERSATION, searchable_text

LARGEST_ID = (1 << 63) - 1

_LINK = re.compile(
    r"https?://(?:(?:www|ptb|canary)\.)?discord(?:app)?\.com/channels/(@me|\d+)/(\d+)(?:/(\d+))?/?(?:[?#].*)?",
    re.IGNORECASE,
)

PROOFS = {"gateway": "an unbroken gateway session", "rest": "pages read over REST", "import": "an imported file"}
SOURCES = {"gateway": "live, by the gateway", "rest": "over REST", "import": "from an imported file"}


# What is asked about


@dataclass(frozen=True, slots=True)
class Link:
    """What names a message; without guild and channel it is an id alone."""

    message_id: int
    channel_id: int | None = None
    guild_id: int | None = None
    direct: bool = False
    """It is of a direct message."""


def parse_link(text: str) -> Link:
    """A message's id, or its link as any of Discord's clients copies it. Raises UsageError."""
    bare = text.strip().removeprefix("<").removesuffix(">").strip()
    if bare.isascii() and bare.isdigit():
        return Link(_id(bare, text))
    found = _LINK.fullmatch(bare)
    if found is None:
        raise UsageError(
            f"{_shown(text)} is neither a message's link nor its id",
            hint="a link reads https://discord.com/channels/GUILD/CHANNEL/MESSAGE",
        )
    guild, channel, message = found.groups()
    if message is None:
        raise UsageError(f"{_shown(text)} names a channel, no message", hint="copy the link of the message itself")
    if guild == "@me":
        return Link(_id(message, text), _id(channel, text), direct=True)
    return Link(_id(message, text), _id(channel, text), _id(guild, text))


def _id(digits: str, text: str) -> int:
    number = int(digits) if len(digits) <= 20 else 0
    if not 0 < number <= LARGEST_ID:
        raise UsageError(f"{_shown(text)}: {digits[:24]} is no id of Discord's", hint="ids have 17 to 19 digits")
    return number


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")


# What is known


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest generation of a strategy's index files; `position` is the chunk change up to which it reaches."""

    generation: int
    position: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything that was seen. What is not known of the message is None or empty."""

    link: Link
    now_ms: int = 0
    message: MessageFacts | None = None
    guild: GuildFacts | None = None
    channel: ChannelFacts | None = None
    parent: ChannelFacts | None = None
    standing: Standing | None = None
    chunks: Sequence[ChunkFacts] = ()
    strategies: Sequence[StrategyFacts] = ()
    positions: Mapping[str, int] | None = None
    """Up to which chunk change each of the running searcher's indexes has followed; None if none runs."""
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    own_id: int | None = None
    """The bot's own user."""


# What is made of it


class State(StrEnum):
    FINDABLE = "findable"
    WAITING = "waiting"
    """It will be found when what it waits for is done."""
    UNKNOWN = "unknown"
    """It is ready in the store, and only a running searcher could tell."""
    UNFINDABLE = "not findable"


EXIT_CODES = {
    State.FINDABLE: ExitCode.OK,
    State.WAITING: ExitCode.TEMPORARY,
    State.UNKNOWN: ExitCode.UNAVAILABLE,
    State.UNFINDABLE: ExitCode.MISSING,
}


@dataclass(frozen=True, slots=True)
class ChunkTrace:
    facts: ChunkFacts
    indexed: bool | None
    """Whether the running searcher has it; None if none runs."""
    snapshot: Snapshot | None
    """The generation on disk that holds it."""


@dataclass(frozen=True, slots=True)
class Trace:
    state: State
    reasons: tuple[str, ...]
    """Why it is not findable."""
    waits: tuple[str, ...]
    """What is still to be done about it; of one that is findable, after an edit."""
    chunks: tuple[ChunkTrace, ...]
    findable_since_ms: int | None
    """Since when a chunk that is indexed has been committed with its vector."""


def explain(sight: Sight) -> Trace:
    reasons = tuple(_reasons(sight))
    chunks = tuple(_trace_chunk(sight, chunk) for chunk in sight.chunks)
    waits = () if reasons or sight.message is None else tuple(_waits(sight, sight.message, chunks))
    state = _state(reasons, chunks)
    made = [chunk.facts.made_at for chunk in chunks if chunk.indexed and chunk.facts.made_at]
    return Trace(state, reasons, waits, chunks, min(made, default=None) if state is State.FINDABLE else None)


def _state(reasons: Sequence[str], chunks: Sequence[ChunkTrace]) -> State:
    if reasons:
        return State.UNFINDABLE
    if any(chunk.indexed for chunk in chunks):
        return State.FINDABLE
    ready = any(chunk.facts.model is not None and chunk.indexed is None for chunk in chunks)
    return State.UNKNOWN if ready else State.WAITING


def _trace_chunk(sight: Sight, chunk: ChunkFacts) -> ChunkTrace:
    snapshot = sight.snapshots.get(chunk.strategy)
    held = snapshot if snapshot and chunk.model is not None and chunk.change <= snapshot.position else None
    if sight.positions is None:
        return ChunkTrace(chunk, None, held)
    followed = sight.positions.get(chunk.strategy, -1) >= chunk.change
    return ChunkTrace(chunk, followed and chunk.model is not None, held)


# Why not


def _reasons(sight: Sight) -> Iterator[str]:
    message = sight.message
    if message is None:
        yield from _why_never_seen(sight)
        return
    if message.deleted:
        kept = "its text, as RAGD_DELETED_RETENTION_DAYS says" if message.content else "a tombstone without text"
        yield f"it was deleted; what the store keeps is {kept}"
    if sight.channel is None:
        yield "its channel is not known"
    yield from _out_of_reach(sight)
    if not message.deleted and not message.chunkable:
        yield _why_not_searched(message, sight.own_id)


def _why_not_searched(message: MessageFacts, own_id: int | None) -> str:
    if message.type not in CONVERSATION:
        return f"it is a system message (type {message.type}), which nobody wrote"
    if own_id is not None and message.author_id == own_id:
        return "the bot wrote it itself: its answers never become passages"
    if message.is_bot:
        return "a bot or a webhook wrote it, and RAGD_INDEX_BOTS is off"
    if not searchable_text(message.content, message.extra):
        return "it says nothing in words"
    return "it takes no part in search"


def _out_of_reach(sight: Sight) -> Iterator[str]:
    if sight.guild is not None and sight.guild.removed:
        yield "the bot is not in its server any more"
    channel, parent = sight.channel, sight.parent
    if channel is not None:
        yield from _shut("its channel", channel)
    if channel is not None and channel.type in THREAD_TYPES and parent is not None:
        yield from _shut("the channel of its thread", parent)


def _shut(what: str, channel: ChannelFacts) -> Iterator[str]:
    if channel.deleted:
        yield f"{what} was deleted"
    elif channel.excluded:
        yield f"{what} is excluded by the settings (RAGD_ALLOW_IDS, RAGD_DENY_IDS)"
    elif not channel.readable and not channel.imported:
        yield f"{what} is not readable for the bot: it needs View Channel and Read Message History"


def _why_never_seen(sight: Sight) -> Iterator[str]:
    link, channel = sight.link, sight.channel
    if link.direct:
        yield "direct messages are not captured"
    elif link.channel_id is None:
        yield "no message of this id was ever seen; its link would tell whether its channel is captured"
    elif channel is None:
        yield _why_unknown_channel(sight)
    else:
        shut = list(_out_of_reach(sight))
        yield from shut or [_why_not_in_channel(sight, channel)]


def _why_unknown_channel(sight: Sight) -> str:
    if sight.guild is None:
        return f"it was never seen, nor was its server ({sight.link.guild_id}): is the bot a member?"
    if sight.guild.removed:
        return "it was never seen, and the bot is not in its server any more"
    return f"it was never seen, nor was its channel ({sight.link.channel_id}): may the bot view it?"


def _why_not_in_channel(sight: Sight, channel: ChannelFacts) -> str:
    message_id, standing = sight.link.message_id, sight.standing
    if channel.type in THREAD_PARENTS:
        return "it was never seen: a forum holds no messages, its posts are threads with ids of their own"
    if channel.imported:
        return "it was never seen: its channel is known from an imported file alone"
    if standing is not None and standing.hole is not None:
        first, last = standing.hole
        extent = f"ids {first} to {last}{_times(first, last)}"
        return f"it was not captured yet: it lies in a hole of its channel, {extent}{_refusal(channel, sight.now_ms)}"
    if standing is not None and standing.proof is not None:
        how = PROOFS.get(standing.proof.source, standing.proof.source)
        return (
            f"it was never seen, although the channel is proved complete there, by {how}: it does not exist, or was"
            " deleted before it could be seen; `ragdctl audit` compares with Discord"
        )
    return f"it was never seen: {message_id} is newer than any message that was seen of its channel"


def _refusal(channel: ChannelFacts, now_ms: int) -> str:
    if channel.refused_until <= now_ms:
        return ""
    return f"; Discord refused to show the channel, it is asked again at {at_ms(channel.refused_until)}"


def _times(first: int, last: int) -> str:
    """From when to when a stretch of ids reaches; channels begin with id 1, which is no time."""
    begin = f"{at_ms(to_unix_ms(first))} to " if first > 1 else "up to "
    return f" ({begin}{at_ms(to_unix_ms(last))})"


# What it waits for


def _waits(sight: Sight, message: MessageFacts, chunks: Sequence[ChunkTrace]) -> Iterator[str]:
    if not sight.strategies:
        yield "no chunking strategy has begun: the syncer has not run yet"
    for strategy in sight.strategies:
        own = [chunk for chunk in chunks if chunk.facts.strategy == strategy.name]
        wait = _wait_for_chunks(strategy, message, own) or _wait_for_index(own)
        if wait:
            yield f"{strategy.name}: {wait}"


def _wait_for_chunks(strategy: StrategyFacts, message: MessageFacts, chunks: Sequence[ChunkTrace]) -> str:
    if strategy.position < message.change:
        return "the syncer has not followed the feed of changes up to it"
    if strategy.dirty_since is not None:
        return f"its chunks wait to be made anew, since {at_ms(strategy.dirty_since)}"
    if not chunks:
        return "no chunk holds it although one should; the syncer's next full pass mends that"
    return ""


def _wait_for_index(chunks: Sequence[ChunkTrace]) -> str:
    for chunk in chunks:
        if chunk.facts.model is None:
            return f"chunk {chunk.facts.id} waits for its vector"
        if chunk.indexed is False:
            return f"the searcher has not followed up to chunk {chunk.facts.id}"
        if chunk.indexed is None:
            return "only a running searcher could tell whether its index has it"
    return ""


def at_ms(unix_ms: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def describe_proof(proof: ProvedInterval) -> str:
    """Extent, way and times of a proof in one line."""
    how = PROOFS.get(proof.source, proof.source)
    since = at_ms(proof.proved_from)
    until = "" if proof.proved_at - proof.proved_from < 1000 else f" to {at_ms(proof.proved_at)}"
    return f"ids {proof.start_id} to {proof.end_id}, by {how}, {since}{until}"
