"""``mulde.fit``: from facts in Python or in files to a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from mulde.graph.reading.read import read_graph
from mulde.graph.splitting.split import split_graph
from serving.local.model import LocalModel
from training.auto.fit import fit as fit_bundle
from training.progress import TrainingReport
from training.train import pick_device

SMALL = 20_000
"""Facts below which a tenth each is held out for valid and test, and a twentieth from there on."""


def fit(
    source: Any,
    *,
    out: Path | str = "bundles/model",
    run: Path | str | None = None,
    minutes: float = 10.0,
    dimension: int = 32,
    by: str = "random",
    seed: int = 1,
    device: str = "auto",
    overwrite: bool = True,
    **read: Any,
) -> LocalModel:
    """Read, split, choose a recipe on valid, train, distil, export; return the model.

    Args:
        source: path or paths, a DataFrame, a networkx graph, a PyKEEN TriplesFactory, or an
            iterable of (subject, predicate, object).
        out: the bundle's folder.
        run: folder for graph and checkpoints; default: ``runs/NAME``.
        minutes: time for race, training and export.
        dimension: numbers per entity.
        by: what is held out: random, time or entity.
        seed: of split, race and Junior.
        device: auto, cpu or cuda.
        overwrite: replace an existing bundle.
        **read: fields of ``mulde.graph.reading.options.ReadOptions``, such as ``columns``.

    Raises:
        DatasetError: if the source cannot be read or split.
    """
    target, console = Path(out), Console(stderr=True)
    folder = Path("runs") / target.resolve().name if run is None else Path(run)
    data = read_graph(source, **read)
    console.print(data.report.text(), markup=False, highlight=False)
    graph = folder / "graph"
    share = held_out(len(data.facts.triples))
    split_graph(data, graph, by=by, valid=share, test=share, seed=seed, overwrite=True)
    with TrainingReport(console) as report:
        fit_bundle(
            graph,
            target,
            folder,
            name=target.resolve().name,
            minutes=minutes,
            dimension=dimension,
            device=pick_device(device),
            seed=seed,
            report=report,
            say=lambda line: console.print(line, markup=False, highlight=False),
            overwrite=overwrite,
        )
    return LocalModel(target)


def held_out(facts: int) -> float:
    """Return the share of facts for valid, and for test."""
    return 0.1 if facts < SMALL else 0.05
