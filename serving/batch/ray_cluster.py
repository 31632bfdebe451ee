"""Machines of a Ray cluster that answer the shards of one job; results come back in order.

Ray gives a shard whose process or machine is lost to another one. Only the process that began the
job writes into its folder, so a machine that was taken for dead can spoil nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mulde.errors import ConfigError, JobError
from serving.batch.job_state import Tally, part_path, write_record, write_whole
from serving.batch.predictor import ANSWERS, SKIPPED, Predictor
from serving.batch.worker_pool import JobSpec, Shard

Parts = dict[str, bytes]
"""Content by suffix."""

_WAITING = 2
_TRIES = 5


def work_on_ray(
    spec: JobSpec, shards: Iterable[tuple[int, Shard]], address: str
) -> Iterator[tuple[int, Tally]]:
    """Answer numbered shards on all cores of a cluster, as ``worker_pool.work`` does on one.

    Args:
        spec: its bundle lies at the same absolute path on each machine.
        shards: taken as they are needed; 2 for each core wait.
        address: of the cluster, as ``ray.init`` takes it.

    Yields:
        The number and tally of each shard, in order.

    Raises:
        ConfigError: if no cluster answers at the address.
        JobError: if a shard was lost with five processes.
        MuldeError: what the first shard that fails raises.
    """
    import ray

    remote = replace(spec, bundle=spec.bundle.absolute())
    waiting: deque[tuple[int, Any]] = deque()
    with _connected(address):
        answer = ray.remote(num_cpus=1, max_retries=_TRIES - 1)(_answer)
        most = _WAITING * max(1, int(ray.cluster_resources().get("CPU", 1)))
        try:
            for number, shard in shards:
                waiting.append((number, answer.remote(remote, number, shard)))
                if len(waiting) > most:
                    yield _next(spec, waiting)
            while waiting:
                yield _next(spec, waiting)
        finally:
            for _, reference in waiting:
                ray.cancel(reference)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        expected = "the address of a Ray cluster that runs, or auto on one of its machines"
        raise ConfigError("--ray", expected, address) from error
    try:
        yield
    finally:
        ray.shutdown()


def _next(spec: JobSpec, waiting: deque[tuple[int, Any]]) -> tuple[int, Tally]:
    """Take the first shard's result and keep it; its record is written last."""
    import ray

    number, reference = waiting.popleft()
    try:
        tally, parts = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        problem = f"shard {number} was lost with {_TRIES} processes: {error}; run it again"
        raise JobError(spec.answers, problem) from error
    for suffix, content in parts.items():
        write_whole(part_path(spec.folder, number, suffix), content)
    write_record(spec.folder, number, tally)
    return number, tally


def _answer(spec: JobSpec, number: int, shard: Shard) -> tuple[Tally, Parts]:
    """Answer a shard in a process of the cluster."""
    folder, predictor = _prepared(spec)
    tally, parts = predictor(number, shard), {}
    for suffix in (ANSWERS, SKIPPED):
        path = part_path(Path(folder.name), number, suffix)
        if path.exists():
            parts[suffix] = path.read_bytes()
            path.unlink()
    return tally, parts


@cache
def _prepared(spec: JobSpec) -> tuple[TemporaryDirectory[str], Predictor]:
    """A folder of this process, and the model; once for a job, whose bundle is verified here."""
    threadpool_limits(limits=1)
    folder = TemporaryDirectory(prefix="mulde-")
    return folder, replace(spec, folder=Path(folder.name)).predictor(verify=True)
