"""The real server as a process, and callers that do as little as they can.

Callers send requests that were serialised beforehand and leave the answers undecoded, so that the
clock sees the server and the wire, and as little as possible of Python on the other side.

Letter of shapes: N calls.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import numpy as np

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.typing import Float64
from mulde.v1 import prediction_pb2

EMPTY = "/grpc.health.v1.Health/Check"
TAILS = "/mulde.v1.LinkPredictionService/PredictTails"
RELOAD = "/mulde.v1.ModelService/ReloadModel"
ROOT = Path(__file__).resolve().parents[1]

Send = Callable[[bytes], bytes]


def environment(root: Path = ROOT) -> dict[str, str]:
    """One thread for each process, no setting of mulde from outside, the code at ``root``."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MULDE_")}
    return {**plain, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(root)}


@contextmanager
def serving(
    folder: Path, *flags: str, core: int | None = None, root: Path = ROOT
) -> Iterator[dict[str, Any]]:
    """Serve a folder by the code at ``root`` until the end of the block, on a core or on all.

    Yields:
        The server's first line: host and ports; ``start_s`` is how long it took to say so, ``pid``
        its process.
    """
    command = [
        sys.executable,
        "-m",
        "mulde.cli",
        "serve",
        str(folder.resolve()),
        "--grpc-port",
        "0",
    ]
    begin = perf_counter()
    process = subprocess.Popen(
        [*command, "--metrics-port", "0", "--log-level", "error", *flags],
        env=environment(root),
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=None if core is None else partial(os.sched_setaffinity, 0, {core}),
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        with calls(address(ready), EMPTY) as send:
            send(b"")
        yield {**ready, "start_s": perf_counter() - begin, "pid": process.pid}
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def machine() -> str:
    """The processor's name, how many cores, and the Python."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores, Python {platform.python_version()}"


def address(ready: dict[str, Any]) -> str:
    """host:port of gRPC."""
    return f"{ready['host']}:{ready['grpc_port']}"


@contextmanager
def calls(target: str, method: str, token: str = "", number: int = 0) -> Iterator[Send]:
    """A method over a connection of its own."""
    # Channels with equal options would share a connection, and so a worker.
    options = [("grpc.use_local_subchannel_pool", 1), ("mulde.connection", number)]
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(target, options=options) as channel:
        call: Any = channel.unary_unary(method)
        yield lambda request: call(request, timeout=60, metadata=metadata)


def latencies(send: Send, requests: Sequence[bytes], seconds: float) -> Float64:
    """Seconds of each call, [N], one after another for some time."""
    taken, place, end = [], 0, perf_counter() + seconds
    now = perf_counter()
    while now < end:
        send(requests[place % len(requests)])
        before, now = now, perf_counter()
        taken.append(now - before)
        place += 1
    return np.array(taken)


def rate(target: str, requests: Sequence[bytes], seconds: float, in_flight: int) -> float:
    """Calls a second with so many at once, each over a connection of its own."""
    counts, failures = [0] * in_flight, []
    start = threading.Barrier(in_flight + 1)

    def caller(number: int) -> None:
        try:
            with calls(target, TAILS, number=number) as send:
                send(requests[0])
                start.wait(30)
                counts[number] = len(latencies(send, requests[number:] or requests, seconds))
        except Exception as error:
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(in_flight)]
    for thread in threads:
        thread.start()
    start.wait(30)
    begin = perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (perf_counter() - begin)


def requests_of(bundle: Path, size: int, count: int, seed: int) -> list[bytes]:
    """Requests for the ten best tails, of ``size`` queries each, serialised."""
    opened = open_bundle(bundle)
    names, relations = opened.vocabulary.entities.ids, opened.vocabulary.relations.ids
    generator = np.random.default_rng(seed)
    requests = []
    for _ in range(count):
        heads = generator.integers(opened.manifest.entities, size=size)
        kinds = generator.integers(opened.manifest.relations, size=size)
        request = prediction_pb2.PredictTailsRequest(
            heads=names.take(heads), relations=relations.take(kinds)
        )
        requests.append(request.SerializeToString())
    return requests


def versions(bundle: Path, root: Path, count: int) -> list[Path]:
    """A repository with the bundle as version 1, and later versions of it beside, not in it.

    Returns:
        The later versions; moving one to ``root/repository/NAME`` publishes it.
    """
    opened = open_bundle(bundle)
    name = opened.manifest.name
    home = root / "repository" / name
    home.mkdir(parents=True)
    shutil.copytree(bundle, home / "1")
    files = {one: opened.file(one) for one in opened.manifest.files}
    later = []
    for version in range(2, count + 2):
        path = root / str(version)
        write_bundle(path, opened.manifest, files)
        later.append(path)
    return later
