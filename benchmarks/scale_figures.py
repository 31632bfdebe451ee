"""What `benchmarks/scale.py` measures, one function for each part of a record.

Shape letters: B queries, N calls.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from benchmarks.served import TAILS, calls, latencies
from mulde.bundle.bundle import open_bundle
from mulde.typing import Float64
from mulde.v1 import prediction_pb2
from serving.engine.engine import Engine
from serving.index_benchmark import Bench, sample_queries
from tests.support.memory import limited, mapped, private_bytes
from tests.support.server import server

MB = 1_000_000
K = 10
RELATIONS = 20
OPTIONS = ("--facts-per-entity", "1", "--bundle", "--precision", "int8", "--cells")
_ASKED = 2000
_IN_FLIGHT = 4
_COMPARED = 128
"""Queries that the whole table is searched for, to compare with: each of 40 relations, thrice."""

Figures = dict[str, Any]


def build(folder: Path, entities: int) -> Figures:
    """Seconds and memory of the process that makes a bundle, and the bytes of what it made."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.synthetic", str(folder)]
    sizes = ["--entities", str(entities), "--relations", str(RELATIONS)]
    begin = perf_counter()
    process = subprocess.Popen([*command, *sizes, *OPTIONS])
    _, status, used = os.wait4(process.pid, 0)
    wall = perf_counter() - begin
    if status:
        raise RuntimeError(f"the bundle was not made: status {status}")
    return {**_used(used), "wall_s": wall, "files": _files(folder)}


def _used(used: resource.struct_rusage) -> Figures:
    """Seconds of processor, and the most memory at a time."""
    return {"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss * 1024 / MB}


def _files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def engine(folder: Path) -> Figures:
    """Seconds to verify and to map a bundle; latency and recall of single queries."""
    begin = perf_counter()
    Engine.open(folder)
    verified = perf_counter() - begin
    begin = perf_counter()
    one = Engine.open(open_bundle(folder, verify=False))
    mapped_s = perf_counter() - begin
    generator = np.random.default_rng(1)
    limits = [[one.num_entities], [2 * one.num_relations]]
    entities, relations = generator.integers(0, limits, size=(2, _ASKED))
    taken, exact = [], []
    for entity, relation in zip(entities[:, None], relations[:, None], strict=True):
        begin = thread_time()
        answers = one.predict(entity, relation, K, exclude_known=True, exact=False)
        taken.append(thread_time() - begin)
        exact.append(bool(answers.exact[0]))
    index = one.manifest.index
    bench = Bench(one, sample_queries(one).take(slice(0, _COMPARED)))
    own = one.loaded.search_by(index, folder / "candidates.faiss", one.bundle.measures)
    return {
        "cells": index.cells,
        "probes": index.probes,
        "verify_s": verified,
        "map_s": mapped_s,
        "query": percentiles(np.array(taken[_ASKED // 10 :])),
        "certified": float(np.mean(exact)),
        "recall": bench.recall(own),
        "recall_queries": _COMPARED,
    }


def percentiles(seconds: Float64) -> dict[str, float]:
    """Milliseconds."""
    return {f"p{p}_ms": float(np.percentile(seconds, p)) * 1e3 for p in (50, 95, 99)}


def served(folder: Path, entities: int, limit_mb: int, seconds: float) -> Figures:
    """Latency under load and memory of the server, in a control group where that may be made.

    Files leave the cache first, so that what the server reads of them counts for the group.
    """
    for path in folder.iterdir():
        _forget(path)
    begin = perf_counter()
    with limited(limit_mb * MB) as group, tempfile.TemporaryDirectory() as scratch:
        enter = None if group is None else group.enter
        log = Path(scratch) / "log"
        with server(folder, "--low-memory", log=log, enter=enter) as process:
            start_s = perf_counter() - begin
            alone, together = _load(process.address, entities, seconds)
            pid = process.process.pid
            files = mapped(pid, folder)
            return {
                "limit_mb": None if group is None else limit_mb,
                "peak_mb": None if group is None else group.peak_bytes / MB,
                "start_s": start_s,
                "alone": {**percentiles(alone), "calls": len(alone)},
                "together": {**percentiles(together), "calls": len(together)},
                "in_flight": _IN_FLIGHT,
                "private_mb": private_bytes(pid) / MB,
                "mapped_mb": sum(counts["Rss"] for counts in files.values()) / MB,
            }


def _forget(path: Path) -> None:
    """Ask the system to drop a file from its cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _load(address: str, entities: int, seconds: float) -> tuple[Float64, Float64]:
    """Seconds of calls [N] one after another, and of calls with several in flight."""
    requests = _requests(entities)
    with calls(address, TAILS) as tails:
        latencies(tails, requests, seconds / 4)
        alone = latencies(tails, requests[::-1], seconds)
    found: list[Float64] = []

    def caller(number: int) -> None:
        with calls(address, TAILS, number=number) as tails:
            found.append(latencies(tails, requests[number::_IN_FLIGHT], seconds))

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(_IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != _IN_FLIGHT:
        raise RuntimeError("a caller failed")
    return alone, np.concatenate(found)


def _requests(entities: int) -> list[bytes]:
    """Single queries of random entities and relations, by the names of `benchmarks.synthetic`."""
    generator = np.random.default_rng(2)
    heads = generator.integers(entities, size=1 << 15).tolist()
    kinds = generator.integers(RELATIONS, size=1 << 15).tolist()
    digits, more = len(str(entities - 1)), len(str(RELATIONS - 1))
    return [
        prediction_pb2.PredictTailsRequest(
            heads=[f"Q{head:0{digits}d}"], relations=[f"P{kind:0{more}d}"]
        ).SerializeToString()
        for head, kind in zip(heads, kinds, strict=True)
    ]
