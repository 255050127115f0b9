"""Client of supervisord's XML-RPC interface over its UNIX socket, with a deadline on each call.

The methods are described at http://supervisord.org/api.html. `xmlrpc.client` with supervisor's own transport can
wait for ever on a stopped supervisord, and a socket timeout alone starts anew with each byte: here the whole
exchange has one deadline.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, cast
from xml.parsers.expat import ExpatError

from ragd.errors import RagdError, UnavailableError

CALL_SECONDS = 2.0
"""How long one call may take; a supervisord in order answers in milliseconds."""

GROUP = "ragd"
"""supervisord's group of the worker processes and the watchdog (deploy/supervisord.conf): it calls them GROUP:NAME."""


class SupervisorState(Enum):
    """What supervisord does with its processes as a whole."""

    RUNNING = "running"
    STOPPING = "stopping"
    """It shuts down or reloads: it refuses every call but tells that much."""
    FATAL = "fatal"


class ProcessState(IntEnum):
    """supervisord's states of a process, by its own numbers (supervisor.states.ProcessStates)."""

    STOPPED = 0
    STARTING = 10
    RUNNING = 20
    BACKOFF = 30
    STOPPING = 40
    EXITED = 100
    FATAL = 200
    UNKNOWN = 1000


class FaultCode(IntEnum):
    """The faults of supervisor.xmlrpc.Faults that ragd tells apart."""

    SHUTDOWN_STATE = 6
    BAD_NAME = 10
    ALREADY_STARTED = 60
    NOT_RUNNING = 70


class ShuttingDownError(UnavailableError):
    """supervisord is stopping everything, or reloading: it answers, and takes no more orders."""

    def __init__(self) -> None:
        super().__init__("supervisord is shutting down")


class RefusedError(RagdError):
    """supervisord refused a call; `code` is a number of supervisor.xmlrpc.Faults."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process as supervisord sees it."""

    name: str
    state: ProcessState
    pid: int | None = None
    exit_status: int | None = None
    """Of the last run; -1 after a signal. None unless the state is EXITED: an end within startsecs loses it."""
    spawn_error: str = ""
    started_at: float | None = None
    """Unix seconds of the last start, to the second; None if never."""


@dataclass(frozen=True, slots=True)
class Tree:
    """All that one question tells: supervisord's own pid and state, and its processes by name."""

    pid: int
    state: SupervisorState
    processes: Mapping[str, ProcessInfo]


class SupervisorClient:
    """Calls one supervisord. Every method raises UnavailableError without an answer in time (ShuttingDownError if the
    answer is that), and RefusedError naming the process when supervisord refuses. A connection a call: safe in any
    thread.
    """

    def __init__(self, socket_path: Path, timeout_seconds: float = CALL_SECONDS) -> None:
        self._path = socket_path
        self._timeout_seconds = timeout_seconds

    def state(self) -> SupervisorState:
        """What supervisord does as a whole; STOPPING too is an answer."""
        try:
            return _supervisor_state(self._call("supervisor.getState"))
        except ShuttingDownError:
            return SupervisorState.STOPPING

    def tree(self) -> Tree:
        """pid, state and processes, in one exchange."""
        methods = ("supervisor.getPID", "supervisor.getState", "supervisor.getAllProcessInfo")
        calls = [{"methodName": name, "params": []} for name in methods]
        pid, state, infos = (_unwrapped(answer) for answer in self._call("system.multicall", calls))
        return Tree(int(pid), _supervisor_state(state), {str(raw["name"]): _process_info(raw) for raw in infos})

    def processes(self) -> Mapping[str, ProcessInfo]:
        """Every process by name."""
        return self.tree().processes

    def kill(self, name: str) -> None:
        """Send SIGKILL; autorestart replaces the process."""
        self._call("supervisor.signalProcess", f"{GROUP}:{name}", "KILL")

    def terminate(self, name: str) -> None:
        """Send SIGTERM; autorestart replaces the process when it has ended."""
        self._call("supervisor.signalProcess", f"{GROUP}:{name}", "TERM")

    def hang_up(self, name: str) -> None:
        """Send SIGHUP: capture reads its allow and deny lists again. Only to a process that knows the signal."""
        self._call("supervisor.signalProcess", f"{GROUP}:{name}", "HUP")

    def start(self, name: str) -> None:
        """Start a stopped process; returns once it is spawned. One that runs already is as well."""
        self._tolerate(FaultCode.ALREADY_STARTED, "supervisor.startProcess", name)

    def stop(self, name: str) -> None:
        """Stop a process and keep it stopped; returns before it has ended. One that is down already is as well."""
        self._tolerate(FaultCode.NOT_RUNNING, "supervisor.stopProcess", name)

    def shutdown(self) -> None:
        """Stop every process in order, then supervisord itself; returns at once."""
        self._call("supervisor.shutdown")

    def _tolerate(self, code: FaultCode, method: str, name: str) -> None:
        try:
            self._call(method, f"{GROUP}:{name}", False)
        except RefusedError as fault:
            if fault.code != code:
                raise

    def _call(self, method: str, *arguments: Any) -> Any:
        body = xmlrpc.client.dumps(arguments, method).encode()
        try:
            answer = _exchange(self._path, body, self._timeout_seconds)
            (result,), _ = xmlrpc.client.loads(answer)
        except TimeoutError:
            raise UnavailableError(f"supervisord does not answer within {self._timeout_seconds:g} s") from None
        except OSError as error:
            raise UnavailableError(f"supervisord cannot be reached at {self._path}: {error.strerror}") from None
        except xmlrpc.client.Fault as fault:
            raise _refusal(method, arguments, fault.faultCode, fault.faultString) from None
        except (http.client.HTTPException, xmlrpc.client.Error, ExpatError, ValueError) as error:
            raise UnavailableError(f"supervisord's answer makes no sense: {error!r}") from None
        return result


class _Received:
    """Bytes already read, as http.client wants them: the parser never touches the socket and cannot block."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _exchange(path: Path, body: bytes, timeout_seconds: float) -> bytes:
    """POST a body to /RPC2 and return the answer's; HTTP/1.0, so the end of the answer is the end of the stream."""
    head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    deadline = time.monotonic() + timeout_seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(head.encode() + body)
        raw = _read_to_end(connection, deadline)
    response = http.client.HTTPResponse(cast(socket.socket, _Received(raw)), method="POST")
    response.begin()
    if response.status != http.client.OK:
        raise ValueError(f"HTTP status {response.status}")
    return response.read()


def _read_to_end(connection: socket.socket, deadline: float) -> bytes:
    parts: list[bytes] = []
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        part = connection.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _refusal(method: str, arguments: Sequence[Any], code: int, text: str) -> RagdError:
    if code == FaultCode.SHUTDOWN_STATE:
        return ShuttingDownError()
    about = arguments[0].removeprefix(f"{GROUP}:") if arguments and isinstance(arguments[0], str) else "everything"
    return RefusedError(f"supervisord refuses {method.rpartition('.')[2]} of {about}: {text}", code)


def _unwrapped(answer: Any) -> Any:
    """One result of system.multicall; in it supervisor gives results bare and faults as a struct."""
    if isinstance(answer, dict) and "faultCode" in answer:
        raise _refusal("supervisor.getAllProcessInfo", (), answer["faultCode"], answer["faultString"])
    return answer


def _supervisor_state(raw: Mapping[str, Any]) -> SupervisorState:
    # 2 FATAL, 1 RUNNING, 0 RESTARTING, -1 SHUTDOWN (supervisor.states.SupervisorStates)
    code = int(raw["statecode"])
    if code < 1:
        return SupervisorState.STOPPING
    return SupervisorState.RUNNING if code == 1 else SupervisorState.FATAL


def _process_info(raw: Mapping[str, Any]) -> ProcessInfo:
    state = ProcessState(raw["state"])
    return ProcessInfo(
        name=str(raw["name"]),
        state=state,
        pid=int(raw["pid"]) or None,
        # supervisor gives 0 for a status it does not have: only that of an EXITED process can be believed
        exit_status=int(raw["exitstatus"]) if state is ProcessState.EXITED else None,
        spawn_error=str(raw["spawnerr"]),
        started_at=float(raw["start"]) or None,
    )
