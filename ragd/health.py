"""What the watchdog looks at every HEALTH_CHECK_INTERVAL_MINUTES besides the workers: disk, memory and store."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import psutil

from ragd.alerts import Severity
from ragd.config import Settings
from ragd.errors import RagdError

STORE_SECONDS = 2.0
"""How long a StoreProbe may take."""

NEARLY_FULL = 0.9
"""Part of MAX_MEMORY_MB from which a worker's memory is a finding."""

LOW_MEMORY_BYTES = 64 * 2**20
"""Available memory of the machine below which the kernel will soon kill somebody."""


class StoreProbe(Protocol):
    """A look into the store, bounded by STORE_SECONDS."""

    def lag(self) -> int:
        """Messages captured that are not yet searchable. Raises RagdError when the store does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something out of order. `key` is that of its alert."""

    key: str
    severity: Severity
    text: str


class HealthCheck:
    """Runs the checks. `KEYS` are the alerts it can ask for."""

    KEYS = ("disk", "memory", "store")

    def __init__(self, settings: Settings, store: StoreProbe | None = None) -> None:
        self._settings = settings
        self._store = store
        self.lag_messages: int | None = None
        """From the last run; None without a store or an answer."""

    def run(self, rss_bytes: Mapping[str, int]) -> list[Finding]:
        """Look at everything once; `rss_bytes` by worker. Empty if all is well."""
        findings = (self._check_disk(), self._check_memory(rss_bytes), self._check_store())
        return [finding for finding in findings if finding is not None]

    def _check_disk(self) -> Finding | None:
        where, wanted = self._settings.data_dir, self._settings.min_disk_gb
        try:
            free = shutil.disk_usage(where).free / 2**30
        except OSError as error:
            return Finding("disk", Severity.ERROR, f"cannot look at {where}: {error.strerror}")
        if free >= wanted:
            return None
        return Finding("disk", Severity.ERROR, f"{free:.2f} GiB free at {where}, MIN_DISK_GB={wanted:g}")

    def _check_memory(self, rss_bytes: Mapping[str, int]) -> Finding | None:
        available = psutil.virtual_memory().available
        if available < LOW_MEMORY_BYTES:
            return Finding("memory", Severity.WARNING, f"{available / 2**20:.0f} MiB of memory left on this machine")
        limit = self._settings.max_memory_mb
        large = [f"{name} {rss / 2**20:.0f}" for name, rss in rss_bytes.items() if rss > NEARLY_FULL * limit * 2**20]
        if not large:
            return None
        return Finding("memory", Severity.WARNING, f"MiB resident near MAX_MEMORY_MB={limit}: {', '.join(large)}")

    def _check_store(self) -> Finding | None:
        self.lag_messages = None
        if self._store is None:
            return None
        try:
            self.lag_messages = self._store.lag()
        except RagdError as error:
            return Finding("store", Severity.ERROR, f"the store does not answer: {error}")
        return None
