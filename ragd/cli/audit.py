"""`ragdctl audit`: have capture, which alone has the token and the permissions, ask Discord what exists."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ragd.access import protect_files
from ragd.auditing import describe, remarks, summary
from ragd.cli.render import AsJson, console, link, one_line, print_json
from ragd.config import Settings, load_settings
from ragd.errors import (
    DamagedError,
    ExitCode,
    NoPermissionError,
    RagdError,
    TransientError,
    UnavailableError,
    UsageError,
)
from ragd.heartbeat import Heartbeat, process_exists, read_heartbeat
from ragd.store import Store
from ragd.store.audits import Audit
from ragd.trace import at_ms

SAMPLE = 2_000
LARGEST_SAMPLE = 1_000_000

TAKEN_SECONDS = 120.0
"""How long capture may take to begin, and then from one page to the next: it waits out rate limits."""

ABSENT_SECONDS = 20.0
"""How long a capture that has ended may take to be there again before the request is withdrawn."""

_POLL_SECONDS = 0.2
_SEE_STATUS = "`ragdctl status` tells how capture is"
_GONE = "capture does not run, and only capture can ask Discord"


def audit(
    *,
    sample: Annotated[
        int, typer.Option(min=1, max=LARGEST_SAMPLE, help="How many messages to compare; all, if there are no more.")
    ] = SAMPLE,
    channel: Annotated[
        list[str] | None, typer.Option(help="Only this channel and its threads: name or id; several times for several.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have capture compare the store with what Discord has, in random places, and mend what differs. Exit code: 0 all
    is present, 66 something was not.
    """
    settings = load_settings()
    protect_files(settings.data_dir)
    _require_capture(settings)
    screen = console()
    with contextlib.closing(Store.open(settings.database_path, busy_seconds=settings.busy_seconds)) as store:
        channels = [found for name in channel or () for found in _channels(store, name)]
        done = _request(settings, store, screen, sample, channels, quiet=as_json)
    if as_json:
        print_json(_document(done))
    else:
        _show(screen, done)
    raise typer.Exit(ExitCode.MISSING if done.found else ExitCode.OK)


def _channels(store: Store, name: str) -> list[int]:
    """A channel and its threads. Raises UsageError for one that is not known, NoPermissionError if none is captured."""
    bare = name.removeprefix("#")
    ids = store.vectors.channel_ids(bare)
    if bare.isascii() and bare.isdigit() and len(bare) < 20:
        ids = [row.id for row in store.channels() if int(bare) in (row.id, row.parent_id)]
    if not ids:
        raise UsageError(f"no channel called {one_line(name)!r} is known", hint="give its name or its id")
    if not store.coverage.captured(ids):
        raise NoPermissionError(
            f"nothing of {one_line(name)!r} is captured: the bot may not read it, or the settings exclude it"
        )
    return ids


# Asking


def _require_capture(settings: Settings) -> None:
    if not _capture_runs(settings):
        raise UnavailableError(_GONE, hint=_SEE_STATUS)


def _capture_runs(settings: Settings) -> bool:
    try:
        beat: Heartbeat | None = read_heartbeat(settings.heartbeat_dir, "capture")
    except (DamagedError, OSError):
        return False
    return beat is not None and beat.state != "stopping" and process_exists(beat.pid)


def _request(
    settings: Settings, store: Store, screen: Console, sample: int, channels: Sequence[int], *, quiet: bool
) -> Audit:
    """Ask, wait for the result, and take the request back if there will be none, or nobody waits any more."""
    asked = store.audits.ask(sample, channels, time.time())
    ended = False
    try:
        done = _wait(settings, store, asked, screen, quiet=quiet)
        ended = True
    finally:
        if not ended:
            with contextlib.suppress(TransientError):
                store.audits.withdraw(asked, time.time())
    return done


def _wait(settings: Settings, store: Store, asked: int, screen: Console, *, quiet: bool) -> Audit:
    with contextlib.ExitStack() as stack:
        # a spinner for people who watch; files and pipes get none
        status = None if quiet or not screen.is_terminal else stack.enter_context(screen.status("waiting for capture"))
        for seen in _progress(settings, store, asked):
            if seen.state == "done":
                return seen
            if seen.state == "failed":
                raise UnavailableError(f"the audit failed: {seen.problem}", hint=_SEE_STATUS)
            if status is not None:
                status.update(_stage(seen))
    raise RagdError("the request is gone from the table", hint="was the database restored meanwhile?")


def _stage(seen: Audit) -> str:
    if seen.state == "waiting":
        return "waiting for capture"
    differ = f", {seen.found:,} differ" if seen.found else ""
    return f"{seen.checked:,} messages compared (of {seen.sample:,} at most){differ}"


def _progress(settings: Settings, store: Store, asked: int) -> Iterator[Audit]:
    """The request as it is, again and again. Raises UnavailableError when nothing moves any more."""
    moved, alive = time.monotonic(), time.monotonic()
    last: tuple[object, ...] = ()
    while (seen := store.audits.find(asked)) is not None:
        yield seen
        now, mark = time.monotonic(), (seen.state, seen.attempts, seen.touched_at, seen.checked)
        moved, last = (now, mark) if mark != last else (moved, last)
        alive = now if _capture_runs(settings) else alive
        if now - alive > ABSENT_SECONDS:
            raise UnavailableError(f"{_GONE}; the request is withdrawn", hint=_SEE_STATUS)
        if now - moved > TAKEN_SECONDS:
            raise UnavailableError(
                f"nothing has moved for {TAKEN_SECONDS:g} s; the request is withdrawn",
                hint="see capture's lines in the log",
            )
        time.sleep(_POLL_SECONDS)


# Showing


def _show(screen: Console, done: Audit) -> None:
    screen.print(Text(summary(done), style="red" if done.unmended else "yellow" if done.found else "green"))
    for finding in done.findings:
        screen.print(Text("- ").append_text(link(_url(finding))).append(f" {describe(finding)}"), soft_wrap=True)
        if finding["proved_by"]:
            when = at_ms(finding["proved_at_ms"])
            screen.print(
                Text(f"  proved complete by {finding['proved_by']}, last at {when}", style="dim"), soft_wrap=True
            )
    if done.found > len(done.findings):
        screen.print(f"- and {done.found - len(done.findings):,} more")
    for remark in remarks(done):
        screen.print(Text(one_line(remark), style="dim"), soft_wrap=True)


def _url(finding: dict[str, Any]) -> str:
    message = f"/{finding['message_id']}" if finding["message_id"] != "0" else ""
    return f"https://discord.com/channels/{finding['guild_id']}/{finding['channel_id']}{message}"


def _document(done: Audit) -> dict[str, Any]:
    document = asdict(done)
    for internal in ("pid", "attempts", "touched_at"):
        del document[internal]
    document["channels"] = [str(channel_id) for channel_id in done.channels]
    document["findings"] = [{**finding, "url": _url(finding)} for finding in done.findings]
    return document
