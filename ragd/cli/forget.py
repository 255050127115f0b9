"""`ragdctl forget`: erase all that somebody wrote."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ragd.cli.receipts import document, open_store, require_yes, see_through, show_receipt
from ragd.cli.render import AsJson, one_line, print_json
from ragd.config import load_settings
from ragd.erasing import clock_ahead
from ragd.errors import UsageError
from ragd.snowflake import read_snowflake
from ragd.store import Store

_CLOCK_SLACK_SECONDS = 2
"""Discord tells the time in whole seconds, and its answer took a moment."""


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user's id, or the name that they write under.")],
    *,
    opt_out: Annotated[bool, typer.Option("--opt-out", help="And store nothing of theirs from now on.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase what somebody wrote, for good: words, names of files, chunks, vectors, index files, the file's free space.

    Works while ragd runs and while it does not, and goes on where it was if it is stopped. What Discord still has of it
    does not come back. Ends with a receipt that names the backups which still hold it.
    """
    settings = load_settings()
    store = open_store(settings)
    try:
        user_id = _resolve(store, user)
        kept = store.people.kept(user_id)
        if as_json and not yes:
            print_json({"user": str(user_id), "messages": kept.messages, "channels": kept.channels, "erasure": None})
            return
        if not yes:
            typer.echo(f"user {user_id}: {kept.messages:,} messages in {kept.channels:,} channels")
            require_yes("Erase that for good?")
        if opt_out:
            store.people.opt_out(user_id)
        # with a clock that is a year ahead, all that they write in that year would not be stored
        ahead = clock_ahead(settings)
        now = None if ahead is None else time.time() - ahead + _CLOCK_SLACK_SECONDS
        erasure_id = store.erasures.forget_user(user_id, store.people.present_id(now), "operator")
        (erasure,) = see_through(store, settings, [erasure_id])
    finally:
        store.close()
    if as_json:
        print_json({"user": str(user_id), "opted_out": opt_out, "erasure": document(erasure)})
    else:
        show_receipt(erasure)


def _resolve(store: Store, user: str) -> int:
    """Raises UsageError for a name that nobody has, or more than one person."""
    name = user.removeprefix("@")
    if user_id := read_snowflake(name):
        return user_id
    found = store.people.named(name)
    if not found:
        raise UsageError(f"nobody called {one_line(name)} has written a message that is stored", hint="give the id")
    if len(found) > 1:
        ids = ", ".join(f"{one} ({count:,} messages)" for one, count in sorted(found.items()))
        raise UsageError(f"{len(found)} people wrote as {one_line(name)}: {ids}", hint="give the id of one of them")
    return next(iter(found))
