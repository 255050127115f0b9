"""Small conversations with blanks, filled at random, so that the demo never falls silent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

from .jsonnode import Node

_SLOT = re.compile(r"\{([a-z_]+)\}")
_ROLE = re.compile(r"\*\d")


class Variations:
    """The "variations" of a demo file: `slots` (words to choose from) and `exchanges` (conversations with blanks).

    `{slot}` in a text takes one of the slot's words, `*1` to `*9` take different `people`; both stay the same
    throughout one exchange.
    """

    def __init__(self, node: Node, people: Sequence[str]) -> None:
        node.only("slots", "exchanges")
        slots = node["slots"]
        self._slots = {name: [word.text() for word in slots[name].each()] for name in slots.mapping()}
        self._exchanges = [list(exchange.each()) for exchange in node["exchanges"].each()]
        self._people = people
        self._cast_size = min(9, len(people))
        if not self._exchanges:
            raise node["exchanges"].error("is empty")

    def __len__(self) -> int:
        return len(self._exchanges)

    def fill(self, number: int, rng: Random) -> list[Node]:
        """The exchange with this number, its blanks filled."""
        words = {name: rng.choice(choices) for name, choices in self._slots.items()}
        cast = {f"*{place}": person for place, person in enumerate(rng.sample(self._people, self._cast_size), start=1)}
        return [_filled(node, words, cast) for node in self._exchanges[number]]


def _filled(node: Node, words: Mapping[str, str], cast: Mapping[str, str]) -> Node:
    def fill(value: object) -> object:
        if isinstance(value, list):
            return [fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if _ROLE.fullmatch(value):
            return cast.get(value, value)
        return _SLOT.sub(lambda found: _word(node, words, found.group(1)), value)

    return Node({key: fill(value) for key, value in node.mapping().items()}, node.file, node.place)


def _word(node: Node, words: Mapping[str, str], slot: str) -> str:
    if slot not in words:
        raise node.error(f"unknown slot {slot!r}")
    return words[slot]
