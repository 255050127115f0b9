"""Gateway to commit: how many messages a second, and how long one takes, until it is durable."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from benchmarks.stage import (
    Pace,
    Peer,
    Poster,
    await_change,
    cpu_seconds,
    last_change,
    outside,
    posted_at,
    sandbox,
    texts,
    variables,
    worker,
    workspace,
)
from benchmarks.tables import Table, median, number, p50_p99, runs, spread
from tests.processes import Place, Process, furnish, until

FULL: dict[str, Any] = {"messages": 20_000, "rounds": 3, "rates": (50, 200), "seconds": 15}
QUICK: dict[str, Any] = {"messages": 3_000, "rounds": 1, "rates": (50, 200), "seconds": 3}

PROMISE_MS = 50.0
POLL_SECONDS = 0.001


def run(messages: int, rounds: int, rates: tuple[int, ...], seconds: float) -> list[Table]:
    """Bursts into capture and into a bare client in turn; then messages at steady rates."""
    return [measure_bursts(messages, rounds), measure_latency(rates, seconds)]


def measure_bursts(messages: int, rounds: int) -> Table:
    """The table of bursts."""
    capture, peer = [], []
    for _ in range(rounds):
        capture.append(burst_into_capture(messages))
        peer.append(burst_into_peer(messages))
    table = Table("Gateway to durable commit, a burst", ["", "messages/s", "messages/CPU s"])
    for name, paces in (("ragd capture", capture), ("bare discord.py client, counting", peer)):
        table.add(name, spread([pace.rate for pace in paces]), spread([pace.cpu_rate for pace in paces]))
    pairs = list(zip(capture, peer, strict=True))
    table.add(
        "ragd / bare client",
        number(median(own.rate / bare.rate for own, bare in pairs)),
        number(median(own.cpu_rate / bare.cpu_rate for own, bare in pairs)),
    )
    table.notes.append(
        f"{messages:,} messages at once, {runs(rounds)}, the two in turn. From the first event's being sent to the last"
        " commit's being seen from another process; for the bare client to its last event."
    )
    return table


def connected(capture: Process) -> None:
    """Wait until live events arrive and nothing is left to read."""
    until(lambda: capture.counter("connected") and capture.counter("resyncs"), capture.tail())


def burst_into_capture(messages: int) -> Pace:
    """Post a burst, and watch capture commit it."""
    with sandbox() as server, workspace() as directory:
        place = furnish(server)  # type: ignore[arg-type]
        with worker("capture", variables(server, directory)) as capture:
            connected(capture)
            with outside(capture.settings.database_path) as store, Burst(place, messages) as burst:
                cpu = cpu_seconds(capture)
                ended_at = await_change(store, last_change(store) + messages)
                return Pace(messages, ended_at - burst.sent_at(), cpu_seconds(capture) - cpu)


def burst_into_peer(messages: int) -> Pace:
    """Post the same burst to the bare client."""
    with sandbox() as server, workspace() as directory:
        place = furnish(server)  # type: ignore[arg-type]
        with Peer(variables(server, directory), "live", str(messages)) as peer, Burst(place, messages) as burst:
            seen = peer.report()
            return Pace(messages, seen["ended_at"] - burst.sent_at(), seen["cpu_seconds"])


class Burst:
    """Many messages posted in one request, in the background.

    The sandbox makes all their events before it sends the first one, so what is measured after that is not its pace.
    """

    def __init__(self, place: Place, messages: int) -> None:
        self._ids: list[int] = []
        self._thread = threading.Thread(target=self._post, args=(place, texts(messages)))

    def _post(self, place: Place, contents: list[str]) -> None:
        self._ids = place.control.post_many(place.channel_id, place.member_id, contents)

    def __enter__(self) -> Burst:
        self._thread.start()
        return self

    def sent_at(self) -> float:
        """When the last event was made and the first one sent, Unix seconds."""
        self._thread.join()
        return posted_at(self._ids[-1])

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def measure_latency(rates: tuple[int, ...], seconds: float) -> Table:
    """The table of latencies."""
    within = f"within {PROMISE_MS:.0f} ms"
    table = Table("Posted to durable", ["steady rate", "p50 ms", "p99 ms", "max ms", within, "messages"])
    for rate in rates:
        taken = latencies_ms(rate, seconds)
        half, most = p50_p99(taken)
        share = sum(ms <= PROMISE_MS for ms in taken) / len(taken)
        table.add(f"{rate}/s", number(half), number(most), number(max(taken)), f"{share:.2%}", f"{len(taken):,}")
    table.notes.append(
        f"Posted at random moments for {seconds:g} s; from the time in the message's id (rounded down to 1 ms) to the"
        " commit's being seen from another process."
    )
    return table


def latencies_ms(rate: int, seconds: float) -> list[float]:
    """Post at a rate, and return each message's time to its commit."""
    with sandbox() as server, workspace() as directory:
        place = furnish(server)  # type: ignore[arg-type]
        with worker("capture", variables(server, directory)) as capture:
            connected(capture)
            poster = threading.Thread(target=post_at_random, args=(Poster(server), place, rate, seconds))
            with outside(capture.settings.database_path) as store:
                begin = last_change(store)
                poster.start()
                seen = []
                change = begin
                while poster.is_alive() or change < begin + planned(rate, seconds):
                    if (now_at := last_change(store)) > change:
                        seen.append((time.time(), now_at))
                        change = now_at
                    time.sleep(POLL_SECONDS)
                rows = store._all("SELECT change, id FROM message WHERE change > ? ORDER BY change", begin)
    return list(_delays_ms(rows, seen))


def _delays_ms(rows: list[Any], seen: list[tuple[float, int]]) -> Any:
    """From each message's posting to the first look that saw its change; both lists ascend."""
    looks = iter(seen)
    at, upto = next(looks)
    for change, message_id in rows:
        while upto < change:
            at, upto = next(looks)
        yield (at - posted_at(message_id)) * 1000


def planned(rate: int, seconds: float) -> int:
    """How many messages are posted."""
    return int(rate * seconds)


def post_at_random(poster: Poster, place: Place, rate: int, seconds: float) -> None:
    """Post at independent moments (exponential gaps), `rate` a second on average."""
    chance = random.Random(rate)
    due = time.monotonic()
    for text in texts(planned(rate, seconds)):
        due += chance.expovariate(rate)
        time.sleep(max(0.0, due - time.monotonic()))
        poster.post(place.channel_id, place.member_id, text)
    poster.close()
