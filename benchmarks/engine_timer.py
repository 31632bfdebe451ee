"""Times an engine in a process of its own, so that two versions of the code can be compared.

``python -P benchmarks/engine_timer.py BUNDLE`` with ``PYTHONPATH`` naming a checkout. Each line of
stdin is "engine SIZE SECONDS", "flat SIZE SECONDS" or "product SIZE SECONDS"; the answer is the
median of the seconds that one batch of so many queries took. It uses nothing of this folder, and of
the engine only what every version has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.engine.engine import Engine

K, SEED, MOST = 10, 0, 256


def jobs(bundle: Path) -> dict[str, Callable[[int], object]]:
    """What can be timed, by name: a function of the size of the batch."""
    engine = Engine.open(bundle)
    generator = np.random.default_rng(SEED)
    heads = generator.integers(engine.num_entities, size=MOST)
    relations = generator.integers(engine.num_relations, size=MOST)
    held: Any = getattr(engine, "loaded", engine)  # v0.1 keeps the table in the engine itself
    table = held.table
    rows = table.rows(np.arange(engine.num_entities)).astype(np.float32)
    queries = np.ascontiguousarray(engine.encode(heads, relations).vector.astype(np.float32))
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    buffer = np.empty((MOST, len(rows)), np.float32)
    start = 0

    def taken(size: int) -> slice:
        nonlocal start
        start = (start + size) % (MOST - size + 1)
        return slice(start, start + size)

    def ask(size: int) -> object:
        part = taken(size)
        return engine.predict(heads[part], relations[part], K, exclude_known=True)

    def product(size: int) -> object:
        return np.matmul(queries[taken(size)], rows.T, out=buffer[:size])

    return {
        "engine": ask,
        "flat": lambda size: flat.search(queries[taken(size)], K),
        "product": product,
    }


def median_seconds(job: Callable[[int], object], size: int, seconds: float) -> float:
    """Of one batch, over as many as fit into the time and three at least."""
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < 3 or perf_counter() < end:
        begin = perf_counter()
        job(size)
        times.append(perf_counter() - begin)
    return float(np.median(times))


def main() -> None:
    """Answer the lines of stdin."""
    threadpool_limits(limits=1)
    faiss.omp_set_num_threads(1)
    known = jobs(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        name, size, seconds = line.split()
        print(median_seconds(known[name], int(size), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
