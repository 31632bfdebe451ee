"""``mulde import`` and ``mulde distill``: models that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mulde.commands.learning.fit import (
    Device,
    Dimension,
    Memory,
    Minutes,
    Out,
    Overwrite,
    Run,
    Seed,
    say_result,
)
from mulde.commands.progress import say

Scorer = Annotated[
    str | None, typer.Option(help="For plain arrays: TransE, RotatE, DistMult, ComplEx or RESCAL.")
]
Ids = Annotated[
    Path | None,
    typer.Option(help="Folder with the id files of LibKGE or DGL-KE, where the model has none."),
]
Source = Annotated[
    Path, typer.Argument(help="A folder of PyKEEN, DGL-KE or plain arrays, or a file of LibKGE.")
]
Data = Annotated[Path, typer.Option(help="The graph folder that the model was trained on.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("import")(import_model)
    app.command()(distill)


def import_model(
    source: Source,
    data: Data,
    out: Out,
    scorer: Scorer = None,
    ids: Ids = None,
    run: Run = None,
    overwrite: Overwrite = False,
) -> None:
    """Serve a model of another package as it is: convert, calibrate and export."""
    from training.export.export import export

    name = out.resolve().name
    folder = run or Path("runs") / name
    checkpoint = _converted(source, data, folder, scorer, ids)
    recipe = folder / "recipe.toml"
    with Console(stderr=True).status("exporting"):
        manifest = export(checkpoint, data, out, recipe=recipe, overwrite=overwrite, name=name)
    say_result(out, manifest)


def distill(
    source: Source,
    data: Data,
    out: Out,
    dimension: Dimension = 32,
    minutes: Minutes = 10.0,
    memory: Memory = None,
    scorer: Scorer = None,
    ids: Ids = None,
    seed: Seed = 1,
    run: Run = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Distil a small Junior from a model of another package."""
    from training.auto.run import fit_folder

    folder = run or Path("runs") / out.resolve().name
    fitted = fit_folder(
        data,
        out,
        folder,
        minutes=minutes,
        memory=memory,
        dimension=dimension,
        seed=seed,
        device=device,
        overwrite=overwrite,
        teacher=_converted(source, data, folder, scorer, ids),
    )
    say_result(out, *fitted)


def _converted(
    source: Path, data: Path, folder: Path, scorer: str | None, ids: Path | None
) -> Path:
    """The checkpoint that a foreign model becomes; its recipe lies in the run's folder."""
    from mulde.graph.graph import read_folder
    from mulde.storage.atomic import new_file
    from training.importing.foreign import imported_recipe, write_imported
    from training.importing.read import read_foreign
    from training.recipe_file import to_toml

    foreign = read_foreign(source, scorer, ids)
    graph = read_folder(data)
    path = folder / "imported" / "best.pt"
    mrr = write_imported(foreign, graph, source, path)
    with new_file(folder / "recipe.toml") as draft:
        recipe = imported_recipe(foreign, graph.name)
        draft.write_text(to_toml(recipe, f"imported: {foreign.origin}"), encoding="utf-8")
    say(f"{foreign.origin}, {foreign.dimension} numbers per entity: valid MRR {mrr:.4f}")
    return path
