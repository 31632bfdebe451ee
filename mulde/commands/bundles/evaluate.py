"""``mulde evaluate``: the quality of a bundle or checkpoint on a split of a graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.commands.asking.client_options import shown
from mulde.errors import DatasetError, shorten
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.graph.graph import Graph, read_folder


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(help="A bundle folder, or a checkpoint (.pt).")],
    data: Annotated[Path, typer.Option(help="Graph folder with train, valid and test.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    scorer_alone: Annotated[
        bool,
        typer.Option("--scorer-alone", help="Of a bundle: keep self-loops, add no priors."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")] = False,
) -> None:
    """Filtered MRR and Hits@k: both directions, all triples, realistic ties.

    A bundle is measured as it ranks new facts, a checkpoint by the scorer alone, which compares
    with published figures; --scorer-alone measures a bundle so too.
    """
    graph = read_folder(data)
    task = RankingTask.of(graph, split)
    with (
        _scores(model, graph, scorer_alone) as scores,
        Progress(console=Console(stderr=True)) as bars,
    ):
        bar = bars.add_task(f"ranking {split}", total=len(task.target))
        figures = task.quality(scores, report=lambda done: bars.update(bar, completed=done))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    title = shown(f"{model} on {split}")
    table = Table("direction", "MRR", "Hits@1", "Hits@3", "Hits@10", title=title)
    for direction, row in figures.items():
        table.add_row(direction, *(f"{value:.4f}" for value in row.values()))
    Console().print(table)


@contextmanager
def _scores(model: Path, graph: Graph, scorer_alone: bool) -> Iterator[Scores]:
    """The scores of a bundle, through the engine that serves it, or of a checkpoint."""
    if model.suffix == ".pt":
        from training.evaluate import scores_of
        from training.train import load_scorer

        yield scores_of(load_scorer(model, graph)[0])
        return
    from serving.engine.engine import Engine

    with Engine.open(model) as engine:
        _refuse_other_names(engine.bundle.vocabulary, graph, model)
        yield partial(engine.scores, use_priors=not scorer_alone)


def _refuse_other_names(vocabulary: Vocabulary, graph: Graph, bundle: Path) -> None:
    """Rows must mean the same in bundle and graph, or every rank would be nonsense.

    Raises:
        DatasetError: naming the first id that differs.
    """
    for names, ours in (
        (vocabulary.entities, graph.entity_ids),
        (vocabulary.relations, graph.relation_ids),
    ):
        theirs = names.ids.take(np.arange(len(names)))
        if len(theirs) != len(ours):
            found = f"{len(ours)} here, {len(theirs)} in {bundle}"
            raise DatasetError(graph.name, f"expected the bundle's {names.kind} ids: {found}")
        if theirs != list(ours):
            row = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
            found = f"row {row} is {shorten(ours[row])} here, {shorten(theirs[row])} in {bundle}"
            raise DatasetError(graph.name, f"expected the bundle's {names.kind} ids: {found}")
