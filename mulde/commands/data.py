"""``mulde data``: fetch a benchmark graph; check, convert and split own triples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import Json, shown, with_options
from mulde.commands.learning.layout_options import Files, LayoutOptions
from mulde.commands.progress import file_progress, say
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.graph.reading.compressed import Progress

if TYPE_CHECKING:
    from mulde.graph.report import GraphReport

commands = typer.Typer(no_args_is_help=True)

_MOST = 20
_LOW_BITS = (1 << 24) - 1
_LEGEND = (
    "duplicates: repeated lines, kept once; leaked: held out and in train too; "
    "unseen: with an entity that train does not have; joined: between two entities that train joins"
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(
        commands,
        name="data",
        help="Download benchmark graphs; check, convert and split own triples.",
    )


@commands.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="wn18rr, fb15k-237, codex-s, codex-m, umls or nations.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder; default: data/NAME.")
    ] = None,
    home: Annotated[str | None, typer.Option(help="A mirror's address, for train.txt etc.")] = None,
) -> None:
    """Download a benchmark graph from its public home; run it again after an interrupt.

    Each file is verified against a pinned SHA-256 before it appears under its name.
    """
    from mulde.graph.downloading import datasets

    folder = out or Path("data") / name
    with file_progress("downloading") as progress:
        datasets.fetch(name, folder, home=home, report=progress)
    say(f"{name} is in {folder}")


@commands.command()
@with_options
def split(
    files: Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="The graph folder to make.")],
    layout: LayoutOptions,
    by: Annotated[str, typer.Option(help="What is held out: random, time or entity.")] = "random",
    valid: Annotated[float, typer.Option(help="Share of the facts that choose a model.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of the facts that measure it.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Another one holds out other facts.")] = 0,
    symmetric: Annotated[
        list[str] | None, typer.Option(help="Relation that holds both ways: mirror its facts.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a folder that is there.")] = False,
) -> None:
    """Split triples into a graph folder whose train gives no held-out fact away.

    random: pairs of entities, with all facts between them; train has every name.
    time: the latest facts, by the column of --time.
    entity: all facts of some entities, which train then does not know.

    The same facts and seed give the same folder.
    """
    from mulde.graph.splitting.split import check_split, split_graph

    check_split(by, out, valid, test, overwrite)
    with file_progress("reading") as progress:
        data = layout.read(files, progress)
    say(f"{data.report.text()}\nsplitting {len(data.facts):,} facts")
    with file_progress("writing") as progress:
        made = split_graph(
            data,
            out,
            by=by,
            valid=valid,
            test=test,
            seed=seed,
            symmetric=symmetric or [],
            overwrite=overwrite,
            name=", ".join(map(str, files)),
            progress=progress,
        )
    _show(summary(made.graph))
    say(f"{made.added:,} mirrored facts added\ngraph is in {out}")


@commands.command()
@with_options
def check(files: Files, layout: LayoutOptions, as_json: Json = False) -> None:
    """Read a graph folder as training would, or files as split would, and show what is in it."""
    with file_progress("reading") as progress:
        folder = len(files) == 1 and files[0].is_dir()
        figures, report = (
            _check_folder(files[0], progress) if folder else _check_files(files, layout, progress)
        )
    if as_json:
        typer.echo(json.dumps(figures))
        return
    if folder:
        _show(figures)
    typer.echo(report.text())


def _check_folder(folder: Path, progress: Progress) -> tuple[dict[str, Any], GraphReport]:
    from mulde.graph.facts import Facts
    from mulde.graph.report import Counts, report_on

    graph = read_folder(folder, progress)
    counts = Counts(triples=len(graph.train) + graph.duplicates["train"], sources=["train:"])
    counts.duplicates = graph.duplicates["train"]
    report = report_on(Facts.of_train(graph), counts)
    figures = report.json()
    shown = {name: figures[name] for name in ("findings", "patterns")}
    return summary(graph) | shown, report


def _check_files(
    files: list[Path], layout: LayoutOptions, progress: Progress
) -> tuple[dict[str, Any], GraphReport]:
    report = layout.read(files, progress).report
    return report.json(), report


@commands.command()
@with_options
def convert(
    files: Files,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to make: .tsv, .csv or .parquet.")
    ],
    layout: LayoutOptions,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write the distinct facts of files as one table.

    Labels and types, if there are any, go into OUT.labels.tsv and OUT.types.tsv.
    """
    from mulde.graph.reading.convert import check_target, write_table

    check_target(out, overwrite)
    with file_progress("reading") as progress:
        data = layout.read(files, progress)
    say(data.report.text())
    for path in write_table(data, out):
        say(f"written: {path}")


def summary(graph: Graph) -> dict[str, Any]:
    """What ``check`` shows, as JSON has it."""
    relations = {
        name: np.bincount(graph.split(name)[:, 1], minlength=graph.num_relations).tolist()
        for name in SPLITS
    }
    joined = _joined(graph)
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
                "joined": joined.get(name, 0),
            }
            for name in SPLITS
        },
        "relations": {
            relation: {name: relations[name][row] for name in SPLITS}
            for row, relation in enumerate(graph.relation_ids)
        },
        "relation_labels": {
            name: label
            for name, label in zip(graph.relation_ids, graph.relation_labels, strict=True)
            if name != label
        },
    }


def _joined(graph: Graph) -> dict[str, int]:
    """For each split, held-out facts between two entities that a train fact joins either way.

    A table of the pairs' low bits leaves few train pairs to be sorted.
    """
    train, counts = _pairs(graph, "train"), {}
    for name in SPLITS[1:]:
        held = _pairs(graph, name)
        wanted = np.zeros(_LOW_BITS + 1, dtype=bool)
        wanted[held & _LOW_BITS] = True
        near = np.sort(train[wanted[train & _LOW_BITS]])
        places = np.minimum(np.searchsorted(near, held), len(near) - 1)
        counts[name] = int((near[places] == held).sum()) if len(near) else 0
    return counts


def _pairs(graph: Graph, split: str) -> NDArray[np.int64]:
    """Low * E + high of each fact's two entities."""
    head, _, tail = graph.split(split).T
    pairs: NDArray[np.int64] = np.minimum(head, tail).astype(np.int64)
    pairs *= graph.num_entities
    pairs += np.maximum(head, tail)
    return pairs


def _show(figures: dict[str, Any]) -> None:
    console = Console()
    console.print(_table_of_splits(figures), _table_of_relations(figures))
    console.print(f"digest {figures['digest']}", highlight=False)


def _table_of_splits(figures: dict[str, Any]) -> Table:
    counts = f"{figures['entities']:,} entities, {len(figures['relations']):,} relations"
    table = Table(title=shown(f"{figures['name']}: {counts}"), caption=_LEGEND)
    table.add_column("split")
    for column in ("triples", "duplicates", "leaked", "unseen", "joined"):
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
    labels = figures["relation_labels"]
    for relation, row in relations[:_MOST]:
        name = f"{labels[relation]} ({relation})" if relation in labels else relation
        table.add_row(shown(name), *(f"{row[split]:,}" for split in SPLITS))
    return table
