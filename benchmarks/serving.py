"""The server's speed and memory, as ratios within one run.

    python -m benchmarks.serving measure BUNDLE [--peers PYTHON]    # about 100 s for each bundle
    python -m benchmarks.serving page                               # make bench-serving does both

``measure`` keeps a record in ``benchmarks/records/serving/``; ``page`` writes ``serving.md``,
``serving.json`` and the picture from those records alone.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks import serving_figures as figures
from benchmarks.former import RECORDS as FORMER
from benchmarks.record_files import read_by_size, write_json
from benchmarks.search import RECORD as SEARCH
from benchmarks.served import machine, serving
from benchmarks.serving_page import write_page
from mulde.bundle.bundle import open_bundle

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "serving"

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    peers: Annotated[
        Path | None, typer.Option(help="A Python with the dependency group peers.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Alternations; the median counts.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each longer measurement.")] = 4.0,
    records: Annotated[Path, typer.Option(help="Where the record goes.")] = RECORDS,
) -> None:
    """Measure everything of one bundle and keep the record."""
    threadpool_limits(limits=1)
    opened = open_bundle(bundle)
    manifest = opened.manifest
    record: figures.Figures = {
        "bundle": manifest.name,
        "entities": manifest.entities,
        "relations": manifest.relations,
        "dimension": manifest.dimension,
        "index": manifest.index.kind,
        "bytes": sum(opened.file(name).stat().st_size for name in manifest.files),
        "known_facts": opened.known is not None,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "libraries": {name: version(name) for name in ("grpcio", "onnxruntime", "numpy")},
        "rounds": rounds,
    }
    with serving(bundle) as ready:
        record["alone"] = figures.alone(bundle, ready, rounds)
        _tell("alone", record["alone"]["ratio_p50"])
        record["batches"] = figures.batches(bundle, ready, rounds)
        _tell("batches", record["batches"][str(figures.BATCH)])
        record["memory"] = figures.memory(ready)
    record["workers"] = figures.workers(bundle, max(3, rounds // 2), seconds / 2)
    _tell("workers", record["workers"]["ratio"])
    record["start"] = figures.starts(bundle, rounds)
    record["reload"] = figures.reloads(bundle, seconds)
    _tell("reload", record["reload"])
    record["peers"] = [] if peers is None else figures.peers(bundle, peers, seconds / 2)
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    typer.echo(path)


def _tell(what: str, found: figures.Figures) -> None:
    typer.echo(f"{what}: {json.dumps(found)}", file=sys.stderr)


@app.command()
def page() -> None:
    """Write the tables and the picture."""
    records = read_by_size(RECORDS)
    search = json.loads(SEARCH.read_text("utf-8")) if SEARCH.exists() else None
    write_page(records, HERE, search, read_by_size(FORMER))
    typer.echo(f"{len(records)} bundles in {HERE / 'serving.md'}")


if __name__ == "__main__":
    app()
