"""``mulde fit``: from files of triples, or a graph folder, to a bundle with one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mulde.commands.asking.client_options import with_options
from mulde.commands.learning.layout_options import Files, LayoutOptions
from mulde.commands.progress import file_progress
from mulde.storage.printable import printable

_console = Console(stderr=True)
_SMALL = 20_000
"""Facts below which a tenth each is held out for valid and test, and a twentieth from there on."""

Out = Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")]
Run = Annotated[
    Path | None, typer.Option(help="Folder for graph and checkpoints; default: runs/NAME.")
]
Minutes = Annotated[float, typer.Option(min=0.05, help="Time for race, training and export.")]
Dimension = Annotated[int, typer.Option(min=2, max=1024, help="Numbers per entity, even.")]
Seed = Annotated[int, typer.Option(min=0, help="Of split, race and Junior.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Overwrite = Annotated[bool, typer.Option(help="Replace an existing bundle.")]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(fit)


@with_options
def fit(
    files: Files,
    out: Out,
    layout: LayoutOptions,
    minutes: Minutes = 10.0,
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
    in RUN/recipe.toml.
    """
    folder = run or Path("runs") / out.resolve().name
    data = graph_folder(files, layout, folder / "graph", by, seed)
    run_fit(
        data,
        out,
        folder,
        minutes=minutes,
        dimension=dimension,
        seed=seed,
        device=device,
        overwrite=overwrite,
    )


def graph_folder(files: list[Path], layout: LayoutOptions, made: Path, by: str, seed: int) -> Path:
    """The graph folder that was given, or one made from files; made once."""
    from mulde.graph.splitting.split import split_graph

    if len(files) == 1 and files[0].is_dir():
        return files[0]
    with file_progress("reading") as progress:
        data = layout.read(files, progress)
    say(data.report.text())
    share = 0.1 if len(data.facts.triples) < _SMALL else 0.05
    name = ", ".join(map(str, files))
    split_graph(data, made, by=by, valid=share, test=share, seed=seed, overwrite=True, name=name)
    return made


def run_fit(data: Path, out: Path, run: Path, *, device: str, **options: Any) -> None:
    """Fit with progress bars, and say what came out."""
    from training.auto.fit import fit as fit_bundle
    from training.progress import TrainingReport
    from training.train import pick_device

    name = out.resolve().name
    with TrainingReport(_console) as report:
        manifest, told = fit_bundle(
            data, out, run, name=name, device=pick_device(device), report=report, say=say, **options
        )
    test = manifest.quality["test"]["total"]
    say(f"test MRR {test['mrr']:.4f}, Hits@10 {test['hits@10']:.4f} ({told.chosen})")
    say(f"bundle is in {out}; serve it with: mulde serve {out}")


def say(sentence: str) -> None:
    """Write a line to stderr, without markup and never wrapped."""
    for line in sentence.splitlines():
        _console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
