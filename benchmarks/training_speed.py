"""The training loop's speed, beside PyKEEN's in the same run.

    python -m benchmarks.training_speed measure DATA [--peers PYTHON]   # about two minutes
    python -m benchmarks.training_speed ways DATA                       # a minute or more
    python -m benchmarks.training_speed page                            # make bench-training

``measure`` keeps a record in ``benchmarks/records/training/``; ``page`` writes ``training.md`` and
``training.json`` from those records alone. Everything runs on one thread, and seconds are those of
the processor, so that a machine that is shared with other work measures much the same.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import training_figures as figures
from benchmarks.record_files import write_json
from benchmarks.training_page import write_page
from mulde.graph.graph import read_folder
from training.hardware import describe_machine

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "training"
TRIPLES, NEGATIVES = 500, 255

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    data: Annotated[Path, typer.Argument(help="The graph's folder.")],
    peers: Annotated[
        Path | None, typer.Option(help="A Python with the dependency group peers.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Processor seconds of each training.")
    ] = 15.0,
    records: Annotated[Path, typer.Option(help="Where the record is kept.")] = RECORDS,
) -> None:
    """Train every model for as long, profile a step, and keep the record."""
    torch.set_num_threads(1)
    graph = read_folder(data)
    record: dict[str, Any] = {
        "graph": graph.name,
        "entities": graph.num_entities,
        "triples": len(graph.train),
        "machine": describe_machine(),
        "torch": torch.__version__,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "runs": [],
        "shares": {},
        "variants": {},
    }
    path = records / f"{graph.name}.json"
    if peers is not None:
        sizes = [data, figures.NUMBERS, TRIPLES, NEGATIVES, seconds]
        command = [str(peers), "-m", "benchmarks.peer_training", *map(str, sizes)]
        done = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE)
        record["runs"] += json.loads(done.stdout.splitlines()[-1])
        write_json(path, record)
    for name in figures.MODELS:
        record["runs"].append(figures.trained(graph, name, seconds))
        write_json(path, record)
    for name in figures.MODELS:
        record["shares"][name] = figures.share_of_products(graph, name)
        write_json(path, record)


@app.command()
def ways(
    data: Annotated[Path, typer.Argument(help="The graph's folder.")],
    records: Annotated[Path, typer.Option(help="Where its record is.")] = RECORDS,
) -> None:
    """Add to the record what half precision and a compiler make of a step."""
    torch.set_num_threads(1)
    graph = read_folder(data)
    path = records / f"{graph.name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name in ("RotH", "ComplEx"):
        record["variants"][name] = figures.variants(graph, name)
        write_json(path, record)


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    into: Annotated[Path, typer.Option(help="The page's folder.")] = HERE,
) -> None:
    """Write the tables and the JSON from the records."""
    write_page(records, into)


if __name__ == "__main__":
    app()
