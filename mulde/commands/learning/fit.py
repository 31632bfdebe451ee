"""``mulde fit``: from files of triples, or a graph folder, to a bundle with one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulde.commands.asking.client_options import with_options
from mulde.commands.learning.layout_options import Files, LayoutOptions
from mulde.commands.progress import file_progress, say

if TYPE_CHECKING:
    from mulde.bundle.manifest import Manifest
    from training.auto.decisions import Decisions

Out = Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")]
Run = Annotated[
    Path | None, typer.Option(help="Folder for graph and checkpoints; default: runs/NAME.")
]
Minutes = Annotated[float, typer.Option(min=0.05, help="Time for race, training and export.")]
Memory = Annotated[
    float | None,
    typer.Option(min=0, help="GB that a training may take; default: what is free."),
]
Dimension = Annotated[int, typer.Option(min=2, max=1024, help="Numbers per entity, even.")]
Seed = Annotated[int, typer.Option(min=0, help="Of split, race and Junior.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Overwrite = Annotated[bool, typer.Option(help="Replace an existing bundle.")]

_BETTER = 1.1
"""Least MRR against that of the most frequent answers of a model that has learnt something."""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(fit)


@with_options
def fit(
    files: Files,
    out: Out,
    layout: LayoutOptions,
    minutes: Minutes = 10.0,
    memory: Memory = None,
    dimension: Dimension = 32,
    by: Annotated[str, typer.Option(help="Held out facts: random, time or entity.")] = "random",
    seed: Seed = 1,
    run: Run = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Read, split, choose a recipe on valid, train, distil, calibrate and export.

    One folder with train.txt, valid.txt and test.txt is taken as it is. Run the command again after
    an interrupt and it goes on. What was chosen, and why, is in RUN/decisions.json; the recipe is
    in RUN/recipe.toml, and a page about all of it in RUN/report.html.
    """
    folder = run or Path("runs") / out.resolve().name
    options: dict[str, Any] = {
        "minutes": minutes,
        "memory": memory,
        "dimension": dimension,
        "seed": seed,
        "device": device,
        "overwrite": overwrite,
    }
    if len(files) == 1 and files[0].is_dir():
        from training.auto.run import fit_folder

        say_result(out, *fit_folder(files[0], out, folder, **options))
        return
    with file_progress("reading") as progress:
        data = layout.read(files, progress)
    from training.auto.run import fit_facts  # torch; after what may be refused

    name = ", ".join(map(str, files))
    say_result(out, *fit_facts(data, out, folder, by=by, name=name, **options))


def say_result(out: Path, manifest: Manifest, told: Decisions | None = None) -> None:
    """Say how good a bundle is, which model it is, and how to serve it."""
    chosen = "" if told is None else f" ({told.chosen})"
    say(f"{quality_line(manifest)}{chosen}")
    if told is not None:
        say(popularity_line(manifest, told.popularity))
    say(f"bundle is in {out}; serve it with: mulde serve {out}")


def popularity_line(manifest: Manifest, popularity: float) -> str:
    """Beside the model: MRR of the most frequent answers of each relation, which learns nothing."""
    line = f"most frequent answers of each relation: MRR {popularity:.4f}"
    if manifest.quality["test"]["total"]["mrr"] > _BETTER * popularity:
        return line
    return (
        f"{line}; the model is hardly better: see what the graph report says, "
        "whether held-out facts follow from others at all, and try more --minutes"
    )


def quality_line(manifest: Manifest) -> str:
    """Quality on test: of the scorer alone, and where new facts are ranked."""
    alone = manifest.scorer_quality or manifest.quality
    ways = {"scorer alone": alone, "new facts": manifest.quality}
    figures = [
        f"{way}: MRR {total['mrr']:.4f}, Hits@10 {total['hits@10']:.4f}"
        for way, quality in ways.items()
        for total in [quality["test"]["total"]]
    ]
    return f"test, {'; '.join(figures)}"
