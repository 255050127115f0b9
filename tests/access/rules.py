"""Discord's rules of who may read what, written down once more for the tests: from plain data, by no code of ragd's.

Source: https://discord.com/developers/docs/topics/permissions (Permission Hierarchy, Permission Overwrites, Inherited
Permissions (Threads), Permissions for Timed Out Members) and /resources/channel (thread membership).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VIEW, HISTORY, CONNECT, MANAGE_THREADS, ADMINISTRATOR = 1 << 10, 1 << 16, 1 << 20, 1 << 34, 1 << 3
VOICE_KINDS = (2, 13)
PRIVATE_THREAD = 12


@dataclass(frozen=True)
class Asker:
    id: int
    roles: tuple[int, ...] = ()
    timed_out: bool = False


@dataclass
class Server:
    """`roles` are permission bits by role; that of @everyone has the server's own id."""

    id: int
    owner: int
    roles: dict[int, int]


@dataclass
class Where:
    """A channel, or a thread (`parent` is set). `overwrites`: (allow, deny) by id of a role or member."""

    id: int
    kind: int
    overwrites: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    nsfw: bool = False
    parent: Where | None = None
    archived: bool = False
    joined: frozenset[int] = frozenset()


def bits(server: Server, asker: Asker, channel: Where) -> int:
    """What may be done in a channel that is no thread."""
    if asker.id == server.owner:
        return -1
    base = server.roles[server.id]
    for role in asker.roles:
        base |= server.roles[role]
    if base & ADMINISTRATOR:
        return -1
    allow, deny = channel.overwrites.get(server.id, (0, 0))
    base = base & ~deny | allow
    allow = deny = 0
    for role in asker.roles:
        more, less = channel.overwrites.get(role, (0, 0))
        allow, deny = allow | more, deny | less
    base = base & ~deny | allow
    allow, deny = channel.overwrites.get(asker.id, (0, 0))
    base = base & ~deny | allow
    return base & (VIEW | HISTORY) if asker.timed_out else base


def may_read(server: Server, asker: Asker, where: Where) -> bool:
    """Whether Discord shows the asker what was said there before. A voice channel's chat takes Connect as well."""
    channel = where.parent or where
    has = bits(server, asker, channel)
    if not (has & VIEW and has & HISTORY) or (channel.kind in VOICE_KINDS and not has & CONNECT):
        return False
    return where.kind != PRIVATE_THREAD or asker.id in where.joined or bool(has & MANAGE_THREADS)


def may_find(server: Server, asker: Asker, where: Where, *, in_age_restricted: bool) -> bool:
    """What a search shows: less than may be read by what ragd cannot know.

    It does not know who has passed the gate of an age-restricted channel, nor who was in an archived private thread.
    """
    if (where.parent or where).nsfw and not in_age_restricted:
        return False
    return may_read(server, asker, where) and not (where.kind == PRIVATE_THREAD and where.archived)
