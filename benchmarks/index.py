"""The index beside FAISS, hnswlib, NumPy, ONNX Runtime, PyKEEN, TorchKGE and the limits.

    python -m benchmarks.index measure BUNDLE [--peers PYTHON]    # about 150 s for each bundle
    python -m benchmarks.index page                               # make bench-index does both

``measure`` keeps a record in ``benchmarks/records/index/``; ``page`` writes ``index.md``,
``index.json`` and the picture from those records alone. Codes and graphs that take long to build
are kept in ``build/bench/``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.index_contenders import BATCH, SAMPLE, Contender, Sample, contenders
from benchmarks.index_page import write_page
from benchmarks.record_files import read_by_size, write_json
from benchmarks.served import EMPTY, address, calls, environment, latencies, serving
from benchmarks.serving_figures import spread
from mulde.bundle.files import DIGEST
from serving.engine.engine import Engine
from serving.engine.entity_table import use_threads

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "index"
KEPT = HERE.parent / "build" / "bench" / "index"

_LEAST_CALLS = 3
_STREAM_BYTES = 1 << 28

Record = dict[str, Any]
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    peers: Annotated[
        Path | None, typer.Option(help="A Python with the dependency group peers.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Alternations; the median counts.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of each in each round.")] = 0.2,
    note: Annotated[str, typer.Option(help="What else the machine did meanwhile.")] = "",
    records: Annotated[Path, typer.Option(help="Where the record goes.")] = RECORDS,
    kept: Annotated[Path, typer.Option(help="Where codes and graphs are kept.")] = KEPT,
) -> None:
    """Measure everything of one bundle and keep the record."""
    threadpool_limits(limits=1)
    use_threads(1)
    engine = Engine.open(bundle)
    manifest = engine.manifest
    digest = (engine.bundle.path / DIGEST).read_text("ascii")[:8]
    codes = kept / f"{manifest.name}-{digest}"
    codes.mkdir(parents=True, exist_ok=True)
    sample = Sample(engine)
    found = list(contenders(sample, codes))
    record: Record = {
        "bundle": manifest.name,
        "entities": manifest.entities,
        "relations": manifest.relations,
        "dimension": manifest.dimension,
        "width": int(sample.table.shape[1]),
        "index": manifest.index.kind,
        "known_facts": engine.bundle.known is not None,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "note": note,
        "libraries": {n: version(n) for n in ("faiss-cpu", "onnxruntime", "numpy")},
        "rounds": rounds,
        "seconds": seconds,
        "contenders": _alternate(found, rounds, seconds),
        "stream_gb_per_s": _stream(rounds),
        "empty_call_us": _empty_call(bundle, rounds, seconds),
        "peers": [],
    }
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    if peers is not None:
        record["peers"] = _peers(sample, codes, peers, seconds)
        write_json(path, record)
    typer.echo(path)


def machine() -> str:
    """The processor's name, how many cores, what it multiplies with, and the Python."""
    text = Path("/proc/cpuinfo").read_text("utf-8")
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(fields["flags"].split())
    has = [one for one in ("avx2", "avx512f", "avx_vnni", "avx512_vnni") if one in flags]
    cores = text.count("processor\t")
    python = sys.version.split()[0]
    return f"{fields['model name']}, {cores} cores ({' '.join(has)}), Python {python}"


def _alternate(found: list[Contender], rounds: int, seconds: float) -> list[Record]:
    """Microseconds a query, alone and in a batch: everyone in turn, several times."""
    taken: dict[str, dict[str, list[float]]] = {one.name: {} for one in found}
    for _ in range(rounds):
        for one in found:
            columns = taken[one.name]
            for column, size in (("single_us", 1), ("batch_us", BATCH)):
                took = _microseconds(one.ask, size, seconds)
                columns.setdefault(column, []).append(took)
    return [
        {
            "name": one.name,
            "group": one.group,
            "recall": one.recall,
            "certified": one.certified,
            "rounds": taken[one.name],
            **{column: spread(values) for column, values in taken[one.name].items()},
        }
        for one in found
    ]


def _parts(size: int) -> Iterator[slice]:
    while True:
        for start in range(0, SAMPLE - size + 1, size):
            yield slice(start, start + size)


def _microseconds(ask: Callable[[slice], object], size: int, seconds: float) -> float:
    """Median of calls in a row, for each query."""
    parts = _parts(size)
    ask(next(parts))
    taken: list[float] = []
    end = perf_counter() + seconds
    while len(taken) < _LEAST_CALLS or perf_counter() < end:
        part = next(parts)
        begin = perf_counter()
        ask(part)
        taken.append(perf_counter() - begin)
    return float(np.median(taken)) / size * 1e6


def _stream(rounds: int) -> dict[str, float]:
    """Gigabytes a second that one thread reads from memory."""
    numbers, rates = np.ones(_STREAM_BYTES // 4, np.float32), []
    for _ in range(rounds):
        begin = perf_counter()
        numbers @ numbers
        rates.append(numbers.nbytes / (perf_counter() - begin) / 1e9)
    return spread(rates)


def _empty_call(bundle: Path, rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds of a call over gRPC that asks for nothing."""
    with serving(bundle) as ready, calls(address(ready), EMPTY) as check:
        latencies(check, [b""], seconds)
        taken = [float(np.median(latencies(check, [b""], seconds))) for _ in range(rounds)]
    return spread([one * 1e6 for one in taken])


def _peers(sample: Sample, folder: Path, python: Path, seconds: float) -> list[Record]:
    """What ``peers.py`` finds in its own environment."""
    np.save(folder / "table.npy", sample.table)
    np.save(folder / "queries.npy", sample.query.vector)
    np.save(folder / "best.npy", sample.best)
    manifest = sample.engine.manifest
    sizes = map(str, (manifest.entities, manifest.relations, manifest.dimension, 5 * seconds))
    done = subprocess.run(
        [str(python), str(HERE / "peers.py"), *sizes, str(folder)],
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: list[Record] = json.loads(done.stdout.splitlines()[-1])
    return found


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where the records are.")] = RECORDS,
    folder: Annotated[Path, typer.Option(help="Where the page goes.")] = HERE,
) -> None:
    """Write the tables and the picture."""
    found = read_by_size(records)
    write_page(found, folder)
    typer.echo(f"{len(found)} bundles in {folder / 'index.md'}")


if __name__ == "__main__":
    app()
