"""The bar of `ragdctl coverage`: how far the filling of holes is, and how long it will take."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque

from rich.progress import BarColumn, Progress, TextColumn

from ragd.cli.render import console, format_seconds, print_json
from ragd.cli.watch import Wait, keys
from ragd.store import Store
from ragd.store.completeness import Progress as Filled

REFRESH_SECONDS = 1.0

PACE_SECONDS = 60.0
"""Over how long the pace is taken: pages of busy and of quiet months take turns."""


class Pace:
    """How long the rest takes, from how the covered part grew of late."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def eta_seconds(self, filled: Filled, now: float) -> float | None:
        """Seconds until all is covered if it goes on so; None while nothing grows, or nothing has been seen to."""
        if self._looks and filled.covered < self._looks[-1][1]:
            self._looks.clear()  # a claim was taken back: what was before says nothing about now
        self._looks.append((now, filled.covered))
        while now - self._looks[0][0] > PACE_SECONDS:
            self._looks.popleft()
        seconds, grown = now - self._looks[0][0], filled.covered - self._looks[0][1]
        return max(0, filled.extent - filled.covered) * seconds / grown if grown > 0 else None


def follow(store: Store, *, as_json: bool) -> bool:
    """Show how far it is, every second, until no hole is left or somebody ends it; returns whether none is left."""
    pace = Pace()
    with contextlib.suppress(KeyboardInterrupt):
        if as_json or not console().is_terminal:
            _print_lines(store, pace, as_json=as_json)
        else:
            with keys() as wait:
                _show_bar(store, pace, wait)
    return store.completeness.progress().complete


def _print_lines(store: Store, pace: Pace, *, as_json: bool) -> None:
    while True:
        filled = store.completeness.progress()
        eta = pace.eta_seconds(filled, time.monotonic())
        if as_json:
            print_json(_document(filled, eta), indent=None)
        else:
            console().print(f"{filled.percent:.2f} %, {filled.holes:,} holes, {_left(filled, eta)}")
        sys.stdout.flush()
        if filled.complete:
            return
        time.sleep(REFRESH_SECONDS)


def _document(filled: Filled, eta: float | None) -> dict[str, float | int | None]:
    return {
        "time": time.time(),
        "percent": filled.percent,
        "holes": filled.holes,
        "refused_holes": filled.refused_holes,
        "eta_seconds": eta,
    }


def _show_bar(store: Store, pace: Pace, wait: Wait) -> None:
    columns = (BarColumn(40), TextColumn("{task.description}"))
    with Progress(*columns, console=console(), auto_refresh=False) as progress:
        task = progress.add_task("", total=1.0)
        while True:
            filled = store.completeness.progress()
            left = _left(filled, pace.eta_seconds(filled, time.monotonic()))
            told = f"{filled.percent:.2f} %  {filled.holes:,} holes  {left}  (q ends)"
            progress.update(task, completed=filled.percent, total=100.0, description=told)
            progress.refresh()
            if filled.complete or wait(REFRESH_SECONDS):
                return


def _left(filled: Filled, eta: float | None) -> str:
    if filled.complete:
        return "nothing is missing"
    return "time left: not known yet" if eta is None else f"about {format_seconds(eta)} left"
