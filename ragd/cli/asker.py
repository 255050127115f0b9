"""As whom ragdctl asks: the operator, who may read everything, or a member, who finds what Discord shows that member.

For a member capture is asked each time, so a permission that was taken away counts from the next question on.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import typer

from ragd.answers import Allowed, SearchAnswer
from ragd.cli.render import one_line
from ragd.config import Settings
from ragd.errors import UsageError
from ragd.reach_client import ask_reach
from ragd.snowflake import read_snowflake
from ragd.store import Store

AsUser = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="USER",
        help="Answer with what this member would find in Discord now, by id or by the name they write under; without"
        " it you are the operator, who sees everything.",
    ),
]
InGuild = Annotated[
    str | None,
    typer.Option(
        "--guild", help="With --as: only this server, by name or id. Default: all that ragd and the member share."
    ),
]

Access = Literal["operator"] | Allowed

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a member of one guild or of all, or with `user_id` None the operator."""

    user_id: int | None = None
    guild: str | None = None

    def access(self, settings: Settings) -> Access:
        """What may be read at this moment. Raises UsageError and UnavailableError as `ask_reach` does."""
        if self.user_id is None:
            return "operator"
        return Allowed(ask_reach(settings.capture_socket, self.user_id, self.guild))


OPERATOR = Asker()


def find_asker(settings: Settings, user: str | None, guild: str | None) -> Asker:
    """Who is meant by `--as` and `--guild`.

    Raises UsageError for a name that nobody wrote under, or several did: whoever renames themselves must not be taken
    for another. UnavailableError when a name is given and there is no store to look it up in.
    """
    if user is None:
        if guild is not None:
            raise UsageError("--guild says where a member is looked for: it needs --as")
        return OPERATOR
    name = user.strip().removeprefix("@")
    if user_id := read_snowflake(name):
        return Asker(user_id, guild)
    return Asker(_only_one(settings, name), guild)


def _only_one(settings: Settings, name: str) -> int:
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        found = store.surroundings.people(name)
    if not found:
        raise UsageError(
            f"--as: nobody called {one_line(name)!r} has written a message that is stored", hint="give the user's id"
        )
    if len(found) > 1:
        ids = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        raise UsageError(f"--as: {len(found)} people wrote as {one_line(name)!r}", hint=f"give the id: {ids}")
    return found[0]


def only_allowed(answer: SearchAnswer, access: Access) -> SearchAnswer:
    """The same once more on our side of the socket: a passage from elsewhere is never shown."""
    if access == "operator":
        return answer
    allowed = {str(channel_id) for channel_id in access.channels}
    return replace(answer, results=[result for result in answer.results if result.channel_id in allowed])
