"""One channel's messages to chunks: pure functions, the same chunks for any batches in which the messages come.

A strategy says which messages belong together, within a *segment*: a run of messages that no boundary crosses.
Groups are then packed, in order and as whole messages, into chunks that the model reads to the end.
A new strategy is one function from a segment to groups and one entry in STRATEGIES.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from types import MappingProxyType

from ragd.errors import ConfigError
from ragd.snowflake import from_unix_seconds, to_unix_ms

CHUNKING_VERSION = 1
"""Part of every key: raise it when the same messages shall give other chunks, and all are made anew."""

GRID_MS = 6 * 3_600_000
"""Length of a cell of the UTC grid; no segment crosses from one cell to the next.

An edit re-makes its whole segment. Gaps alone bound nothing: a busy channel may never fall silent, and one
edit would re-embed years. A fixed grid bounds the work at six hours of one channel, and where it cuts depends on
no message, so no edit, deletion or late arrival can move a cut. A conversation that runs across a cell's end
becomes two: four cuts a day, against a cost of any edit that grows with the cell's length.
"""

WINDOW_MS = 3_600_000
SILENCE_MS = 1_800_000
"""A conversation in which nobody wrote for so long has ended."""
ADDRESSEE_MS = 3_600_000
"""How long ago an addressed author may have written to be taken as addressed in that conversation."""
OWN_MS = 900_000
"""How long an author is taken to go on with what they last wrote about."""
CROWD_AUTHORS = 3
CROWD_MS = 600_000
"""With so many others about, an unmarked message opens a conversation; with fewer it goes on with the latest one.

The two kinds of channel want opposite rules. A quiet one has one conversation at a time: of 34 unmarked messages of
newcomers on a small Discord server, read one by one, about 31 went on with what was there, after 20 minutes as after
one, questions too. In a crowded one (#ubuntu, the annotated IRC of Kummerfeld et al., ACL 2019) going on glues all
together: one-to-one overlap 24 %, against 68 % for always opening. Counting the voices tells them apart: IRC keeps its
68 %, and of the Discord server's replies inside a segment none loses what it answers when its reply mark is hidden.
"""

_ADDRESSED_WORDS = 4
"""How many words of a name are looked for after `@`."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """What chunking reads of a message. `text` is its searchable text and never empty."""

    id: int
    author_id: int
    author_name: str
    text: str
    reply_to_id: int | None = None
    mention_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is embedded: whole messages, or one piece of a message that is longer than the model reads."""

    key: str
    """32 hex digits: a hash of strategy, CHUNKING_VERSION, message ids, part and text."""
    strategy: str
    message_ids: tuple[int, ...]
    """Ascending."""
    text: str
    """One line a message, `author: text`; newlines inside a message are kept."""
    part: int = 0
    """Counts the pieces of one over-long message from 0; 0 for whole messages."""


Group = list[SourceMessage]


@dataclass(frozen=True, slots=True)
class Strategy:
    """How messages are put together."""

    gap_ms: int
    """No group spans two neighbouring messages that are so far apart or farther."""
    group: Callable[[Sequence[SourceMessage]], Iterable[Group]]
    """One segment to groups of ascending messages; linear, deterministic, looking at nothing else."""


def chunk_messages(
    strategy: str, messages: Sequence[SourceMessage], *, count_tokens: Callable[[str], int], max_tokens: int
) -> list[Chunk]:
    """Chunks of one channel's messages, ordered by message ids, then part.

    `messages` ascend by id without repeats (else ValueError). No chunk counts more than `max_tokens`.
    `count_tokens` includes special tokens. As it is slow, it is asked once about each message and once about each chunk
    of several, and more often only about a message that does not fit.
    Cutting `messages` wherever `is_boundary` says so and joining what the pieces give changes nothing.
    Raises KeyError for an unknown strategy; ConfigError if `max_tokens` does not hold even one character.
    """
    if any(earlier.id >= later.id for earlier, later in pairwise(messages)):
        raise ValueError("messages must ascend by id without repeats")
    packer = _Packer(strategy, count_tokens, max_tokens, special_tokens=count_tokens(""))
    return [chunk for segment in _segments(strategy, messages) for chunk in _segment_chunks(packer, segment)]


def cell_of(message_id: int) -> int:
    """The number of the grid cell that a message falls into; no chunk holds messages of two cells."""
    return to_unix_ms(message_id) // GRID_MS


def cell_bounds(cell: int) -> tuple[int, int]:
    """The lowest and the highest id that a message of the cell can have."""
    return from_unix_seconds(cell * GRID_MS / 1000), from_unix_seconds((cell + 1) * GRID_MS / 1000) - 1


def affected_span(
    strategy: str, message_ids: Sequence[int], extents: Iterable[tuple[int, int]], low_id: int, high_id: int
) -> tuple[int, int]:
    """Which part of a cell must be chunked anew after messages of low_id..high_id came, changed or went.

    `message_ids` are the cell's messages as they are now, ascending; `extents` the first and last ids of the chunks it
    had before. The span returned holds both ids, whole segments, and every old chunk that it touches: chunking just it
    and replacing just the chunks in it gives what chunking everything would.
    """
    while True:
        low_id, high_id = _whole_segments(strategy, message_ids, low_id, high_id)
        touched = [extent for extent in extents if extent[0] <= high_id and extent[1] >= low_id]
        low = min([low_id, *(first for first, _ in touched)])
        high = max([high_id, *(last for _, last in touched)])
        if (low, high) == (low_id, high_id):
            return low, high
        low_id, high_id = low, high


def _whole_segments(strategy: str, ids: Sequence[int], low_id: int, high_id: int) -> tuple[int, int]:
    """Widen a span to the segments of its nearest neighbours outside of it.

    Theirs, too: a message that went may have been all that held them together with what is inside.
    """
    left, right = bisect_left(ids, low_id) - 1, bisect_right(ids, high_id)
    while left > 0 and not is_boundary(strategy, ids[left - 1], ids[left]):
        left -= 1
    while right + 1 < len(ids) and not is_boundary(strategy, ids[right], ids[right + 1]):
        right += 1
    low = min(low_id, ids[left]) if left >= 0 else low_id
    high = max(high_id, ids[right]) if right < len(ids) else high_id
    return low, high


def is_boundary(strategy: str, earlier_id: int, later_id: int) -> bool:
    """Whether no chunk can hold messages on both sides of these two neighbours.

    Where (a, b) is a boundary, so is (x, y) for all x <= a and y >= b. So a message that comes, changes or goes touches
    no chunk outside its own segment and the segments of its two neighbours.
    """
    earlier_ms, later_ms = to_unix_ms(earlier_id), to_unix_ms(later_id)
    return later_ms - earlier_ms >= STRATEGIES[strategy].gap_ms or later_ms // GRID_MS != earlier_ms // GRID_MS


def _segments(strategy: str, messages: Sequence[SourceMessage]) -> Iterator[Sequence[SourceMessage]]:
    start = 0
    for at in range(1, len(messages)):
        if is_boundary(strategy, messages[at - 1].id, messages[at].id):
            yield messages[start:at]
            start = at
    if messages:
        yield messages[start:]


def _segment_chunks(packer: _Packer, segment: Sequence[SourceMessage]) -> list[Chunk]:
    groups = STRATEGIES[packer.strategy].group(segment)
    chunks = [chunk for group in groups for chunk in packer.pack(group)]
    return sorted(chunks, key=lambda chunk: (chunk.message_ids, chunk.part))


def _make_chunk(strategy: str, message_ids: tuple[int, ...], text: str, part: int = 0) -> Chunk:
    # Only the text can hold a newline and it comes last: no two different chunks write the same thing.
    identity = f"{strategy}\n{CHUNKING_VERSION}\n{','.join(map(str, message_ids))}\n{part}\n{text}"
    return Chunk(hashlib.sha256(identity.encode()).hexdigest()[:32], strategy, message_ids, text, part)


# --- packing: a group to chunks that fit ---


@dataclass(frozen=True, slots=True)
class _Line:
    """One message as it stands in a chunk."""

    message: SourceMessage
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class _Packer:
    """Packs groups greedily, in order, into chunks of at most `max_tokens`."""

    strategy: str
    count_tokens: Callable[[str], int]
    max_tokens: int
    special_tokens: int

    def pack(self, group: Group) -> Iterator[Chunk]:
        run: list[_Line] = []
        used = self.special_tokens
        for line in map(self._line, group):
            added = line.tokens - self.special_tokens
            if run and used + added > self.max_tokens:
                yield from self._whole(run)
                run, used = [], self.special_tokens
            if line.tokens > self.max_tokens:
                yield from self._parts(line.message)
            else:
                run.append(line)
                used += added
        if run:
            yield from self._whole(run)

    def _line(self, message: SourceMessage) -> _Line:
        text = _label(message.author_name) + message.text
        return _Line(message, text, self.count_tokens(text))

    def _whole(self, run: list[_Line]) -> Iterator[Chunk]:
        """One chunk as a rule. Tokenizers are only nearly additive: where the sum was too low, each half on its own."""
        text = "\n".join(line.text for line in run)
        if len(run) == 1 or self._fits(text):
            yield _make_chunk(self.strategy, tuple(line.message.id for line in run), text)
        else:
            middle = len(run) // 2
            yield from self._whole(run[:middle])
            yield from self._whole(run[middle:])

    def _parts(self, message: SourceMessage) -> Iterator[Chunk]:
        label = self._short_label(message.author_name)
        for part, piece in enumerate(self._pieces(label, message.text)):
            yield _make_chunk(self.strategy, (message.id,), label + piece, part)

    def _short_label(self, name: str) -> str:
        """The author's label, its name shortened until it leaves at least half of the room to the text."""
        while name and self.count_tokens(_label(name)) > self.max_tokens // 2:
            name = name[: len(name) // 2]
        return _label(name)

    def _pieces(self, label: str, text: str) -> Iterator[str]:
        """Pieces that fit behind the label; joined they are `text` again, to the last space."""
        if self._fits(label + text):
            yield text
            return
        if len(text) < 2:
            raise ConfigError(
                f"max_tokens is {self.max_tokens}: must hold special tokens, an author's name and any one character",
                hint="choose a model that reads more",
            )
        cut = _cut_near_middle(text)
        yield from self._pieces(label, text[:cut])
        yield from self._pieces(label, text[cut:])

    def _fits(self, text: str) -> bool:
        return self.count_tokens(text) <= self.max_tokens


def _label(author_name: str) -> str:
    return f"{author_name}: " if author_name else ""


_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+|\n\s*|(?<=[。！？])(?=[^\s。！？])")
_WORD_END = re.compile(r"\s+")


def _cut_near_middle(text: str) -> int:
    """Where to halve a text of two characters or more: at a sentence or line, else a word, else anywhere.

    Only ends in the middle three quarters count, lest a short greeting become a chunk of its own, and so that halving
    goes no deeper than the logarithm of the length.
    """
    margin = max(1, len(text) // 8)
    for pattern in (_SENTENCE_END, _WORD_END):
        ends = (match.end() for match in pattern.finditer(text))
        inner = [end for end in ends if margin <= end <= len(text) - margin]
        if inner:
            return min(inner, key=lambda end: abs(2 * end - len(text)))
    return len(text) // 2


# --- temporal ---


def _windows(segment: Sequence[SourceMessage]) -> list[Group]:
    """A window opens with its first message and takes in what comes within WINDOW_MS of that."""
    windows: list[Group] = []
    for message in segment:
        if windows and to_unix_ms(message.id) - to_unix_ms(windows[-1][0].id) < WINDOW_MS:
            windows[-1].append(message)
        else:
            windows.append([message])
    return windows


# --- conversation ---


def _conversations(segment: Sequence[SourceMessage]) -> list[Group]:
    room = _Room()
    for message in segment:
        room.hear(message)
    return [conversation.messages for conversation in room.conversations]


@dataclass(slots=True)
class _Conversation:
    messages: Group = field(default_factory=list)
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """What an author did last."""

    conversation: _Conversation
    at_ms: int


@dataclass(slots=True)
class _Room:
    """Who talks about what in a segment, as one knows who has heard it up to now.

    Each message joins the conversation that the first rule with an answer names: what it replies to, whom it speaks to,
    what its author was at, what a channel without a crowd was at. Without an answer it opens a conversation.
    """

    conversations: list[_Conversation] = field(default_factory=list)
    by_message: dict[int, _Conversation] = field(default_factory=dict)
    turns: OrderedDict[int, _Turn] = field(default_factory=OrderedDict)
    """By author, the one who spoke last at the end."""
    authors: dict[str, int] = field(default_factory=dict)
    """By name, casefolded; of two authors of one name the one who spoke last."""

    def hear(self, message: SourceMessage) -> None:
        now_ms = to_unix_ms(message.id)
        conversation = (
            self._replied(message, now_ms)
            or self._addressed(message, now_ms)
            or _joinable(self.turns.get(message.author_id), now_ms, OWN_MS)
            or self._continued(now_ms)
            or self._open()
        )
        conversation.messages.append(message)
        conversation.last_ms = now_ms
        self._remember(message, _Turn(conversation, now_ms))

    def _replied(self, message: SourceMessage, now_ms: int) -> _Conversation | None:
        conversation = self.by_message.get(message.reply_to_id) if message.reply_to_id else None
        return conversation if conversation and now_ms - conversation.last_ms < SILENCE_MS else None

    def _addressed(self, message: SourceMessage, now_ms: int) -> _Conversation | None:
        for author_id in self._addressees(message):
            conversation = _joinable(self.turns.get(author_id), now_ms, ADDRESSEE_MS)
            if conversation:
                return conversation
        return None

    def _addressees(self, message: SourceMessage) -> Iterator[int]:
        named = (self.authors.get(name) for name in _addressed_names(message.text))
        for author_id in chain(message.mention_ids, named):
            if author_id is not None and author_id != message.author_id:
                yield author_id

    def _continued(self, now_ms: int) -> _Conversation | None:
        """The channel's latest conversation, unless a crowd is about.

        The author is never part of the crowd: whoever spoke so lately goes on with that, by the rule before.
        """
        turns = list(islice(reversed(self.turns.values()), CROWD_AUTHORS))
        if not turns or (len(turns) == CROWD_AUTHORS and now_ms - turns[-1].at_ms < CROWD_MS):
            return None
        return _joinable(turns[0], now_ms, SILENCE_MS)

    def _open(self) -> _Conversation:
        self.conversations.append(_Conversation())
        return self.conversations[-1]

    def _remember(self, message: SourceMessage, turn: _Turn) -> None:
        self.by_message[message.id] = turn.conversation
        self.turns[message.author_id] = turn
        self.turns.move_to_end(message.author_id)
        self.authors[message.author_name.casefold()] = message.author_id


def _joinable(turn: _Turn | None, now_ms: int, within_ms: int) -> _Conversation | None:
    """The turn's conversation if the turn is recent enough and the conversation has not ended."""
    if turn is None or now_ms - turn.at_ms >= within_ms or now_ms - turn.conversation.last_ms >= SILENCE_MS:
        return None
    return turn.conversation


_ADDRESS = re.compile(r"@?([^:,\n]{1,64})[:,]")


def _addressed_names(text: str) -> Iterator[str]:
    """Casefolded candidates for `name:`, `name,` and `@name` at the start of a text, longest first after `@`."""
    if match := _ADDRESS.match(text):
        yield match[1].strip().casefold()
    if text.startswith("@"):
        words = text[1:].split(maxsplit=_ADDRESSED_WORDS)[:_ADDRESSED_WORDS]
        for count in range(len(words), 0, -1):
            yield " ".join(words[:count]).rstrip(".:,;!?").casefold()


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "temporal": Strategy(gap_ms=WINDOW_MS, group=_windows),
        "conversation": Strategy(gap_ms=SILENCE_MS, group=_conversations),
    }
)
