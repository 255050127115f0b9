"""The `conversation` strategy: who goes on with what, judged message by message as one who has heard it up to now.

What a message replies to decides. Otherwise a learned scorer says which earlier message it most likely goes on from, or
that it opens a conversation; the fewer voices there are, the less is it believed about that (see OPENING_ODDS).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from ragd.chunking.messages import ChunkingOptions, Group, SourceMessage
from ragd.chunking.scorer import bundled_scorer
from ragd.snowflake import to_unix_ms

Probabilities = NDArray[np.float32]
"""That a message opens a conversation, then that it goes on from the one before, from the one before that, ..."""

OPENING_ODDS = (0.0, 0.0, math.exp(-2), math.exp(-1))
"""What the odds of opening are multiplied by, by the number of other authors in the last `gap_ms`; 1 with more of them.

The scorer learned from a crowd (#ubuntu), where an unmarked message opens a conversation as a rule. A quiet channel
wants the opposite: of 34 unmarked messages of newcomers on a small Discord server, read one by one, about 31 went on
with what was there, after 20 minutes as after one, questions too. `python -m benchmarks disentangle` weighs both: the
annotated IRC, the Discord server with its reply marks hidden, and conversations of that server laid over one another.
What is won on quiet channels (159 of 161 replies kept with what they answer, 62 by the scorer alone) costs a little
where three or four marked conversations of few people run at once.
"""

ENOUGH_TO_PART = 1 + sum(odds == 0 for odds in OPENING_ODDS)
"""Authors, without whom a segment is one conversation."""


def conversations(segment: Sequence[SourceMessage], options: ChunkingOptions) -> list[Group]:
    """The groups of a segment, in the order in which they were opened."""
    if len({message.author_id for message in segment}) < ENOUGH_TO_PART:
        return [list(segment)]  # what a room would find, too: nobody but the first message opens anything
    return listen(segment, options.gap_ms, bundled_scorer().probabilities(segment)).groups


def listen(segment: Sequence[SourceMessage], gap_ms: int, scores: Iterable[Probabilities]) -> Room:
    """A room in which all of a segment has been heard, with what the scorer makes of each message."""
    room = Room(gap_ms)
    for message, probabilities in zip(segment, scores, strict=True):
        room.hear(message, probabilities)
    return room


@dataclass(slots=True)
class _Conversation:
    messages: Group = field(default_factory=list)
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message in its conversation."""

    message_id: int
    at_ms: int
    conversation: _Conversation


@dataclass(slots=True)
class Room:
    """Who talks about what in a segment. A conversation in which nobody wrote for `gap_ms` has ended."""

    gap_ms: int
    groups: list[Group] = field(default_factory=list)
    links: dict[int, int | None] = field(default_factory=dict)
    """By message what it goes on from; None if it opens a conversation."""
    _turns: list[_Turn] = field(default_factory=list)
    _by_message: dict[int, _Turn] = field(default_factory=dict)
    _spoke: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """When each author last wrote, the one who did so last at the end."""

    def hear(self, message: SourceMessage, probabilities: Probabilities) -> None:
        """The next message, with what the scorer makes of it."""
        now_ms = to_unix_ms(message.id)
        turn = self._replied(message, now_ms) or self._likeliest(message, probabilities, now_ms)
        conversation = turn.conversation if turn else self._open()
        conversation.messages.append(message)
        conversation.last_ms = now_ms
        self.links[message.id] = turn.message_id if turn else None
        self._remember(message, _Turn(message.id, now_ms, conversation))

    def _replied(self, message: SourceMessage, now_ms: int) -> _Turn | None:
        turn = self._by_message.get(message.reply_to_id or 0)
        return turn if turn and self._goes_on(turn, now_ms) else None

    def _likeliest(self, message: SourceMessage, probabilities: Probabilities, now_ms: int) -> _Turn | None:
        """What the message most likely goes on from, of conversations that have not ended; None if it opens one."""
        opening = float(probabilities[0]) * self._opening_odds(message, now_ms)
        reach = probabilities[1 : 1 + len(self._turns)]
        likeliest_first: list[int] = np.argsort(-reach, kind="stable").tolist()
        for back in likeliest_first:
            if reach[back] < opening:
                break
            turn = self._turns[-1 - back]
            if self._goes_on(turn, now_ms):
                return turn
        return None

    def _opening_odds(self, message: SourceMessage, now_ms: int) -> float:
        since_ms = now_ms - self.gap_ms
        lately = takewhile(lambda item: item[1] > since_ms, reversed(self._spoke.items()))
        others = sum(1 for author_id, _ in lately if author_id != message.author_id)
        return OPENING_ODDS[others] if others < len(OPENING_ODDS) else 1.0

    def _goes_on(self, turn: _Turn, now_ms: int) -> bool:
        return now_ms - turn.conversation.last_ms < self.gap_ms

    def _open(self) -> _Conversation:
        conversation = _Conversation()
        self.groups.append(conversation.messages)
        return conversation

    def _remember(self, message: SourceMessage, turn: _Turn) -> None:
        self._turns.append(turn)
        self._by_message[message.id] = turn
        self._spoke[message.author_id] = turn.at_ms
        self._spoke.move_to_end(message.author_id)
