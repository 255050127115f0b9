"""`ragdctl forget`: erase all that somebody wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from ragd.cli.receipts import document, open_store, see_through, show_receipt
from ragd.cli.render import AsJson, one_line, print_json
from ragd.config import load_settings
from ragd.errors import UsageError
from ragd.store import Store


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
            typer.confirm("Erase that for good?", abort=True)
        if opt_out:
            store.people.opt_out(user_id)
        erasure_id = store.erasures.forget_user(user_id, store.people.present_id(), "operator")
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
    if name.isdecimal() and name.isascii():
        if not 0 < int(name) < 2**63:  # 0 stands for the author of what was erased
            raise UsageError(f"{one_line(name)} is no user's id")
        return int(name)
    found = store.people.named(name)
    if not found:
        raise UsageError(f"nobody called {one_line(name)} has written a message that is stored", hint="give the id")
    if len(found) > 1:
        ids = ", ".join(f"{one} ({count:,} messages)" for one, count in sorted(found.items()))
        raise UsageError(f"{len(found)} people wrote as {one_line(name)}: {ids}", hint="give the id of one of them")
    return next(iter(found))
