"""What `benchmarks/serving.py` measures, one function for each group of figures.

Everything that is compared alternates in one run, so that what else the machine does falls on both
sides; each ratio is taken within a round, and the median over rounds is what counts.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.served import (
    EMPTY,
    RELOAD,
    TAILS,
    address,
    calls,
    environment,
    latencies,
    rate,
    requests_of,
    serving,
    versions,
)
from mulde.bundle.bundle import open_bundle
from mulde.typing import Float64
from mulde.v1 import model_pb2
from serving.engine.engine import Engine
from serving.engine.onnx_session import session_options

BATCH = 256
SIZES = (1, 16, 64, BATCH)
K = 10
TOKEN = "a-token-of-the-benchmark"
ROUND_S = 0.3
"""Of a short measurement."""
_RELOADS = 5

Figures = dict[str, Any]
Floats32 = NDArray[np.float32]


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest of the rounds."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def percentiles(seconds: Float64) -> dict[str, float]:
    """Milliseconds."""
    return {f"p{p}_ms": float(np.percentile(seconds, p)) * 1e3 for p in (50, 95, 99)}


def alone(bundle: Path, ready: Figures, rounds: int) -> Figures:
    """One query a call, one call at a time, beside an empty call on the same server."""
    requests = requests_of(bundle, 1, 512, seed=1)
    target, empty, asked, ratios = address(ready), [], [], []
    with calls(target, EMPTY) as check, calls(target, TAILS) as tails:
        latencies(tails, requests, ROUND_S)
        for _ in range(rounds):
            empty.append(latencies(check, [b""], ROUND_S))
            asked.append(latencies(tails, requests, ROUND_S))
            ratios.append(float(np.median(asked[-1]) / np.median(empty[-1])))
    return {
        "empty": percentiles(np.concatenate(empty)),
        "query": percentiles(np.concatenate(asked)),
        "ratio_p50": spread(ratios),
    }


def batches(bundle: Path, ready: Figures, rounds: int) -> Figures:
    """Queries a second: the bare product, a plain ONNX Runtime loop, the engine, the server."""
    engine = Engine.open(bundle)
    product, plain = bare(engine)
    found: Figures = {}
    for size in SIZES:
        requests = requests_of(bundle, size, 16, seed=size)
        columns: dict[str, list[float]] = {}
        for _ in range(rounds):
            one = {
                "product": per_second(partial(product, size), size),
                "ort_loop": per_second(partial(plain, size), size),
                "engine": per_second(predictions(engine, size), size),
                "rpc": size * rate(address(ready), requests, ROUND_S, 1),
                "rpc_2_in_flight": size * rate(address(ready), requests, ROUND_S, 2),
            }
            one["engine_share"] = one["engine"] / one["product"]
            one["rpc_share"] = max(one["rpc"], one["rpc_2_in_flight"]) / one["product"]
            for name, value in one.items():
                columns.setdefault(name, []).append(value)
        found[str(size)] = {name: spread(values) for name, values in columns.items()}
    return found


def bare(engine: Engine) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """The product [B, W] x [W, E] in float32 by numpy, and ONNX Runtime with the ten best of it.

    numpy's is the fastest of those here, and writes into one buffer. The other is what people write
    by hand: product, partition, sort. It knows no names, no known facts, no encoder and no
    certificate.
    """
    table = np.ascontiguousarray(engine.loaded.table.decode(0, engine.num_entities).T)
    graph = _product_graph(table)
    session = ort.InferenceSession(graph, session_options(1), providers=["CPUExecutionProvider"])
    queries = np.random.default_rng(0).normal(size=(BATCH, len(table))).astype(np.float32)
    buffer = np.empty((BATCH, table.shape[1]), np.float32)

    def product(size: int) -> object:
        return np.matmul(queries[:size], table, out=buffer[:size])

    def plain(size: int) -> object:
        (scores,) = session.run(["products"], {"queries": queries[:size]})
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        values = np.take_along_axis(scores, best, axis=1)
        return np.take_along_axis(best, np.argsort(-values, axis=1), axis=1)

    return product, plain


def _product_graph(table: Floats32) -> bytes:
    """An ONNX model: ``products`` [n, E] = ``queries`` [n, W] times ``table`` [W, E]."""
    rows, real = table.shape, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["queries", "table"], ["products"])],
        "product",
        [helper.make_tensor_value_info("queries", real, ["n", rows[0]])],
        [helper.make_tensor_value_info("products", real, ["n", rows[1]])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised


def predictions(engine: Engine, size: int) -> Callable[[], object]:
    """A call of the engine with so many queries, others each time."""
    generator = np.random.default_rng(size)
    entities = generator.integers(engine.num_entities, size=(16, size))
    relations = generator.integers(engine.num_relations, size=(16, size))
    place = iter(np.resize(np.arange(16), 1 << 20).tolist())

    def predict() -> object:
        now = next(place)
        return engine.predict(entities[now], relations[now], K, exclude_known=True)

    return predict


def per_second(run: Callable[[], object], size: int) -> float:
    """Queries a second, from the median time of a run."""
    run()
    taken: list[float] = []
    end = perf_counter() + ROUND_S
    while len(taken) < 3 or perf_counter() < end:
        begin = perf_counter()
        run()
        taken.append(perf_counter() - begin)
    return size / float(np.median(taken))


def workers(bundle: Path, rounds: int, seconds: float) -> Figures:
    """Batches with light callers, four at once, against one worker and against two."""
    requests = requests_of(bundle, BATCH, 16, seed=3)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, column in rates.items():
            with serving(bundle, "--workers", str(count)) as ready:
                rate(address(ready), requests, seconds / 2, 4)
                column.append(BATCH * rate(address(ready), requests, seconds, 4))
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    machine = [cores(bundle, seconds / 4) for _ in range(rounds)]
    return {
        "1": spread(rates[1]),
        "2": spread(rates[2]),
        "ratio": spread(ratios),
        "machine": spread(machine),
    }


def cores(bundle: Path, seconds: float) -> float:
    """What a second core adds to bare products that share nothing but memory: up to 2."""
    engine = Engine.open(bundle)
    products = [bare(engine)[0] for _ in range(2)]

    def count(product: Callable[[int], object], stop: threading.Event) -> int:
        done = 0
        while not stop.is_set():
            product(SIZES[2])
            done += 1
        return done

    rates = []
    for threads in (1, 2):
        stop = threading.Event()
        with ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(count, product, stop) for product in products[:threads]]
            sleep(seconds)
            stop.set()
        rates.append(sum(one.result() for one in running))
    return rates[1] / rates[0]


def starts(bundle: Path, rounds: int) -> Figures:
    """Seconds from the start of the process to its first answer, the interpreter included."""
    taken = []
    for _ in range(rounds):
        with serving(bundle) as ready:
            taken.append(ready["start_s"])
    return {"seconds": spread(taken)}


def reloads(bundle: Path, seconds: float) -> Figures:
    """Latencies of single queries, one at a time: undisturbed, and while versions are swapped."""
    name = open_bundle(bundle).manifest.name
    reload = model_pb2.ReloadModelRequest(name=name).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        later = versions(bundle, root, _RELOADS)
        tokens = root / "tokens"
        tokens.write_text(f"admin {TOKEN}\n", encoding="utf-8")
        home = root / "repository"
        requests = requests_of(bundle, 1, 512, seed=4)
        with (
            serving(home, "--api-key-file", str(tokens)) as ready,
            calls(address(ready), TAILS, TOKEN) as tails,
            calls(address(ready), RELOAD, TOKEN, number=1) as change,
        ):
            latencies(tails, requests, ROUND_S)
            before = latencies(tails, requests, seconds)

            def swap() -> None:
                for version in later:
                    shutil.move(version, home / name / version.name)
                    change(reload)
                    sleep(seconds / _RELOADS / 2)

            thread = threading.Thread(target=swap)
            thread.start()
            during = latencies(tails, requests, seconds)
            thread.join()
    found: Figures = {
        "before": percentiles(before),
        "during": percentiles(during),
        "swaps": _RELOADS,
    }
    found["ratio_p99"] = found["during"]["p99_ms"] / found["before"]["p99_ms"]
    found["slowest_ms"] = {"before": before.max() * 1e3, "during": during.max() * 1e3}
    return found


def memory(ready: Figures) -> Figures:
    """Megabytes of the server as it tells them itself, from /proc."""
    url = f"http://{ready['host']}:{ready['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    found = {}
    for kind in ("private", "shared"):
        (line,) = [one for one in lines if one.startswith(f'mulde_memory_bytes{{kind="{kind}"')]
        found[f"{kind}_mb"] = float(line.rpartition(" ")[2]) / 1e6
    return found


def peers(bundle: Path, python: Path, seconds: float) -> list[Figures]:
    """PyKEEN and TorchKGE at the same size, in a Python that has them."""
    manifest = open_bundle(bundle).manifest
    numbers = manifest.entities, manifest.relations, manifest.dimension, seconds
    script = Path(__file__).parent / "peers.py"
    done = subprocess.run(
        [str(python), str(script), *map(str, numbers)],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[Figures] = json.loads(done.stdout.splitlines()[-1])
    return found
