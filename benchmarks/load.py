"""What the server does when more is asked of it than it can answer.

    python -m benchmarks.load measure BUNDLE    # about two minutes for each bundle
    python -m benchmarks.load page              # make load does both

The server has one core and the generator another. Calls of 64 queries leave at fixed rates, from a
fifth of what the server can answer to twice as much, whatever became of those before
(``benchmarks/openloop.py``). Where other programs took more than a little of the processor, a run
is made again. ``measure`` keeps a record in ``benchmarks/records/load/``; ``page`` writes
``load.md`` and the picture from those records alone.

Letter of shapes: N calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, TypeVar

import numpy as np
import typer

from benchmarks.cpu_contention import Others
from benchmarks.load_page import write_page
from benchmarks.openloop import OK, REFUSED, Load, Outcome, send
from benchmarks.record_files import read_by_size, write_json
from benchmarks.served import TAILS, address, machine, rate, requests_of, serving
from mulde.bundle.bundle import open_bundle

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "load"

BATCH = 64
"""Queries in a call: so many that the engine is what saturates."""
SHARES = (0.2, 0.5, 0.7, 0.9, 1.0, 1.25, 1.5, 2.0)
"""Of what the server can answer; 0.7 is the load to compare with, 2.0 the overload."""
_REQUESTS = 64
_IN_FLIGHT = 4
_SERVER, _GENERATOR = 0, 1
_MOST_OTHERS = 0.1
"""Cores of others that make a run again."""

T = TypeVar("T")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    rounds: Annotated[int, typer.Option(min=1, help="Through all rates.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="At each rate.")] = 4.0,
    spare_s: Annotated[float, typer.Option(min=0, help="For runs that are made again.")] = 60.0,
    records: Annotated[Path, typer.Option(help="Where to keep the record.")] = RECORDS,
) -> None:
    """Measure one bundle and keep the record."""
    os.sched_setaffinity(0, {_GENERATOR})
    manifest = open_bundle(bundle).manifest
    requests = requests_of(bundle, BATCH, _REQUESTS, seed=1)
    with serving(bundle, core=_SERVER) as ready:
        target, alone = address(ready), Alone((os.getpid(), ready["pid"]), spare_s)
        capacity, _ = alone(lambda: rate(target, requests, seconds, _IN_FLIGHT))

        def run(share: float, place: int) -> tuple[Outcome, float]:
            load = Load(target, TAILS, requests, share * capacity, seconds, seed=place)
            return alone(lambda: send(load))

        runs = {share: [run(share, place) for place in range(rounds)] for share in SHARES}
    record = {
        "bundle": manifest.name,
        "entities": manifest.entities,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "libraries": {name: version(name) for name in ("grpcio", "onnxruntime", "numpy")},
        "rounds": rounds,
        "seconds": seconds,
        "batch": BATCH,
        "closed_loop": {"in_flight": _IN_FLIGHT, "calls_per_s": capacity},
        "rates": [figures(share, runs[share]) for share in SHARES],
    }
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    typer.echo(path)


class Alone:
    """Makes runs again in which others had much of the processor, as long as there is time for it.

    Attributes:
        pids: of the processes that are no others.
        spare_s: for runs that are made again.
    """

    def __init__(self, pids: Sequence[int], spare_s: float) -> None:
        self._pids, self.spare_s = pids, spare_s

    def __call__(self, run: Callable[[], T]) -> tuple[T, float]:
        """What a run gave, and how many cores others had; of some tries the least disturbed."""
        tries: list[tuple[T, float]] = []
        while not tries or (tries[-1][1] > _MOST_OTHERS and self.spare_s > 0):
            begin, others = perf_counter(), Others(self._pids)
            tries.append((run(), others.cores()))
            self.spare_s -= (len(tries) > 1) * (perf_counter() - begin)
        return min(tries, key=lambda one: one[1])


def figures(share: float, runs: Sequence[tuple[Outcome, float]]) -> dict[str, Any]:
    """One rate over all rounds: rates are medians of the rounds', the rest is of all calls."""
    outcomes = [outcome for outcome, _ in runs]
    codes = np.concatenate([outcome.codes for outcome in outcomes])
    lag_s = np.concatenate([outcome.lag_s for outcome in outcomes])
    return {
        "share": share,
        "calls": len(codes),
        "offered_per_s": float(np.median([len(o.codes) / o.asked_s for o in outcomes])),
        "goodput_per_s": float(np.median([outcome.goodput for outcome in outcomes])),
        "refused": float((codes == REFUSED).mean()),
        "otherwise": float((~np.isin(codes, (OK, REFUSED))).mean()),
        "accepted_ms": _percentiles(outcomes, OK),
        "refused_ms": _percentiles(outcomes, REFUSED),
        "lag_ms_p99": float(np.percentile(lag_s, 99)) * 1e3,
        "others_cores": [others for _, others in runs],
    }


def _percentiles(outcomes: Sequence[Outcome], code: int) -> dict[str, float] | None:
    """p50 and p99 of the calls that ended so; None if there are none."""
    chosen = np.concatenate([o.latencies_s[o.codes == code] for o in outcomes]) * 1e3
    if not len(chosen):
        return None
    return {"p50": float(np.percentile(chosen, 50)), "p99": float(np.percentile(chosen, 99))}


@app.command()
def page() -> None:
    """Write the tables and the picture."""
    records = read_by_size(RECORDS)
    write_page(records, HERE)
    typer.echo(f"{len(records)} bundles in {HERE / 'load.md'}")


if __name__ == "__main__":
    app()
