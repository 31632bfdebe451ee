"""`mulde predict` beside the product that all cores of the machine can do.

    python -m benchmarks.predict measure BUNDLE [--graph FOLDER]    # about 120 s for each bundle
    python -m benchmarks.predict page                               # make bench-predict does both

The command runs as users run it, from the shell to the finished Parquet file. With a graph, whose
facts become the known ones, the job that completes it is measured too. ``measure`` keeps a record
in ``benchmarks/records/predict/``; ``page`` writes ``predict.md`` and ``predict.json`` from those.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import pyarrow
import pyarrow.compute
import typer
from pyarrow import parquet
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.index import machine
from benchmarks.predict_page import write_page
from benchmarks.record_files import read_by_size, write_json
from benchmarks.served import environment
from benchmarks.serving_figures import spread
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.files import ENTITIES, KNOWN
from mulde.graph.graph import read_folder
from serving.batch.worker_pool import available_cores
from serving.engine.entity_table import EntityTable

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "predict"
SIZES = (64, 256)
"""Queries of a product; the quickest counts."""

_PRODUCT_S = 1.0
_LOOK_S = 0.2

Record = dict[str, Any]
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    graph: Annotated[
        Path | None, typer.Option(help="A data set; its facts are known, and it is completed.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Of one file.")] = 600_000,
    rounds: Annotated[int, typer.Option(min=1, help="Alternations; the median counts.")] = 3,
    complete: Annotated[
        bool, typer.Option("--complete", help="Complete it; it has known facts of its own.")
    ] = False,
    probability: Annotated[float, typer.Option(help="Of the facts that complete it.")] = 0.5,
    note: Annotated[str, typer.Option(help="What else the machine did meanwhile.")] = "",
    records: Annotated[Path, typer.Option(help="Where the record goes.")] = RECORDS,
) -> None:
    """Measure one bundle and keep the record."""
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = open_bundle(bundle if graph is None else _with_known(bundle, graph, folder))
        manifest = opened.manifest
        source, out = folder / "queries.parquet", folder / "answers.parquet"
        _write_queries(opened, source, queries)
        ask = [str(source), "-o", str(out), "--bundle", str(opened.path)]
        columns: dict[str, list[float]] = {}
        for _ in range(rounds):
            product = machine_product(opened, cores)
            took, most = _run(ask, out)
            now = {"product": product, "predict": queries / took, "peak_mb": most}
            now["share"] = now["predict"] / now["product"]
            for key, value in now.items():
                columns.setdefault(key, []).append(value)
        record: Record = {
            "bundle": manifest.name,
            "entities": manifest.entities,
            "relations": manifest.relations,
            "dimension": manifest.dimension,
            "index": manifest.index.kind,
            "known_facts": opened.known is not None,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "note": note,
            "cores": cores,
            "libraries": {n: version(n) for n in ("pyarrow", "onnxruntime", "numpy")},
            "queries": queries,
            "rounds": rounds,
            "columns": {key: spread(values) for key, values in columns.items()},
            "answers_mb": out.stat().st_size / 1e6,
            "completion": None,
        }
        if complete or graph is not None:
            record["completion"] = _completion(opened, folder, probability)
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    typer.echo(path)


def _with_known(bundle: Path, graph: Path, folder: Path) -> Path:
    """A copy of a bundle with the facts of its graph as known facts."""
    opened, facts = open_bundle(bundle), read_folder(graph)
    manifest = opened.manifest
    if facts.entity_ids != tuple(opened.vocabulary.entities.ids):
        raise typer.BadParameter(f"{graph} is not the graph of {bundle}")
    triples = np.concatenate([facts.train, facts.valid, facts.test])
    known = folder / KNOWN
    KnownFacts.build(triples, manifest.entities, manifest.relations).write(known)
    files = {name: opened.file(name) for name in manifest.files}
    write_bundle(folder / "bundle", manifest, {**files, KNOWN: known})
    return folder / "bundle"


def _write_queries(bundle: Bundle, path: Path, count: int) -> None:
    """Random questions; half of them ask for the head."""
    generator, vocabulary = np.random.default_rng(0), bundle.vocabulary
    entities = generator.integers(bundle.manifest.entities, size=count)
    relations = generator.integers(bundle.manifest.relations, size=count)
    names = pyarrow.array(vocabulary.entities.ids.take(entities))
    heads = pyarrow.array(generator.random(count) < 0.5)
    nothing = pyarrow.nulls(count, pyarrow.string())
    columns = {
        "head": pyarrow.compute.if_else(heads, nothing, names),
        "relation": vocabulary.relations.ids.take(relations),
        "tail": pyarrow.compute.if_else(heads, names, nothing),
    }
    parquet.write_table(pyarrow.table(columns), path)


def machine_product(bundle: Bundle, cores: int) -> float:
    """Queries a second of [B, W] x [W, E] in float32 by numpy on all cores.

    The quickest of 64 and 256 queries at a time, by one process with a thread for each core and by
    a process for each core.
    """
    path, manifest = bundle.file(ENTITIES), bundle.manifest
    work = (path, manifest.entities, manifest.layout.width)
    context = multiprocessing.get_context("spawn")
    found = []
    for size in SIZES:
        for processes in sorted({1, cores}):
            with ProcessPoolExecutor(processes, context) as pool:
                threads = cores // processes
                ask = [pool.submit(_products, *work, size, threads) for _ in range(processes)]
                found.append(sum(one.result() for one in ask))
    return max(found)


def _products(path: Path, entities: int, width: int, size: int, threads: int) -> float:
    """Queries a second in this process."""
    table = EntityTable(path, entities, width).decode(0, entities)
    transposed, buffer = np.ascontiguousarray(table.T), np.empty((size, entities), np.float32)
    queries = np.random.default_rng(0).normal(size=(size, width)).astype(np.float32)
    with threadpool_limits(limits=threads):
        np.matmul(queries, transposed, out=buffer)
        begin, count = perf_counter(), 0
        while perf_counter() < begin + _PRODUCT_S:
            np.matmul(queries, transposed, out=buffer)
            count += size
        return count / (perf_counter() - begin)


def _run(arguments: list[str], out: Path) -> tuple[float, float]:
    """Seconds of a command, and the most megabytes of all its processes together."""
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "mulde.cli", "predict", *arguments]
    begin, most = perf_counter(), 0.0
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    while process.poll() is None:
        most = max(most, sum(map(_megabytes, _family(process.pid))))
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
    if process.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return perf_counter() - begin, most


def _family(parent: int) -> list[int]:
    """A process and those that it started, as far down as they go."""
    found = [parent]
    for pid in found:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _megabytes(pid: int) -> float:
    """Memory of a process, its part of what is shared included."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3
    return 0.0


def _completion(bundle: Bundle, folder: Path, probability: float) -> Record:
    """All unknown facts above a probability."""
    out = folder / "complete.parquet"
    ask = ["--complete", "-o", str(out), "--bundle", str(bundle.path)]
    ask += ["--min-probability", str(probability)]
    seconds, most = _run(ask, out)
    types = bundle.types
    assert types is not None
    names = bundle.vocabulary.relations.ids
    pairs = [len(types.of(f"head:{name}")) * len(types.of(f"tail:{name}")) for name in names]
    questions = sum(len(types.of(f"head:{name}")) for name in names)
    return {
        "probability": probability,
        "questions": questions,
        "candidates": sum(pairs),
        "facts": parquet.read_metadata(out).num_rows,
        "seconds": seconds,
        "peak_mb": most,
    }


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where the records are.")] = RECORDS,
    folder: Annotated[Path, typer.Option(help="Where the page goes.")] = HERE,
) -> None:
    """Write the tables."""
    found = read_by_size(records)
    write_page(found, folder)
    typer.echo(f"{len(found)} bundles in {folder / 'predict.md'}")


if __name__ == "__main__":
    app()
