"""``mulde.fit``: from facts in Python or in files to a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mulde.graph.reading.read import read_graph
from serving.local.model import LocalModel
from training.auto.run import fit_facts


def fit(
    source: Any,
    *,
    out: Path | str = "bundles/model",
    run: Path | str | None = None,
    minutes: float = 10.0,
    memory: float | None = None,
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
        memory: gigabytes that a training may take; None: what the machine has free.
        dimension: numbers per entity, even.
        by: what is held out: random, time or entity.
        seed: of split, race and Junior.
        device: auto, cpu or cuda.
        overwrite: replace an existing bundle.
        **read: fields of ``mulde.graph.reading.options.ReadOptions``, such as ``columns``.

    Raises:
        DatasetError: if the source cannot be read or split.
    """
    target = Path(out)
    folder = Path("runs") / target.resolve().name if run is None else Path(run)
    fit_facts(
        read_graph(source, **read),
        target,
        folder,
        by=by,
        seed=seed,
        minutes=minutes,
        memory=memory,
        dimension=dimension,
        device=device,
        overwrite=overwrite,
    )
    return LocalModel(target)
