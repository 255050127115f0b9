"""What the last pass of the watchdog saw, as Prometheus reads it (prometheus.io/docs/practices/naming).

Gauges of the store are as old as its last survey, counters of workers begin anew with their process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import ragd
from ragd.health import Measurements, Outcome, Verdict, View
from ragd.health.checks import number
from ragd.heartbeat import Heartbeat
from ragd.model_status import change_ratio

_VERDICTS = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2}

_EVENTS = {"posted": "posted", "edited": "edited", "deleted": "deleted", "backfilled": "fetched"}
"""Capture's counters, and the `event` they are told as."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pass, never changed afterwards."""

    view: View
    outcomes: tuple[Outcome, ...]
    runs: Mapping[str, int]
    failures: Mapping[str, int]
    measured: Measurements
    ready: bool
    beat_ages: Mapping[str, float]
    """Age of each process's heartbeat in seconds."""
    alerts_open: int
    alerts_undelivered: int
    passes: int
    pass_seconds: float
    whole_pass_at: float
    """Unix seconds of the last pass in which supervisord answered."""


def render(sample: Sample, accept: str) -> tuple[bytes, str]:
    """The exposition and its content type, in the newest format that the Accept header asks for."""
    registry = CollectorRegistry()
    registry.register(_OneSample(sample))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _OneSample(Collector):
    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing else is in the registry that a name could clash with

    def collect(self) -> Iterator[Metric]:
        for part in _PARTS:
            yield from part(self._sample)


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield CounterMetricFamily(name, text, value=value)


def _by_label(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float | None],
) -> Iterator[Metric]:
    metric = family(name, text, labels=[label])
    for value_of, value in values.items():
        if value is not None:
            metric.add_metric([value_of], value)
    if metric.samples:
        yield metric


def _watchdog(sample: Sample) -> Iterator[Metric]:
    yield InfoMetricFamily("ragd_build", "The version that runs.", value={"version": ragd.__version__})
    yield from _gauge("ragd_ready", "1 if /readyz says so.", float(sample.ready))
    yield from _counter("ragd_watchdog_passes_total", "Passes of the watchdog.", sample.passes)
    yield from _gauge("ragd_watchdog_pass_seconds", "How long the last pass took.", sample.pass_seconds)
    text = "When the last whole pass ended: one in which supervisord answered."
    yield from _gauge("ragd_watchdog_last_pass_timestamp_seconds", text, sample.whole_pass_at)
    yield from _gauge("ragd_supervisord_up", "1 if supervisord answers.", float(not sample.view.supervisord))
    yield from _gauge("ragd_alerts_open", "Alerts that are open.", sample.alerts_open)
    yield from _gauge("ragd_alerts_undelivered", "Notices that have reached nobody yet.", sample.alerts_undelivered)


def _checks(sample: Sample) -> Iterator[Metric]:
    verdicts = {outcome.name: float(_VERDICTS[outcome.verdict]) for outcome in sample.outcomes}
    text = "What a check said last: 0 ok, 1 warn, 2 fail."
    yield from _by_label(GaugeMetricFamily, "ragd_check_verdict", text, "check", verdicts)
    runs, failures = ({n: float(c) for n, c in counts.items()} for counts in (sample.runs, sample.failures))
    yield from _by_label(CounterMetricFamily, "ragd_check_runs_total", "Runs of a check.", "check", runs)
    yield from _by_label(
        CounterMetricFamily, "ragd_check_failures_total", "Runs of a check that failed.", "check", failures
    )


def _workers(sample: Sample) -> Iterator[Metric]:
    workers = sample.view.workers
    gauge, counter, label = GaugeMetricFamily, CounterMetricFamily, "process"
    up = {worker.name: float(worker.working) for worker in workers}
    yield from _by_label(gauge, "ragd_process_up", "1 if the worker does its work.", label, up)
    restarts = {worker.name: float(worker.restarts) for worker in workers}
    text = "Times the worker was replaced since supervisord started."
    yield from _by_label(counter, "ragd_process_restarts_total", text, label, restarts)
    ages = sample.beat_ages
    yield from _by_label(gauge, "ragd_heartbeat_age_seconds", "Age of the newest heartbeat.", label, ages)
    backlog = {worker.name: number(worker.beat, "backlog") for worker in workers}
    yield from _by_label(gauge, "ragd_process_backlog", "Pieces of work that wait.", label, backlog)


def _processes(sample: Sample) -> Iterator[Metric]:
    found = sample.measured.processes.items()
    gauge, counter, label = GaugeMetricFamily, CounterMetricFamily, "process"
    rss = {name: float(figures.rss_bytes) for name, figures in found}
    yield from _by_label(gauge, "ragd_process_resident_memory_bytes", "Resident memory.", label, rss)
    cpu = {name: figures.cpu_seconds for name, figures in found}
    yield from _by_label(counter, "ragd_process_cpu_seconds_total", "User and system time.", label, cpu)
    files = {name: float(figures.descriptors) for name, figures in found}
    yield from _by_label(gauge, "ragd_process_open_fds", "Open file descriptors.", label, files)
    limits = {name: float(figures.descriptor_limit) for name, figures in found}
    yield from _by_label(gauge, "ragd_process_max_fds", "File descriptors that may be open.", label, limits)
    began = {name: figures.started_at for name, figures in found}
    yield from _by_label(gauge, "ragd_process_start_time_seconds", "When it began, Unix time.", label, began)


def _disk(sample: Sample) -> Iterator[Metric]:
    disk = next((outcome for outcome in sample.outcomes if outcome.name == "disk"), None)
    text = "Free space on the data directory's file system."
    yield from _gauge("ragd_disk_free_bytes", text, disk.figure if disk else None)


def _store(sample: Sample) -> Iterator[Metric]:
    survey = sample.measured.survey
    if survey is None:
        return
    lag = survey.progress.lag_messages
    yield from _gauge("ragd_lag_messages", "Captured messages that are not searchable yet.", lag)
    text = "How long the longest waiting one has been known."
    yield from _gauge("ragd_lag_seconds", text, sample.measured.behind_seconds)
    yield from _gauge("ragd_database_size_bytes", "Size of the database.", survey.database_bytes)
    yield from _gauge("ragd_wal_size_bytes", "Size of its write-ahead log.", survey.wal_bytes)
    text = "How long the last commit of the checks' history took."
    yield from _gauge("ragd_database_write_seconds", text, sample.measured.write_seconds)


def _audits(sample: Sample) -> Iterator[Metric]:
    survey = sample.measured.survey
    done = survey.audits.done if survey and survey.audits else None
    if done is None:
        return
    counts = {"checked": done.checked, "present": done.present, "deleted": done.deleted, "unmended": done.unmended}
    text = "Messages that the last audit compared with Discord, and what it found."
    values: dict[str, float | None] = {result: float(count) for result, count in counts.items()}
    yield from _by_label(GaugeMetricFamily, "ragd_audit_messages", text, "result", values)
    yield from _gauge("ragd_audit_last_timestamp_seconds", "When that was, Unix time.", done.ended_at)


def _contents(sample: Sample) -> Iterator[Metric]:
    counts = sample.measured.counted.counts if sample.measured.counted else None
    if counts is None:
        return
    yield from _gauge("ragd_stored_messages", "Messages in the store, without deleted ones.", counts.messages)
    yield from _gauge("ragd_stored_chunks", "Chunks in the store.", counts.chunks)
    yield from _gauge("ragd_stored_vectors", "Chunks that have a vector.", counts.vectors)
    yield from _gauge("ragd_stored_channels", "Channels and threads in the store.", counts.channels)
    yield from _gauge("ragd_unreadable_channels", "Channels that the bot may not read.", counts.unreadable_channels)
    yield from _gauge("ragd_holes", "Spans of history that are being fetched.", counts.holes)


def _capture(sample: Sample) -> Iterator[Metric]:
    beat = _beat(sample, "capture")
    # capture counts only what there has been; a counter that begins later than its process has no rate at first
    events = {event: number(beat, counter) or 0.0 for counter, event in _EVENTS.items()} if beat else {}
    text = "Messages that capture committed since its start."
    yield from _by_label(CounterMetricFamily, "ragd_messages_total", text, "event", events)
    if beat is not None and "connected" in beat.counters:
        yield from _gauge("ragd_gateway_connected", "1 with a session.", float(bool(beat.counters["connected"])))
    yield from _counter("ragd_gateway_sessions_total", "New sessions since capture began.", number(beat, "sessions"))
    yield from _counter("ragd_gateway_resumes_total", "Resumed sessions since capture began.", number(beat, "resumes"))
    age = number(beat, "last_event_age_seconds")
    yield from _gauge("ragd_gateway_last_event_age_seconds", "Age of the last message event.", age)
    text = "How overdue Discord's acknowledgement of a heartbeat is."
    yield from _gauge("ragd_gateway_ack_overdue_seconds", text, number(beat, "gateway_ack_age_seconds"))
    latency = number(beat, "latency_seconds")
    yield from _gauge("ragd_gateway_latency_seconds", "Round trip of the last gateway heartbeat.", latency)
    text = "Channels with messages at Discord that the gateway did not bring."
    yield from _gauge("ragd_gateway_deaf_channels", text, number(beat, "deaf_channels"))
    yield from _gauge("ragd_gateway_shards_away", "Shards without a session.", number(beat, "shards_away"))


def _requests(sample: Sample) -> Iterator[Metric]:
    beat = _beat(sample, "capture")
    yield from _counter("ragd_discord_requests_total", "Requests since capture began.", number(beat, "requests"))
    text = "Of these, answered by 429 since capture began."
    yield from _counter("ragd_discord_rate_limited_total", text, number(beat, "rate_limited"))
    text = "Answered by 401, 403 or 429 in the last 10 minutes; Discord bars the address at 10,000."
    yield from _gauge("ragd_discord_invalid_requests", text, number(beat, "invalid_requests"))


def _search(sample: Sample) -> Iterator[Metric]:
    syncer, searcher = _beat(sample, "syncer"), _beat(sample, "searcher")
    yield from _counter("ragd_chunks_made_total", "Chunks since the syncer began.", number(syncer, "chunks_made"))
    yield from _counter("ragd_texts_embedded_total", "Texts since the syncer began.", number(syncer, "embedded"))
    text = "Part of the chunks that the model to come has embedded; only while the model changes."
    yield from _gauge("ragd_model_change_ratio", text, change_ratio(syncer.counters) if syncer else None)
    queries, seconds = number(searcher, "queries"), number(searcher, "query_seconds")
    if queries is not None and seconds is not None:
        text = "Queries and the time they took, since the searcher began."
        yield SummaryMetricFamily("ragd_search_duration_seconds", text, count_value=int(queries), sum_value=seconds)
    counters = searcher.counters if searcher else {}
    vectors = {n.removeprefix("vectors_"): number(searcher, n) for n in counters if n.startswith("vectors_")}
    yield from _by_label(GaugeMetricFamily, "ragd_index_vectors", "Vectors in an index.", "strategy", vectors)
    text = "From the commit of the last canary to the answer that had it."
    yield from _gauge("ragd_canary_round_trip_seconds", text, sample.measured.flight_seconds)
    text = "When that was, Unix time."
    yield from _gauge("ragd_canary_last_success_timestamp_seconds", text, sample.measured.flown_at)


def _beat(sample: Sample, name: str) -> Heartbeat | None:
    worker = sample.view.worker(name)
    return worker.beat if worker else None


_PARTS: tuple[Callable[[Sample], Iterator[Metric]], ...] = (
    _watchdog,
    _checks,
    _workers,
    _processes,
    _disk,
    _store,
    _contents,
    _audits,
    _capture,
    _requests,
    _search,
)
