"""From a CSV file to the first answer of a server, as a newcomer types it: seconds of each part.

    python -m benchmarks.first_answer GRAPH --minutes .5 [--facts 20000]

All facts of a graph folder (or so many of them, evenly drawn) are written as one CSV file with a
header. Then ``mulde fit`` and ``mulde serve`` run as processes of their own, and a client asks one
question until it is answered. Seconds are those of a clock on the wall.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.record_files import write_json
from mulde.bundle.bundle import read_manifest
from mulde.client import Client
from mulde.errors import MuldeError
from mulde.graph.graph import read_folder
from training.hardware import describe_machine

RECORDS = Path(__file__).parent / "records" / "first-answer"
MULDE = (sys.executable, "-m", "mulde.cli")
PORT = 50951


def main(
    graph: Annotated[Path, typer.Argument(help="A graph folder.")],
    minutes: Annotated[float, typer.Option(help="Budget of mulde fit.")] = 0.5,
    facts: Annotated[int | None, typer.Option(min=100, help="Take so many facts.")] = None,
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
) -> None:
    """Measure one graph and keep a record."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        name, question = write_csv(graph, folder / "facts.csv", facts)
        began = monotonic()
        command = [*MULDE, "fit", "facts.csv", "-o", "own", "--minutes", str(minutes)]
        subprocess.run(command, cwd=folder, check=True)
        fitted = monotonic()
        with served(folder):
            answer = ask(question)
        answered = monotonic()
        quality = read_manifest(folder / "own").quality["test"]["total"]
        rows = sum(1 for _ in (folder / "facts.csv").open()) - 1
    record = {
        "graph": name,
        "facts": rows,
        "minutes": minutes,
        "fit_s": round(fitted - began, 1),
        "serve_s": round(answered - fitted, 1),
        "all_s": round(answered - began, 1),
        "mrr": quality["mrr"],
        "machine": describe_machine(torch.device("cpu")),
    }
    write_json(records / f"{name}.json", record)
    typer.echo(f"{record}\n{question} -> {answer}")


def write_csv(graph: Path, path: Path, count: int | None) -> tuple[str, tuple[str, str]]:
    """Write facts as CSV; return the graph's name and a question that they answer."""
    read = read_folder(graph)
    triples = read.all_triples
    if count is not None and count < len(triples):
        kept = np.random.default_rng(0).choice(len(triples), count, replace=False)
        triples = triples[np.sort(kept)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "predicate", "object"])
        for head, relation, tail in triples.tolist():
            names = read.entity_ids[head], read.relation_ids[relation], read.entity_ids[tail]
            writer.writerow(names)
    head, relation, _ = triples[0].tolist()
    return read.name, (read.entity_ids[head], read.relation_ids[relation])


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """A server of the bundle in ``own``."""
    command = [*MULDE, "serve", "own", "--grpc-port", str(PORT), "--metrics-port", "0"]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def ask(question: tuple[str, str], patience_s: float = 60.0) -> str:
    """The best answer, asked until the server is there."""
    until = monotonic() + patience_s
    with Client(f"127.0.0.1:{PORT}") as client:
        while True:
            try:
                return client.predict_tails(*question, k=1)[0][0].label
            except MuldeError:
                if monotonic() > until:
                    raise
                sleep(0.05)


if __name__ == "__main__":
    typer.run(main)
