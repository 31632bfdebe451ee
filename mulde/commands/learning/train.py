"""``mulde train`` and ``mulde export``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mulde.commands.progress import say
from mulde.errors import ConfigError

if TYPE_CHECKING:
    from mulde.graph.graph import Graph
    from training.loop import Progress
    from training.recipe import Recipe
    from training.train import Device, Stage

WHAT = ("all", "teachers", "junior", "baseline")
progress_console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(train)
    app.command()(export)


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as models/recipes/best/*.toml.")],
    data: Annotated[
        Path | None, typer.Option(help="Graph folder; default: data/NAME of the recipe.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; default: runs/NAME.")
    ] = None,
    teachers: Annotated[
        Path | None, typer.Option(help="Where teachers are kept; default: RUN/teachers.")
    ] = None,
    only: Annotated[str, typer.Option(help="all, teachers, junior or baseline.")] = "junior",
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Overrides the Junior's; the recipe's name follows.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Teachers trained side by side.")] = 1,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard scalars.")] = False,
) -> None:
    """Train a recipe's models; run it again after an interrupt and it goes on.

    ``--only junior`` (the default) trains the teachers first where they are missing;
    ``all`` adds the baseline, the same model trained without teachers.
    ``torchrun -m mulde.cli train`` trains each model on several processes.
    """
    from mulde.graph.graph import read_folder
    from training import distributed as parallel
    from training.progress import TrainingReport
    from training.recipe_file import read_recipe, resized
    from training.train import pick_device, stages

    if only not in WHAT:
        raise ConfigError("--only", f"one of {', '.join(WHAT)}", only)
    read = resized(read_recipe(recipe), dimension, seed, "--dimension or --seed")
    graph = read_folder(_graph_folder(data, read))
    run = out or Path("runs") / (read.name if seed is None else f"{read.name}-seed{seed}")
    planned = stages(read, run, teachers)
    with parallel.started_by_torchrun(pick_device(device), jobs) as chosen:
        if not parallel.leads():
            _train_stages(planned, only, read, graph, chosen, jobs, lambda name, progress: None)
            return
        run.mkdir(parents=True, exist_ok=True)
        kept = run / "recipe.toml"
        if not kept.exists():
            _keep(recipe, read, kept)
        with TrainingReport(progress_console, run if tensorboard else None) as report:
            _train_stages(planned, only, read, graph, chosen, jobs, report)
    _keep(recipe, read, kept)  # replaced only by a recipe that the checkpoints have accepted
    say(f"models are in {run}")


def _train_stages(
    planned: Sequence[Stage],
    only: str,
    recipe: Recipe,
    graph: Graph,
    device: Device,
    jobs: int,
    report: Callable[[str, Progress], None],
) -> None:
    """Train what ``--only`` names, in order."""
    from training.train import train_side_by_side, train_stage

    *teaching, junior, baseline = planned
    if only in ("all", "teachers", "junior"):
        train_side_by_side(teaching, recipe, graph, device, jobs, report)
    for stage, wanted in ((junior, ("all", "junior")), (baseline, ("all", "baseline"))):
        if only in wanted:
            train_stage(stage, recipe, graph, device, report)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt of a Junior.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")],
    data: Annotated[Path, typer.Option(help="The graph it was trained on.")],
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of the entity table: fp16, fp32, int8 or int4; default: fp16, or what fits."
        ),
    ] = None,
    budget_mb: Annotated[
        float | None, typer.Option(help="Most megabytes of the bundle; tries kinds of index.")
    ] = None,
    min_recall: Annotated[
        float | None, typer.Option(help="Least recall@10 of the index; tries kinds of index.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="latency or memory: what the index should spare.")
    ] = None,
    known: Annotated[bool, typer.Option(help="Carry the known facts.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bundle.")] = False,
    name: Annotated[str | None, typer.Option(help="Of the model; default: OUT's name.")] = None,
    version: Annotated[str, typer.Option(help="Of the model.")] = "1",
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe file; default: the run's recipe.toml.")
    ] = None,
    licence: Annotated[str, typer.Option(help="A sentence about the data's, for the card.")] = "",
) -> None:
    """Write a bundle, reopen it with the code that serves it, and compare before publishing."""
    from training.export.export import export as write
    from training.export.table.index_selection import wish_of

    wish = wish_of(budget_mb, min_recall, target)
    with progress_console.status("exporting") as status:
        write(
            checkpoint,
            data,
            out,
            precision=precision,
            wish=wish,
            known=known,
            overwrite=overwrite,
            name=name,
            version=version,
            recipe=recipe,
            licence=licence,
            report=status.update,
        )
    say(f"bundle is in {out}")


def _keep(path: Path, read: Recipe, kept: Path) -> None:
    """Keep what was trained: the file itself, or with what the command line changed."""
    from training.recipe_file import read_recipe, to_toml

    if kept.exists() and kept.samefile(path):
        return
    if read == read_recipe(path):
        shutil.copyfile(path, kept)
    else:
        kept.write_text(to_toml(read, f"derived from {path.name}"), encoding="utf-8")


def _graph_folder(data: Path | None, recipe: Recipe) -> Path:
    """Where the graph lies: ``--data``, or ``data/NAME`` of the recipe."""
    return data or Path("data") / recipe.data
