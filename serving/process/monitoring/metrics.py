"""Prometheus metrics. With several workers each process writes its own, and a scrape adds them up.

prometheus_client decides between the two when it is first imported: where the environment names
PROMETHEUS_MULTIPROC_DIR, values live in files of that folder (``workers/supervisor.py``).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
)

from serving.process.monitoring.logs import Log
from serving.process.monitoring.processes import MemoryCollector, exposition
from serving.process.monitoring.traces import EndSpan
from serving.registry.model import Model
from serving.rpc.handlers import Call

_SECONDS = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_MOST_SAMPLES = 8
"""Samples of added facts that wait to be ranked; newer ones replace older ones."""
_MOST_NOTES = 256
"""Calls that are counted at once, by the caller who finds so many: a few milliseconds of work."""
_QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


Note = tuple[str, str, str, float, int, int, dict[str, float]]
"""Method, model, code, seconds, queries, failed queries, and seconds by stage of an ended call."""

T = TypeVar("T")


class Metrics:
    """What one process counts.

    Attributes:
        runs: of the engine, so far.
    """

    def __init__(self, flight: Callable[[], int]) -> None:
        """Register everything, with no model loaded.

        Args:
            flight: tells how many calls are being answered.
        """
        self.registry = CollectorRegistry()
        shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        if not shared:
            ProcessCollector(registry=self.registry)
            self.registry.register(MemoryCollector(lambda: [os.getpid()]))
        self._requests = Counter(
            "mulde_requests",
            "Calls that ended, by method, model and status code.",
            ["method", "model", "code"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "mulde_request_seconds",
            "Time from the arrival of a call to its answer.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "mulde_stage_seconds",
            "Time of a prediction in the queue, the search with its encoder, and the re-scoring.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._queries = Histogram(
            "mulde_request_queries",
            "Queries in a call.",
            buckets=_QUERIES,
            registry=self.registry,
        )
        self._failed = Counter(
            "mulde_failed_queries",
            "Queries that failed in calls that did not, such as those with unknown names.",
            ["method"],
            registry=self.registry,
        )
        self._batch = Histogram(
            "mulde_batch_queries",
            "Queries in a run of the engine, of one or several callers.",
            buckets=_QUERIES,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "mulde_requests_in_flight",
            "Calls being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._recall = Gauge(
            "mulde_index_recall_at_10",
            "Share of the exhaustive top 10 that the index finds, measured at export.",
            ["model"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._info = Gauge(
            "mulde_model_info",
            "1 for each worker that has the version loaded.",
            ["name", "version", "family", "dimension"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )

        self._current = Gauge(
            "mulde_model_current",
            "1 where the version answers requests that name none.",
            ["name", "version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._changed = Gauge(
            "mulde_changed_since_training",
            "Facts added and removed, and entities added, since the training.",
            ["model", "what"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._reciprocal_ranks = Summary(
            "mulde_added_fact_reciprocal_rank",
            "Reciprocal ranks of a sample of added facts, before they were added.",
            registry=self.registry,
        )
        self._loaded: Sequence[Model] = ()
        # Finding a series by its labels takes longer than to count in it.
        self._requests_of = cache(self._requests.labels)
        self._latency_of = cache(self._latency.labels)
        self._stage_of = cache(self._stages.labels)
        self._flight = flight
        self._notes: deque[Note] = deque()
        self._batches: deque[int] = deque()
        self.runs = 0
        self._ranks: deque[Callable[[], Sequence[float]]] = deque(maxlen=_MOST_SAMPLES)
        self._told: dict[str, tuple[str, str, str, str]] = {}

    def ended(self, method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        """Note a call, to be counted a little later, outside of the call."""
        if call.ranks is not None:
            self._ranks.append(call.ranks)
        short = method.rpartition(".")[2]
        name, queries = code.name, call.queries
        self._notes.append((short, call.model, name, seconds, queries, call.failed, call.seconds))
        if len(self._notes) >= _MOST_NOTES:
            self.settle()

    def rank_added(self) -> None:
        """Rank the samples of added facts that were noted last, outside of calls."""
        for ranks in _drain(self._ranks):
            for rank in ranks():
                self._reciprocal_ranks.observe(1 / rank)

    def settle(self) -> None:
        """Count what was noted."""
        self._in_flight.set(self._flight())
        for loaded in self._loaded:
            for what, count in loaded.changes().items():
                self._changed.labels(str(loaded), what).set(count)
        for queries in _drain(self._batches):
            self._batch.observe(queries)
        for method, model, code, seconds, queries, failed, stages in _drain(self._notes):
            self._requests_of(method, model, code).inc()
            self._latency_of(method).observe(seconds)
            if queries:
                self._queries.observe(queries)
            if failed:
                self._failed.labels(method).inc(failed)
            for stage, spent in stages.items():
                self._stage_of(stage).observe(spent)

    def batch(self, queries: int) -> None:
        """Take note of a run of the engine."""
        self.runs += 1
        self._batches.append(queries)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        self.rank_added()
        self.settle()
        return exposition(self.registry)

    def models(self, loaded: Sequence[tuple[Model, bool]]) -> None:
        """Tell which versions are loaded, and which of them are current.

        What is gone falls to 0 and stays listed: shared metrics cannot take a label back.
        """
        gone = set(self._told)
        self._loaded = [model for model, _ in loaded]
        for model, current in loaded:
            manifest = model.bundle.manifest
            labels = (model.name, model.version, manifest.family, str(manifest.dimension))
            self._told[str(model)] = labels
            gone.discard(str(model))
            self._info.labels(*labels).set(1)
            self._current.labels(model.name, model.version).set(current)
            recall = manifest.checks.get("recall@10")
            if recall is not None:
                self._recall.labels(str(model)).set(recall)
        for labels in map(self._told.__getitem__, gone):
            self._info.labels(*labels).set(0)
            self._current.labels(*labels[:2]).set(0)


def _drain(notes: deque[T]) -> Iterator[T]:
    """Take out all items; several threads may do so."""
    while notes:
        try:
            yield notes.popleft()
        except IndexError:
            return


@dataclass
class CallLog:
    """Counts calls, and logs and traces each where that was asked for."""

    metrics: Metrics
    log: Log
    log_requests: bool
    end_span: EndSpan | None

    def ended(self, method: str, code: grpc.StatusCode, call: Call, seconds: float) -> None:
        """See ``handlers.Observer``."""
        self.metrics.ended(method, code, call, seconds)
        if self.end_span is not None:
            self.end_span(method, code, call, seconds)
        if self.log_requests:
            self.log.info(
                "request",
                method=method.rpartition(".")[2],
                code=code.name,
                model=call.model,
                queries=call.queries,
                failed_queries=call.failed,
                ms=round(seconds * 1e3, 3),
                request_id=call.id,
                peer=call.context.peer(),
                **({"token": call.token} if call.token else {}),
                **({"traceparent": call.trace} if call.trace else {}),
            )

    def failed(self, method: str, call: Call, error: BaseException) -> None:
        """See ``handlers.Observer``."""
        self.log.error("internal error", method=method, request_id=call.id, exc_info=error)
