"""Groups to chunks that the model reads to the end: whole messages, in order, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ragd.chunking.messages import Chunk, Group, SourceMessage, make_chunk
from ragd.chunking.splitting import Piece, cut
from ragd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Line:
    """One message as it stands in a chunk."""

    message: SourceMessage
    text: str
    tokens: int


class Packer:
    """Packs groups greedily, in order, into chunks of at most `max_tokens`.

    `count_tokens` includes special tokens. A message is counted once, however many groups it is in.
    """

    def __init__(self, edition: str, count_tokens: Callable[[str], int], max_tokens: int) -> None:
        self._edition = edition
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._special_tokens = count_tokens("")

    def pack(self, groups: Iterable[Group]) -> list[Chunk]:
        """A segment's chunks by message ids, then part. What two groups give alike is one chunk."""
        lines: dict[int, _Line] = {}
        chunks: dict[str, Chunk] = {}
        for group in groups:
            for message in group:
                if message.id not in lines:
                    lines[message.id] = self._line(message)
            chunks |= {chunk.key: chunk for chunk in self._group([lines[message.id] for message in group])}
        return sorted(chunks.values(), key=lambda chunk: (chunk.message_ids, chunk.part))

    def _group(self, lines: list[_Line]) -> Iterator[Chunk]:
        run: list[_Line] = []
        used = self._special_tokens
        for line in lines:
            added = line.tokens - self._special_tokens
            if run and used + added > self._max_tokens:
                yield from self._whole(run)
                run, used = [], self._special_tokens
            if line.tokens > self._max_tokens:
                yield from self._parts(line.message)
            else:
                run.append(line)
                used += added
        if run:
            yield from self._whole(run)

    def _line(self, message: SourceMessage) -> _Line:
        text = _label(message.author_name) + message.text
        return _Line(message, text, self._count_tokens(text))

    def _whole(self, run: list[_Line]) -> Iterator[Chunk]:
        """One chunk as a rule. Tokenizers are only nearly additive: where the sum was too low, each half on its own."""
        text = "\n".join(line.text for line in run)
        if len(run) == 1 or self._fits(text):
            yield make_chunk(self._edition, tuple(line.message.id for line in run), text)
        else:
            middle = len(run) // 2
            yield from self._whole(run[:middle])
            yield from self._whole(run[middle:])

    def _parts(self, message: SourceMessage) -> Iterator[Chunk]:
        label = self._short_label(message.author_name)
        for part, text in enumerate(self._pieces(label, Piece(message.text))):
            yield make_chunk(self._edition, (message.id,), label + text, part)

    def _short_label(self, name: str) -> str:
        """The author's label, its name shortened until it leaves at least half of the room to the text."""
        while name and self._count_tokens(_label(name)) > self._max_tokens // 2:
            name = name[: len(name) // 2]
        return _label(name)

    def _pieces(self, label: str, piece: Piece) -> Iterator[str]:
        """Texts that fit behind the label; joined, without the fences put in, they are the piece's again."""
        if self._fits(label + piece.fenced):
            yield piece.fenced
        elif piece.is_line and self._fits(label + piece.text):
            yield piece.text
        elif len(piece.text) < 2:
            raise ConfigError(
                f"max_tokens is {self._max_tokens}: must hold special tokens, an author's name and any one character",
                hint="choose a model that reads more",
            )
        else:
            for half in cut(piece):
                yield from self._pieces(label, half)

    def _fits(self, text: str) -> bool:
        return self._count_tokens(text) <= self._max_tokens


def _label(author_name: str) -> str:
    return f"{author_name}: " if author_name else ""
