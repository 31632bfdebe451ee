"""Facts added, durably, while a server is asked 1,000 queries a second.

    python -m benchmarks.live_facts BUNDLE [--seconds 10] [--rate 2000]

The server is a process of its own with one worker; this process asks and adds. A fact counts when
its call has returned, that is when it is on disk and followed.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.record_files import write_json
from mulde.client import Client
from serving.engine.engine import Engine
from tests.support.server import server

HERE = Path(__file__).parent
QUERIES = 10
"""Of one call; 100 calls a second."""
CALLS = 100
BATCH = 1000
TOKEN = "admin-token-0123456789"


def main(bundle: Path, seconds: float = 10.0, rate: float = 2000.0) -> None:
    """Measure, and write ``records/facts/live_facts.json``.

    Args:
        bundle: to serve.
        seconds: how long.
        rate: facts a second that are offered.
    """
    names = Engine.open(bundle).bundle.vocabulary
    entities, relations = list(names.entities.ids), list(names.relations.ids)
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder, "tokens")
        tokens.write_text(f"admin {TOKEN}\n")
        flags = ["--state", f"{folder}/state", "--api-key-file", str(tokens)]
        with server(bundle, *flags, log=Path(folder, "log")) as process:
            found = _measure(process.address, entities, relations, seconds, rate)
    write_json(HERE / "records" / "facts" / "live_facts.json", found)
    typer.echo(json.dumps(found))


def _measure(
    address: str, entities: list[str], relations: list[str], seconds: float, rate: float
) -> dict[str, Any]:
    rng, end, added = np.random.default_rng(0), threading.Event(), 0
    times: list[float] = []
    asking = threading.Thread(target=_ask, args=(address, entities, relations, end, times))
    asking.start()
    batches: list[float] = []
    start = time.perf_counter()
    with Client(address, token=TOKEN) as client:
        while time.perf_counter() - start < seconds:
            time.sleep(max(0.0, start + len(batches) * BATCH / rate - time.perf_counter()))
            heads, tails = (rng.choice(entities, BATCH).tolist() for _ in range(2))
            begun = time.perf_counter()
            reply = client.add_facts(heads, rng.choice(relations, BATCH).tolist(), tails)
            batches.append(time.perf_counter() - begun)
            added += reply.added
    took = time.perf_counter() - start
    end.set()
    asking.join()
    return {
        "facts": added,
        "facts_per_s": added / took,
        "batch_ms": 1e3 * float(np.median(batches)),
        "queries_per_s": QUERIES * len(times) / took,
        "call_p50_ms": 1e3 * float(np.median(times)),
        "call_p99_ms": 1e3 * float(np.quantile(times, 0.99)),
    }


def _ask(
    address: str,
    entities: list[str],
    relations: list[str],
    end: threading.Event,
    times: list[float],
) -> None:
    """Ask 100 times a second; a call that is late is not left out."""
    rng, start = np.random.default_rng(1), time.perf_counter()
    with Client(address, token=TOKEN) as client:
        for number in range(1 << 30):
            due = start + number / CALLS
            time.sleep(max(0.0, due - time.perf_counter()))
            if end.is_set():
                return
            heads = rng.choice(entities, QUERIES).tolist()
            client.predict_tails(heads, rng.choice(relations, QUERIES).tolist())
            times.append(time.perf_counter() - due)


if __name__ == "__main__":
    typer.run(main)
