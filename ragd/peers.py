"""Who is at the other end of a UNIX socket. Its mode keeps strangers out; this looks again, and can say why."""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_UCRED = struct.Struct("3i")
"""pid, uid and gid (unix(7), SO_PEERCRED)."""

_SO_PEERGROUPS = 59
"""Its supplementary groups (linux/socket.h; since 4.13), a number of four bytes each. Python has no name for it."""

_GROUPS_BYTES = 1024
"""The most that Python asks for: 256 groups. Of who is in more, only the own one counts."""


@dataclass(frozen=True, slots=True)
class Peer:
    """As the kernel saw it when it connected, in our own user namespace."""

    pid: int
    uid: int
    gids: frozenset[int]

    def __str__(self) -> str:
        return f"user {self.uid} with pid {self.pid}"


def peer_of(connection: socket.socket) -> Peer:
    """Raises OSError for what is no UNIX socket."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        more = b""
    return Peer(pid, uid, frozenset({gid, *struct.unpack(f"{len(more) // 4}I", more)}))


def is_welcome(peer: Peer, path: Path) -> bool:
    """Whether a peer may use the socket at a path: root, our own user, and its group if the mode lets that in.

    Stricter than the kernel, which asks for the mode as it is: one that was widened by hand lets nobody else in.
    """
    if peer.uid in (0, os.geteuid()):
        return True
    try:
        status = path.stat()
    except OSError:
        return False
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid in peer.gids
