"""Turns facts into log lines and counters. What is counted is declared in metrics.py, events in notes.py."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TextIO

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from swarm.facts import Note
from swarm.io.log_lines import FORMATS, LEVELS, Field, ForeignFormatter
from swarm.io.metrics import METRICS, Metric
from swarm.io.notes import NOTES, UNLISTED

LINES_PER_S = 50
"""Lines of one event in a second; a storm of the same fact must not fill a disk, nor stop the loop."""
EVENT_NAMES_MAX = 512
"""Different names of events that get a series of their own; far more than the table has."""

_CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Telemetry:
    """The log and the metrics of one process. Used on one thread, except for the records of libraries."""

    def __init__(
        self,
        component: str,
        log_format: str = "text",
        log_level: str = "info",
        stream: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._stream = stream if stream is not None else sys.stderr
        self._line = FORMATS[log_format]
        self._level = LEVELS[log_level]
        self._limit = _LineLimit(clock)
        self._event_names: set[str] = set()
        self._prefix = f"damselfly_{component}_"
        self._declared = METRICS[component]
        self._gauges = _Gauges(self._prefix)
        self._counters, self._histograms = self._make()
        self._series: dict[tuple[object, ...], Counter] = {}
        """Counters by name and labels: to find one by its labels costs more than to count."""
        self.registry.register(self._gauges)
        prometheus_client.ProcessCollector(registry=self.registry)

    def _make(self) -> tuple[dict[str, Counter], dict[str, Histogram]]:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        counters, histograms = {}, {}
        for name, metric in self._declared.items():
            full = self._prefix + name
            if metric.kind == "counter":
                counters[name] = Counter(full, metric.help, metric.labels, registry=self.registry)
            elif metric.kind == "histogram":
                buckets = metric.buckets
                histograms[name] = Histogram(
                    full, metric.help, metric.labels, registry=self.registry, buckets=buckets
                )
        return counters, histograms

    # --- facts ------------------------------------------------------------------------------------

    def note(self, note: Note) -> None:
        """Log and count a fact."""
        name = note.name
        if name not in self._event_names:
            if len(self._event_names) >= EVENT_NAMES_MAX:
                name = "other"
            self._event_names.add(name)
        self.count("events_total", event=name)
        kind = NOTES.get(note.name, UNLISTED)
        if LEVELS[kind.level] >= self._level:
            self._log(kind.level.upper(), note.name, _fields(note))

    def _log(self, level: str, event: str, fields: list[Field]) -> None:
        allowed, suppressed = self._limit.ask(event)
        for name, count in suppressed:
            self.count("log_lines_suppressed_total", count, event=name)
            self._write(self._line("INFO", "lines_suppressed", [("of", name), ("count", count)]))
        if allowed:
            self._write(self._line(level, event, fields))

    def _write(self, line: str) -> None:
        # A log that cannot be written, to a full disk or a closed pipe, stops nothing.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def adopt_logging(self) -> None:
        """Send the warnings and errors of libraries the same way. For programs, not for tests."""
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(ForeignFormatter(self._line))
        logging.basicConfig(level=max(self._level, logging.WARNING), handlers=[handler], force=True)

    # --- metrics ----------------------------------------------------------------------------------

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a declared counter."""
        series = self._series.get((name, *labels.items()))
        if series is None:
            counter = self._counters[name]
            series = counter.labels(**labels) if labels else counter
            self._series[(name, *labels.items())] = series
        series.inc(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Put a value into a declared histogram."""
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Say how to read a declared gauge; it is read when it is scraped."""
        metric = self._declared[name]
        assert metric.kind == "gauge", f"{name} is not declared as a gauge"
        self._gauges.reads[name] = (metric, read)

    def exposition(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus' text format, and its content type."""
        return prometheus_client.generate_latest(self.registry), _CONTENT_TYPE


def _fields(note: Note) -> list[Field]:
    fields: list[Field] = []
    if note.task is not None:
        fields.append(("task", note.task))
    if note.host is not None:
        fields.append(("host", note.host))
    fields.extend(note.fields)
    return fields


class _Gauges(Collector):
    """Reads values from the process's state at the moment of the scrape."""

    def __init__(self, prefix: str) -> None:
        self.reads: dict[str, tuple[Metric, Callable[[], float]]] = {}
        self._prefix = prefix

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges that somebody offered."""
        for name, (metric, read) in self.reads.items():
            yield GaugeMetricFamily(self._prefix + name, metric.help, value=read())


class _LineLimit:
    """Lets LINES_PER_S lines of an event through in each second, and counts the others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._seen: dict[str, int] = {}

    def ask(self, event: str) -> tuple[bool, list[tuple[str, int]]]:
        """Return whether a line may be written, and what was left out in an earlier second."""
        suppressed: list[tuple[str, int]] = []
        second = int(self._clock())
        if second != self._second:
            left_out = ((name, count - LINES_PER_S) for name, count in self._seen.items())
            suppressed = [(name, count) for name, count in left_out if count > 0]
            self._second, self._seen = second, {}
        seen = self._seen[event] = self._seen.get(event, 0) + 1
        return seen <= LINES_PER_S, suppressed
