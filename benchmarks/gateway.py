"""Measure the REST gateway beside the gRPC port that it asks, in queries a second.

Usage: ``python -m benchmarks.gateway BUNDLE``; docs/how-to/ask-over-rest.md has the figures.
Bodies are made beforehand and answers are left undecoded on both sides. Rounds of both take turns.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import grpc

from benchmarks.served import TAILS, address, environment, machine, serving
from mulde.bundle.bundle import open_bundle
from mulde.v1 import prediction_pb2

ROUNDS, SECONDS = 5, 2.0
SHAPES = ((1, 1), (1, 8), (256, 1), (256, 4))
"""Queries in a call, and callers."""


@contextmanager
def gateway(server: str) -> Iterator[int]:
    """The port of a gateway before a server."""
    command = [sys.executable, "-m", "mulde.cli", "web", "--server", server, "--port", "0"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def request(bundle: Path, batch: int) -> prediction_pb2.PredictTailsRequest:
    """So many queries about entities far apart."""
    names = open_bundle(bundle).vocabulary
    step = max(1, len(names.entities) // batch)
    heads = [names.entities.ids[(place * step) % len(names.entities)] for place in range(batch)]
    relations = [names.relations.ids[place % len(names.relations)] for place in range(batch)]
    return prediction_pb2.PredictTailsRequest(heads=heads, relations=relations)


def rate(call: Callable[[], Callable[[], int]], callers: int, batch: int) -> float:
    """Queries a second of several callers, each with a connection of its own."""
    done: list[int] = []
    stop = perf_counter() + SECONDS

    def run() -> None:
        send, count = call(), 0
        while perf_counter() < stop:
            assert send() > 0
            count += 1
        done.append(count)

    threads = [threading.Thread(target=run) for _ in range(callers)]
    begin = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) * batch / (perf_counter() - begin)


def over_grpc(where: str, body: bytes) -> Callable[[], Callable[[], int]]:
    """Makes callers of the gRPC port; each returns the bytes of an answer."""

    def connect() -> Callable[[], int]:
        channel = grpc.insecure_channel(where, [("grpc.use_local_subchannel_pool", 1)])
        call: Callable[..., bytes] = channel.unary_unary(TAILS)
        return lambda: len(call(body, timeout=30))

    return connect


def over_rest(port: int, body: bytes) -> Callable[[], Callable[[], int]]:
    """Makes callers of the gateway, likewise."""

    def connect() -> Callable[[], int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def send() -> int:
            connection.request(
                "POST", "/v1/PredictTails", body, {"content-type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read()
            return len(text) if response.status == 200 else 0

        return send

    return connect


def main(bundle: Path) -> None:
    """Print a row for each shape: medians of rounds, and their ratio."""
    print(machine())
    with serving(bundle) as ready, gateway(address(ready)) as port:
        for batch, callers in SHAPES:
            asked = request(bundle, batch)
            body = {"heads": list(asked.heads), "relations": list(asked.relations)}
            sides = {
                "gRPC": over_grpc(address(ready), asked.SerializeToString()),
                "REST": over_rest(port, json.dumps(body).encode()),
            }
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(ROUNDS):
                for name, side in sides.items():
                    rates[name].append(rate(side, callers, batch))
            found = {name: median(values) for name, values in rates.items()}
            share = found["REST"] / found["gRPC"]
            print(f"batch {batch} callers {callers} {found} share {share:.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
