"""``mulde data``: fetch a benchmark graph, split own triples, check a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from mulde.commands.client_options import shown
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.storage.printable import printable

commands = typer.Typer(no_args_is_help=True)

_MOST = 20
_LEGEND = (
    "duplicates: repeated lines, kept once; leaked: held out and in train too; "
    "unseen: with an entity that train does not have"
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(
        commands,
        name="data",
        help="Download benchmark graphs, split own triples, check a graph.",
    )


@commands.command()
def fetch(
    name: Annotated[str, typer.Argument(help="wn18rr, fb15k-237 or codex-s.")],
    into: Annotated[Path | None, typer.Option(help="The folder; default: data/NAME.")] = None,
    home: Annotated[str | None, typer.Option(help="A mirror's address, for train.txt etc.")] = None,
) -> None:
    """Download a benchmark graph from its public home; run it again after an interrupt.

    Each file is verified against a pinned SHA-256 before it appears under its name.
    """
    from mulde.graph import datasets

    folder = into or Path("data") / name
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console) as bars:
        tasks: dict[str, Any] = {}

        def report(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done)

        datasets.fetch(name, folder, home=home, report=report)
    console.print(printable(f"{name} is in {folder}"), highlight=False, markup=False)


@commands.command()
def split(
    triples: Annotated[Path, typer.Argument(help="head<TAB>relation<TAB>tail; plain or .gz.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The graph folder to make.")],
    valid: Annotated[float, typer.Option(help="Share of the facts that choose a model.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of the facts that measure it.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Another one holds out other facts.")] = 0,
    symmetric: Annotated[
        list[str] | None, typer.Option(help="Relation that holds both ways: mirror its facts.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Entities: id<TAB>label[<TAB>description].")
    ] = None,
    relation_labels: Annotated[Path | None, typer.Option(help="The same for relations.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a folder that is there.")] = False,
) -> None:
    """Split a file of triples into a graph folder whose train gives no held-out fact away.

    All facts between the same two entities go to the same split, and each entity and relation of
    valid and test occurs in train. The same facts and seed give the same folder.
    """
    from mulde.graph.split import split_file

    made = split_file(
        triples,
        out,
        valid=valid,
        test=test,
        seed=seed,
        symmetric=symmetric or [],
        labels=labels,
        relation_labels=relation_labels,
        overwrite=overwrite,
    )
    _show(summary(made.graph))
    console = Console(stderr=True)
    counts = f"{made.duplicates:,} repeated lines kept once, {made.added:,} mirrored facts added"
    console.print(counts, highlight=False)
    console.print(printable(f"graph is in {out}"), highlight=False, markup=False)


@commands.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Graph folder with train, valid and test.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")] = False,
) -> None:
    """Read a graph as training would, and show what is in it."""
    figures = summary(read_folder(folder))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    _show(figures)


def summary(graph: Graph) -> dict[str, Any]:
    """What ``check`` shows, as JSON has it."""
    relations = {
        name: np.bincount(graph.split(name)[:, 1], minlength=graph.num_relations).tolist()
        for name in SPLITS
    }
    return {
        "name": graph.name,
        "entities": graph.num_entities,
        "digest": graph.digest,
        "splits": {
            name: {
                "triples": len(graph.split(name)),
                "duplicates": graph.duplicates[name],
                "leaked": graph.leaked.get(name, 0),
                "unseen": graph.unseen.get(name, 0),
            }
            for name in SPLITS
        },
        "relations": {
            relation: {name: relations[name][row] for name in SPLITS}
            for row, relation in enumerate(graph.relation_ids)
        },
    }


def _show(figures: dict[str, Any]) -> None:
    console = Console()
    console.print(_table_of_splits(figures), _table_of_relations(figures))
    console.print(f"digest {figures['digest']}", highlight=False)


def _table_of_splits(figures: dict[str, Any]) -> Table:
    counts = f"{figures['entities']:,} entities, {len(figures['relations']):,} relations"
    table = Table(title=shown(f"{figures['name']}: {counts}"), caption=_LEGEND)
    table.add_column("split")
    for column in ("triples", "duplicates", "leaked", "unseen"):
        table.add_column(column, justify="right")
    for name, row in figures["splits"].items():
        table.add_row(name, *(f"{value:,}" for value in row.values()))
    return table


def _table_of_relations(figures: dict[str, Any]) -> Table:
    """The most frequent relations of train."""
    relations = sorted(figures["relations"].items(), key=lambda item: -item[1]["train"])
    table = Table(title=f"the {min(_MOST, len(relations))} most frequent relations")
    table.add_column("relation", overflow="fold")
    for name in SPLITS:
        table.add_column(name, justify="right")
    for relation, row in relations[:_MOST]:
        table.add_row(shown(relation), *(f"{row[name]:,}" for name in SPLITS))
    return table
