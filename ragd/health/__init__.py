"""Health: small checks with a verdict, a figure and a hint, run by the watchdog and kept for a week in the store."""

from __future__ import annotations

from ragd.health.examiner import CHECKS, Examiner, Measurements
from ragd.health.outcome import Outcome, Verdict
from ragd.health.view import ProcessFigures, View, WorkerView

__all__ = [
    "CHECKS",
    "STORE_SECONDS",
    "Examiner",
    "Measurements",
    "Outcome",
    "ProcessFigures",
    "Verdict",
    "View",
    "WorkerView",
]

STORE_SECONDS = 2.0
"""How long what the pass itself asks of the store may take: the handing over of an alert. The checks' own questions
are asked by errands (ragd/health/errand.py), which no pass waits for."""
