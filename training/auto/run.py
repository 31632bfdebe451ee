"""One run of a fit: split what was read, train with progress bars, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from mulde.bundle.manifest import Manifest
from mulde.graph.reading.compressed import Progress, no_progress
from mulde.graph.reading.read import GraphData
from mulde.graph.splitting.automatic import split_automatically
from mulde.storage.printable import printable
from training.auto.decisions import Decisions, Say
from training.auto.fit import fit
from training.progress import TrainingReport
from training.train import pick_device


def fit_facts(
    data: GraphData,
    out: Path,
    run: Path,
    *,
    by: str = "random",
    seed: int = 1,
    name: str = "graph",
    progress: Progress = no_progress,
    **options: Any,
) -> tuple[Manifest, Decisions]:
    """Split facts into ``RUN/graph`` and fit a bundle on it.

    Args:
        data: of ``read_graph``.
        out: the bundle's folder.
        run: folder for graph, checkpoints and decisions.
        by: what is held out: random, time or entity.
        seed: of split, race and Junior.
        name: of the source, for errors.
        progress: told how many facts are written.
        **options: of ``fit_folder``.

    Raises:
        DatasetError: if not even two facts can be held out.
    """
    graph, say = run / "graph", _say_on(Console(stderr=True))
    say(data.report.text())
    say(split_automatically(data, graph, by=by, seed=seed, name=name, progress=progress))
    return fit_folder(graph, out, run, seed=seed, **options)


def fit_folder(
    data: Path, out: Path, run: Path, *, device: str = "auto", **options: Any
) -> tuple[Manifest, Decisions]:
    """Fit a bundle on a graph folder, with progress on stderr; options as for ``auto.fit.fit``."""
    console = Console(stderr=True)
    with TrainingReport(console) as report:
        return fit(
            data,
            out,
            run,
            name=out.resolve().name,
            device=pick_device(device),
            report=report,
            say=_say_on(console),
            **options,
        )


def _say_on(console: Console) -> Say:
    """Write lines as they are, without markup and never wrapped."""

    def say(text: str) -> None:
        for line in text.splitlines():
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    return say
