"""Export: pages of the store into files that are whole or not there."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ragd.errors import CannotCreateError, RagdError, TransientError, UsageError
from ragd.exchange import formats
from ragd.exchange.claims import intersection
from ragd.exchange.formats import Format, Selection
from ragd.extra import EMPTY, is_sound
from ragd.snowflake import read_snowflake
from ragd.store import Store
from ragd.store.coverage import THREAD_PARENTS
from ragd.store.exports import ExportedChannel, ExportedMessage

_UNFIT_FOR_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_LONGEST_NAME_BYTES = 200
_ANY_ID = 2**63 - 1
_LASTING = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: names or ids of channels, none for all; ids of messages, 0 for no bound."""

    channels: Sequence[str] = ()
    first_id: int = 0
    last_id: int = 0
    format: Format = Format.DCE


@dataclass(frozen=True, slots=True)
class Written:
    """One file; "-" is standard output."""

    file: str
    channels: int
    messages: int
    bytes: int
    damaged: int = 0
    """Of the messages, those that are there with their words alone: what else is stored of them makes no sense."""


class _Counted:
    """Messages that go by, as they can be written, and what is written of them."""

    def __init__(self) -> None:
        self.messages = self.channels = self.bytes = self.damaged = 0

    def watch(self, messages: Iterable[ExportedMessage]) -> Iterator[ExportedMessage]:
        for message in messages:
            self.messages += 1
            if is_sound(message.row.extra):
                yield message
            else:
                self.damaged += 1
                yield replace(message, row=replace(message.row, extra=EMPTY))

    def written(self, file: str) -> Written:
        return Written(file, self.channels, self.messages, self.bytes, self.damaged)


class Exporter:
    """Exports what a store holds and is not deleted."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._exported_at = time.time_ns() // 1_000_000

    def channels(self) -> list[ExportedChannel]:
        """Those asked for, with the threads in them. Raises UsageError for one that the store does not know.

        What RAGD_ALLOW_IDS or RAGD_DENY_IDS leave out is left out here too, unless it is asked for by name: everything
        that is stored is the operator's own. So are channels that the bot may not read any more.
        """
        known = [channel for channel in self._store.exports.channels() if channel.type not in THREAD_PARENTS]
        if not self._wanted.channels:
            return [channel for channel in known if not channel.excluded]
        chosen: dict[int, ExportedChannel] = {}
        for name in self._wanted.channels:
            ids = {*self._store.vectors.channel_ids(name), read_snowflake(name) or 0}
            found = [channel for channel in known if channel.id in ids or channel.parent_id in ids]
            if not found:
                raise UsageError(f"--channel={name}: the store knows no such channel")
            chosen.update((channel.id, channel) for channel in found)
        return [chosen[channel_id] for channel_id in sorted(chosen)]

    def into_directory(self, directory: Path, *, force: bool = False) -> Iterator[Written]:
        """A file for each channel that has messages. Raises CannotCreateError, before any, if one is there already."""
        targets = [(directory / self._file_name(channel), channel) for channel in self.channels()]
        for path, _ in targets:
            _refuse_existing(path, force)
        for path, channel in targets:
            selection = self._select(channel)
            messages = self._messages(selection)
            if first := next(messages, None):
                yield self._write(path, [(selection, chain([first], messages))])

    def into_file(self, path: Path, *, force: bool = False) -> Written:
        """Everything in one file; DiscordChatExporter's JSON has room for one channel only."""
        _refuse_existing(path, force)
        return self._write(path, self._everything())

    def into_stream(self, stream: BinaryIO) -> Written:
        counted = _Counted()
        for line in self._lines(self._everything(), counted):
            stream.write(line)
        return counted.written("-")

    def _everything(self) -> list[tuple[Selection, Iterable[ExportedMessage]]]:
        channels = self.channels()
        if self._wanted.format is Format.DCE and len(channels) != 1:
            raise UsageError(
                f"{len(channels)} channels do not fit into one file of DiscordChatExporter's",
                hint="name a directory, one --channel, or --format jsonl",
            )
        selections = map(self._select, channels)
        return [(selection, self._messages(selection)) for selection in selections]

    def _select(self, channel: ExportedChannel) -> Selection:
        wanted = self._wanted
        bounds = [(max(wanted.first_id, 1), wanted.last_id or _ANY_ID)]
        complete = intersection(self._store.coverage.intervals(channel.id), bounds)
        return Selection(channel, wanted.first_id, wanted.last_id, complete)

    def _messages(self, selection: Selection) -> Iterator[ExportedMessage]:
        return self._store.exports.messages(selection.channel.id, selection.first_id, selection.last_id)

    def _file_name(self, channel: ExportedChannel) -> str:
        """As DiscordChatExporter names its files."""
        names = " - ".join(name for name in (channel.guild, channel.parent, channel.name) if name)
        end = f" [{channel.id}]{self._wanted.format.suffix}"
        fitting = _UNFIT_FOR_NAMES.sub("_", names).encode()[: _LONGEST_NAME_BYTES - len(end)].decode(errors="ignore")
        return fitting.lstrip(".") + end

    def _write(self, path: Path, parts: Sequence[tuple[Selection, Iterable[ExportedMessage]]]) -> Written:
        counted = _Counted()
        with _whole_file(path) as file:
            for line in self._lines(parts, counted):
                file.write(line)
        return counted.written(str(path))

    def _lines(
        self, parts: Sequence[tuple[Selection, Iterable[ExportedMessage]]], counted: _Counted
    ) -> Iterator[bytes]:
        lines = [formats.csv_header()] if self._wanted.format is Format.CSV else []
        for line in chain(lines, *(self._part(selection, messages, counted) for selection, messages in parts)):
            counted.bytes += len(line)
            yield line

    def _part(self, selection: Selection, messages: Iterable[ExportedMessage], counted: _Counted) -> Iterator[bytes]:
        before, watched = counted.messages, counted.watch(messages)
        match self._wanted.format:
            case Format.DCE:
                yield from formats.dce(selection, watched, self._exported_at)
            case Format.JSONL:
                yield from formats.jsonl(selection, watched)
            case Format.CSV:
                yield from formats.csv_rows(selection, watched)
        counted.channels += counted.messages > before


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise CannotCreateError(f"{path} is there already", hint="--force replaces it")


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all of it is on the disk; private or the group's, as the umask says."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        file = _open_anew(partial)
    except OSError as error:
        raise _refused(partial, error) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _refused(path, error) from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _open_anew(partial: Path) -> BinaryIO:
    """Never a file that is there, be it a killed export's, somebody else's in a shared directory, or a link: its owner
    and mode would be those of the export."""
    partial.unlink(missing_ok=True)
    return partial.open("xb")


def _refused(path: Path, error: OSError) -> RagdError:
    kind = CannotCreateError if isinstance(error, _LASTING) else TransientError
    return kind(f"cannot write {path}: {error.strerror}")


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
