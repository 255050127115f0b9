"""Which chunks an asker may be answered from: asked with every query, and all but a few are the same each time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ragd.store import Store
from ragd.store.scope import Filter

Ids = NDArray[np.int64]


@dataclass
class _Places:
    """The chunks of a strategy and the number of the channel each is in, as of a change."""

    position: int = -1
    ids: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    """Ascending: a chunk's id is never given twice, and newer chunks have larger ones."""
    channels: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))


class ChunkReach:
    """Ids of the chunks that pass a filter.

    Who is allowed what is asked of the store each time. Only where chunks are is remembered, 12 bytes each, for that
    cannot change: to read it anew took more than half of a member's query at 100,000 chunks. Of one thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, _Places] = {}
        self._numbers: dict[int, int] = {}
        """Of channels, in the order in which they were first met."""

    def allowed(self, strategy: str, wanted: Filter) -> Ids:
        """The strategy's chunks that the filter lets through, ascending."""
        if wanted != Filter(wanted.channel_ids, in_channels=wanted.in_channels, in_thread=wanted.in_thread):
            return np.sort(np.array(self._store.vectors.allowed_chunks(strategy, wanted), np.int64))
        places = self._follow(strategy)
        is_allowed = np.zeros(len(self._numbers), np.bool_)
        for channel_id in self._store.lookup.channels(wanted):
            if (number := self._numbers.get(channel_id)) is not None:
                is_allowed[number] = True
        return places.ids[is_allowed[places.channels]]

    def _follow(self, strategy: str) -> _Places:
        """Level with the store."""
        places = self._places.get(strategy, _Places())
        newest = int(places.ids[-1]) if len(places.ids) else 0
        changes = self._store.vectors.place_changes(strategy, newest, places.position)
        if changes is None:
            places = _Places()
            changes = self._store.vectors.place_changes(strategy, 0, places.position)
            assert changes is not None
        if changes.removed:
            stays = ~np.isin(places.ids, np.array(changes.removed, np.int64))
            places.ids, places.channels = places.ids[stays], places.channels[stays]
        if changes.added:
            ids = np.array([chunk_id for chunk_id, _ in changes.added], np.int64)
            numbers = np.array([self._number(channel_id) for _, channel_id in changes.added], np.int32)
            places = _Places(
                places.position, np.concatenate([places.ids, ids]), np.concatenate([places.channels, numbers])
            )
        places.position = changes.position
        self._places[strategy] = places
        return places

    def _number(self, channel_id: int) -> int:
        return self._numbers.setdefault(channel_id, len(self._numbers))
