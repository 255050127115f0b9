"""`ragdctl restart`: have one process end in order and be started again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ragd.cli.render import AsJson, print_json
from ragd.config import Settings, load_settings
from ragd.errors import FINAL_EXITS, CannotCreateError, DamagedError, ExitCode, RagdError, UnavailableError, UsageError
from ragd.heartbeat import PROCESSES, read_heartbeat
from ragd.restarts import request_end
from ragd.supervision import ProcessInfo, ProcessState, SupervisorClient

END_SECONDS = 30.0
"""How long a process may take to finish its step and its successor to start."""

_POLL_SECONDS = 0.1
_FAILED = (ProcessState.BACKOFF, ProcessState.FATAL)


def restart(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help=f"One of {', '.join(PROCESSES)}.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Restart one process in order. Waits until another runs in its place; one that is stopped is started."""
    if worker not in PROCESSES:
        raise UsageError(f"no process is called {worker!r}", hint=f"there are {', '.join(PROCESSES)}")
    old, new = replace_process(load_settings(), worker)
    if as_json:
        print_json({"worker": worker, "old_pid": old, "new_pid": new})
    else:
        typer.echo(f"{worker} restarted: pid {old or 'none'}, now {new}")


def replace_process(settings: Settings, name: str, seconds: float = END_SECONDS) -> tuple[int | None, int]:
    """End the process by SIGTERM and wait for the first heartbeat of another; returns the old pid, None if it was
    down, and the new.

    Raises UnavailableError without supervisord or without a new process in time, RagdError if the new one ends.
    """
    supervisor = SupervisorClient(settings.supervisor_socket)
    deadline = time.monotonic() + seconds
    old = _started(supervisor, name, deadline).pid
    if old is None:
        supervisor.start(name)
    else:
        try:
            request_end(settings.requests_dir, name, old)
        except OSError as error:
            raise CannotCreateError(
                f"{settings.requests_dir}: {error.strerror}", hint="ask as the user that runs ragd"
            ) from None
        supervisor.terminate(name)
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        now = _ask(supervisor, name)
        _refuse_failed(now)
        if now.pid not in (None, old) and _works(settings, now):
            return old, int(now.pid or 0)
    since = f" after pid {old}" if old else ""
    raise UnavailableError(f"no {name}{since} shows a sign of life within {seconds:g} s", hint="see `ragdctl status`")


def _started(supervisor: SupervisorClient, name: str, deadline: float) -> ProcessInfo:
    """The process once it is no longer in supervisord's startsecs: to end in these counts as a failed start."""
    while (info := _ask(supervisor, name)).state is ProcessState.STARTING and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return info


def _works(settings: Settings, info: ProcessInfo) -> bool:
    """Whether it has outlived supervisord's startsecs and shown a sign of life: RUNNING alone is one that may be
    about to end by its configuration (see ragd/cli/daemon.py).
    """
    if info.state is not ProcessState.RUNNING:
        return False
    try:
        beat = read_heartbeat(settings.heartbeat_dir, info.name)
    except (DamagedError, OSError):
        return False
    return beat is not None and beat.pid == info.pid


def _ask(supervisor: SupervisorClient, name: str) -> ProcessInfo:
    try:
        info = supervisor.processes().get(name)
    except UnavailableError as error:
        raise UnavailableError(str(error), hint="`ragdctl status` tells whether ragd runs") from None
    if info is None:
        raise RagdError(f"supervisord does not know {name}")
    return info


def _refuse_failed(info: ProcessInfo) -> None:
    """EXITED alone is no failure: supervisord starts an ended process again at once, unless it said 65 or 78."""
    if info.exit_status in FINAL_EXITS:
        problem = "a configuration error" if info.exit_status == ExitCode.CONFIG else "found a damaged file"
        raise RagdError(f"{info.name} has {problem}", hint="the last line of its log says which")
    if info.state in _FAILED:
        raise RagdError(f"{info.name} ends at its start ({info.spawn_error})", hint="its log says why")
