"""Backfill over REST: how fast history gets into the store, and how much of that is discord.py's own pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.stage import (
    SETTLING_SECONDS,
    Pace,
    Peer,
    SandboxProcess,
    await_change,
    cpu_seconds,
    outside,
    sandbox,
    seed,
    texts,
    variables,
    workspace,
)
from benchmarks.tables import Table, median, number, runs, spread
from ragd.store import Store
from tests.processes import Place, Process, furnish, until

FAR_AWAY_SECONDS = 0.1
"""What a request to Discord takes at least, from a server in a data centre."""


@dataclass(frozen=True)
class History:
    """What there is to read: so many channels, so many messages in each."""

    channels: int
    messages: int
    far_away: bool = False
    """With rate limits of about Discord's size, and FAR_AWAY_SECONDS a request."""

    def __str__(self) -> str:
        one = f"{self.channels} channel{'s' if self.channels > 1 else ''} x {self.messages:,}"
        return f"{one}, far away" if self.far_away else one

    @property
    def total(self) -> int:
        return self.channels * self.messages


FULL: dict[str, Any] = {
    "rounds": 3,
    "histories": (History(1, 20_000), History(40, 500)),
    "slow": (History(1, 3_000, far_away=True), History(40, 250, far_away=True)),
}
QUICK: dict[str, Any] = {"rounds": 1, "histories": (History(1, 2_000), History(10, 200)), "slow": ()}


def run(rounds: int, histories: tuple[History, ...], slow: tuple[History, ...]) -> list[Table]:
    """Capture and a bare client, in turn, each reading each history; the slow ones once."""
    columns = ("history", "ragd messages/s", "bare client messages/s", "ragd / bare", "per CPU second")
    table = Table("Backfill over REST", columns)
    for history in (*histories, *slow):
        times = 1 if history.far_away else rounds
        pairs = [(backfill_by_capture(history), backfill_by_peer(history)) for _ in range(times)]
        table.add(
            str(history),
            spread([own.rate for own, _ in pairs]),
            spread([bare.rate for _, bare in pairs]),
            number(median(own.rate / bare.rate for own, bare in pairs)),
            number(median(own.cpu_rate / bare.cpu_rate for own, bare in pairs)),
        )
    table.notes.append(
        "From being connected to the last commit (ragd) or the last message (a bare discord.py client that reads all"
        f" channels at once and counts); {runs(rounds)}, the two in turn, without rate limits."
    )
    if slow:
        table.notes.append(
            f"Far away: rate limits of about Discord's size (5 pages of 100 a second in a channel, 50 requests a second"
            f" in all) and {FAR_AWAY_SECONDS * 1000:.0f} ms a request; one run."
        )
    return [table]


def furnished(server: SandboxProcess, history: History) -> Place:
    """A guild with that history."""
    place: Place = furnish(server)  # type: ignore[arg-type]
    contents = texts(history.messages)
    names = (f"channel-{at}" for at in range(1, history.channels))
    for channel in (place.channel_id, *(place.control.create_channel(place.guild_id, name) for name in names)):
        seed(server, channel, place.member_id, contents)
    if history.far_away:
        place.control.rest_fault(delay_seconds=FAR_AWAY_SECONDS)
    return place


def backfill_by_capture(history: History) -> Pace:
    """A new capture reads it all."""
    with sandbox(like_discord=history.far_away) as server, workspace() as directory:
        furnished(server, history)
        capture = Process("capture", variables(server, directory))
        try:
            capture.start()
            until(lambda: capture.beat(), capture.tail())
            with outside(capture.settings.database_path) as store:
                until(lambda: _channels(store), "channels are known", SETTLING_SECONDS)
                cpu = cpu_seconds(capture)
                started_at = await_change(store, 0)
                ended_at = await_change(store, history.total)
            return Pace(history.total, ended_at - started_at, cpu_seconds(capture) - cpu)
        finally:
            capture.end()


def _channels(store: Store) -> bool:
    """Whether capture has written down which channels there are: its first act once it is connected."""
    return bool(store._one("SELECT count(*) FROM channel")[0])


def backfill_by_peer(history: History) -> Pace:
    """The bare client reads it all."""
    with sandbox(like_discord=history.far_away) as server, workspace() as directory:
        furnished(server, history)
        with Peer(variables(server, directory), "history") as peer:
            seen = peer.report()
    assert seen["messages"] == history.total, seen
    return Pace(history.total, seen["ended_at"] - seen["started_at"], seen["cpu_seconds"])
