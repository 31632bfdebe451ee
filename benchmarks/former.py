"""The engine and the server beside those of an earlier version of the code, in one run.

    git worktree add build/bench/former v0.1.0
    python -m benchmarks.former models/wn18rr-32 build/bench/former

Each version opens the bundle of its own checkout, since the format has changed: the same model, and
a table of the same size. All that is compared alternates; each ratio is taken within a round.
It keeps a record in ``benchmarks/records/former/``; ``benchmarks.serving page`` shows it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.record_files import write_json
from benchmarks.served import (
    EMPTY,
    ROOT,
    TAILS,
    address,
    calls,
    environment,
    latencies,
    machine,
    rate,
    requests_of,
    serving,
)
from benchmarks.serving_figures import BATCH, ROUND_S, spread
from mulde.bundle.bundle import open_bundle

RECORDS = Path(__file__).parent / "records" / "former"
TIMER = Path(__file__).parent / "engine_timer.py"
NOW, FORMER = "now", "former"

app = typer.Typer(add_completion=False, no_args_is_help=True)


class Timer:
    """A process that times one version's engine."""

    def __init__(self, process: subprocess.Popen[str], span: float) -> None:
        """Talk to a process that has said that it is ready; each timing takes ``span`` seconds."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._asks, self._says, self._span = process.stdin, process.stdout, span

    def seconds(self, job: str, size: int) -> float:
        """Median seconds of one batch; see ``engine_timer``."""
        self._asks.write(f"{job} {size} {self._span}\n")
        self._asks.flush()
        return float(self._says.readline())


@contextmanager
def timer(root: Path, bundle: Path, span: float) -> Iterator[Timer]:
    """A timer of the code at ``root``."""
    command = [sys.executable, "-P", str(TIMER), str(bundle)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment(root), stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Timer(process, span)
        process.kill()


def engines(roots: dict[str, Path], name: Path, rounds: int, span: float) -> dict[str, Any]:
    """Seconds of one batch by size, and ratios to FAISS Flat and to the bare product."""
    with ExitStack() as stack:
        timers = {
            key: stack.enter_context(timer(root, root / name, span)) for key, root in roots.items()
        }
        return {str(size): _engines(timers, size, rounds) for size in (1, BATCH)}


def _engines(timers: dict[str, Timer], size: int, rounds: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        now = timers[NOW]
        one = {key: each.seconds("engine", size) for key, each in timers.items()}
        one |= {job: now.seconds(job, size) for job in ("flat", "product")}
        for other in (FORMER, "flat", "product"):
            one[f"{NOW} / {other}"] = one[NOW] / one[other]
        for key, value in one.items():
            taken.setdefault(key, []).append(value)
    return {key: spread(values) for key, values in taken.items()}


def ports(
    roots: dict[str, Path], name: Path, rounds: int, span: float, workers: int
) -> dict[str, Any]:
    """One query beside an empty call, and queries a second in batches, at the port."""
    with ExitStack() as stack:
        targets = {
            key: address(
                stack.enter_context(serving(root / name, "--workers", str(workers), root=root))
            )
            for key, root in roots.items()
        }
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            for key, target in targets.items():
                for part, value in _port(target, roots[key] / name, span).items():
                    taken.setdefault(f"{key}: {part}", []).append(value)
    return {key: spread(values) for key, values in taken.items()}


def _port(target: str, bundle: Path, span: float) -> dict[str, float]:
    one, wide = requests_of(bundle, 1, 512, seed=1), requests_of(bundle, BATCH, 16, seed=2)
    with calls(target, EMPTY) as check, calls(target, TAILS) as tails:
        latencies(tails, one, span)
        empty = float(np.median(latencies(check, [b""], span)))
        asked = float(np.median(latencies(tails, one, span)))
    per_second = BATCH * rate(target, wide, 2 * span, 1)
    return {"one query, s": asked, "one / empty": asked / empty, "queries a second": per_second}


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle, as a path within both checkouts.")],
    former: Annotated[Path, typer.Argument(help="A checkout of the earlier version.")],
    rounds: Annotated[int, typer.Option(min=1, help="Alternations; the median counts.")] = 7,
    span: Annotated[float, typer.Option(min=0.01, help="Seconds of each timing.")] = ROUND_S,
    records: Annotated[Path, typer.Option(help="Where the record goes.")] = RECORDS,
) -> None:
    """Measure both versions and keep the record."""
    roots = {NOW: ROOT, FORMER: former.resolve()}
    manifest = open_bundle(ROOT / bundle).manifest
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=former,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    record = {
        "bundle": manifest.name,
        "entities": manifest.entities,
        "former": commit,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rounds": rounds,
        "engine": engines(roots, bundle, rounds, span),
        "port": {str(count): ports(roots, bundle, rounds, span, count) for count in (1, 2)},
    }
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    typer.echo(path)


if __name__ == "__main__":
    app()
