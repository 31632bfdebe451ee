"""Latency, memory and time to build against the number of entities.

    python -m benchmarks.scale build 1000000     # make the bundle, in a process of its own
    python -m benchmarks.scale engine 1000000    # what opening and asking it takes, on one core
    python -m benchmarks.scale served 1000000    # the server under load, in a limited control group
    python -m benchmarks.scale page              # make bench-scale does all of it

Bundles are synthetic (`benchmarks.synthetic`): 32 dimensions, int8 tables, an IVF index, and as
many facts as entities. Records are in `benchmarks/records/scale/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks import scale_figures as figures
from benchmarks.record_files import read_by_size, write_json
from benchmarks.served import ROOT, machine

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "scale"
BUNDLES = ROOT / "build" / "bench" / "scale"

Entities = Annotated[int, typer.Argument(min=1000, help="How many.")]

Busy = Annotated[bool, typer.Option("--busy", help="Note that other work runs beside.")]

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def build(entities: Entities) -> None:
    """Make a bundle; what is there already is made again."""
    BUNDLES.mkdir(parents=True, exist_ok=True)
    _keep(entities, "build", lambda: figures.build(BUNDLES / str(entities), entities))


@app.command()
def engine(entities: Entities, busy: Busy = False) -> None:
    """Open a bundle and ask it, on one thread."""
    threadpool_limits(limits=1)
    _keep(entities, "engine", lambda: figures.engine(BUNDLES / str(entities)), busy)


@app.command()
def served(
    entities: Entities,
    limit_mb: Annotated[int, typer.Option(help="Of the control group, 10^6 bytes.")] = 320,
    seconds: Annotated[float, typer.Option(min=1, help="Of load.")] = 10.0,
    busy: Busy = False,
) -> None:
    """Serve a bundle within a limit, its files out of the cache, and load it."""
    run = figures.served
    folder = BUNDLES / str(entities)
    _keep(entities, "served", lambda: run(folder, entities, limit_mb, seconds), busy)


@app.command()
def page() -> None:
    """Write scale.md, scale.json and the chart."""
    from benchmarks.scale_page import write_page

    records = read_by_size(RECORDS)
    write_page(records, HERE)
    typer.echo(f"{len(records)} sizes in {HERE / 'scale.md'}")


def _keep(
    entities: int, part: str, measure: Callable[[], figures.Figures], busy: bool = False
) -> None:
    """Measure, and put the part into the record of its size."""
    path = RECORDS / f"{entities}.json"
    found = measure()
    record = json.loads(path.read_text("utf-8")) if path.exists() else {"entities": entities}
    stamp = {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    record[part] = {**found, **stamp, **({"busy": True} if busy else {})}
    write_json(path, record)
    typer.echo(json.dumps(record[part]))


if __name__ == "__main__":
    app()
