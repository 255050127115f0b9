"""One file of DiscordChatExporter's JSON, from its first byte to its last, into the store."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragd.errors import DamagedError
from ragd.exchange.claims import Claims
from ragd.exchange.fields import UnfitError
from ragd.exchange.head import Head, read_head
from ragd.exchange.jsonstream import JsonStream, Value
from ragd.exchange.reading import read_message
from ragd.exchange.report import FileReport
from ragd.store.coverage import Interval
from ragd.store.events import Event, ImportDoubted, Imported, ImportedRow

BATCH = 500

Commit = Callable[[Sequence[Event]], Tally[str]]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of an export a file is: `[part 2]` and so on go on where the one before ended."""

    number: int = 1
    continues_at: int | None = None
    """The id after the last one of the part before, if that was imported whole."""
    is_last: bool = True


class FileImport:
    """Reads a file once. What it reports in `report` is true at every moment."""

    def __init__(
        self,
        stream: JsonStream,
        commit: Commit,
        part: Part,
        *,
        coverage: bool = True,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.report = FileReport(stream.name)
        self._stream = stream
        self._commit = commit
        self._part = part
        self._coverage = coverage
        self._on_bytes = on_bytes
        self._parts: dict[str, Value] = {}
        self._head: Head | None = None
        self._claims = Claims(None)
        self._rows: list[ImportedRow] = []

    @property
    def last_id(self) -> int:
        """The newest message in the file, once it was read whole; else 0."""
        return 0 if self.report.problem else self._claims.last_id

    def run(self) -> None:
        """Import what is whole. Raises TransientError if the store does not take it; what is wrong, `report` says."""
        try:
            for key in self._stream.members():
                if key == "messages":
                    self._messages()
                else:
                    self._parts[key] = self._stream.value()
            self._finish()
        except DamagedError as error:
            self._flush()
            self.report.problem = str(error)
        self.report.bytes_read = self._stream.offset

    def _messages(self) -> None:
        head = self._head = read_head(self._parts, self._stream)
        self.report.guild, self.report.channel = head.guild.name, head.channel.name
        self.report.channel_id = head.channel.id
        self._claims = Claims(head.start_id if self._part.number == 1 else self._part.continues_at, head.complete)
        for value in self._stream.elements():
            self.report.messages += 1
            self._message(head, value)

    def _message(self, head: Head, value: Value) -> None:
        try:
            row = _read(head, value)
        except UnfitError as error:
            self.report.skip(str(error), first_byte=value.offset)
            self._claims.miss()
            return
        self._claims.see(row.row.id)
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            self._flush()

    def _finish(self) -> None:
        if self._head is None:
            raise self._stream.error("`messages`, as DiscordChatExporter writes it")
        self._flush()
        count = self._parts.get("messageCount")
        if count is not None and count.data != self.report.messages:
            self._doubt()
            raise self._stream.problem(
                f"expected {self.report.messages:,}, the number of messages in the file, found messageCount"
                f" {count.data if isinstance(count.data, int) else 'that is no number'}",
                count.offset,
            )
        self._store([], self._claims.finish(self._head.end_id if self._part.is_last else 0))

    def _flush(self) -> None:
        """Commit what was read."""
        if self._claims.given and not self._claims.ascending:
            self._doubt()
        rows, self._rows = self._rows, []
        self._store(rows, self._claims.take())
        self._on_bytes(self._stream.offset)

    def _store(self, rows: list[ImportedRow], proved: list[Interval]) -> None:
        if not self._coverage:
            proved = []
        if self._head is None or not (rows or proved):
            return
        channels = self._head.channels(rows[0].row.id if rows else 0)
        self.report.count(self._commit([Imported(self._head.guild, channels, rows, proved)]))
        if proved:
            self.report.complete_from = self.report.complete_from or proved[0][0]
            self.report.complete_to = proved[-1][1]

    def _doubt(self) -> None:
        """Take back what was claimed: the file is not what it seemed to be."""
        if self._claims.given and self._head and self._coverage:
            self._commit([ImportDoubted(self._head.channel.id, *self._claims.given)])
        self._claims.given = None
        self.report.complete_from = self.report.complete_to = 0


def _read(head: Head, value: Value) -> ImportedRow:
    """Raises UnfitError."""
    if isinstance(value.data, UnfitError):
        raise value.data
    return read_message(value.data, head.guild.id, head.channel.id, head.exported_at)
