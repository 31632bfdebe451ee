"""``mulde update``: the next version of a bundle, trained further on a changed graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mulde.commands.asking.client_options import with_options
from mulde.commands.learning.fit import quality_line
from mulde.commands.learning.layout_options import LayoutOptions
from mulde.commands.progress import file_progress, say
from mulde.errors import ConfigError

if TYPE_CHECKING:
    from mulde.graph.reading.read import GraphData
    from mulde.storage.fact_records import NewEntity

_console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(update)


@with_options
def update(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder; it is only read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")],
    layout: LayoutOptions,
    add: Annotated[list[Path] | None, typer.Option(help="Files of facts to add.")] = None,
    remove: Annotated[list[Path] | None, typer.Option(help="Files of facts to remove.")] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Changes that a server keeps: STATE/NAME.facts.sqlite."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Graph folder of the bundle; default: the facts that it carries."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The model's best.pt; default: made of the bundle.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder for graph and checkpoints; default: runs/OUT.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Of the model; default: one more.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over what changed.")] = 5,
    replay: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the other queries in each epoch.")
    ] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bundle.")] = False,
) -> None:
    """Add facts to a model's graph, remove others, and train the model further.

    New entities and relations get rows. Run the command again after an interrupt and it goes on.
    A running server takes the new version with mulde models reload.
    """
    from training.progress import TrainingReport
    from training.train import pick_device
    from training.update.continued import UpdateSettings
    from training.update.update import GraphChanges
    from training.update.update import update as write

    if store is not None and (add or remove):
        raise ConfigError("--store", "neither --add nor --remove beside it", str(store))
    if store is not None:
        read = stored_changes(store)
    elif add or remove:
        with file_progress("reading") as progress:
            read = (
                layout.read(add, progress) if add else None,
                layout.read(remove, progress) if remove else None,
            )
    else:
        raise ConfigError("--add, --remove or --store", "changed facts", None)
    _say_drift(bundle, read[0])
    with TrainingReport(_console) as report:
        manifest = write(
            bundle,
            GraphChanges(*read, absent=store is not None),
            out,
            run or Path("runs") / out.resolve().name,
            data=data,
            checkpoint=checkpoint,
            version=version,
            settings=UpdateSettings(epochs=epochs, replay=replay),
            device=pick_device(device),
            overwrite=overwrite,
            report=report,
            say=say,
        )
    say(quality_line(manifest))
    say(f"version {manifest.version} of {manifest.name} is in {out}")


def stored_changes(path: Path) -> tuple[GraphData | None, GraphData | None]:
    """The facts that a server's store adds and removes.

    Raises:
        ConfigError: if there is no such file.
        StoreError: if it cannot be read.
    """
    from mulde.graph.reading.read import read_graph
    from mulde.storage.fact_store import FactStore

    if not path.is_file():
        raise ConfigError("--store", "a file STATE/NAME.facts.sqlite", str(path))
    opened = FactStore(path)
    try:
        changes, entities = opened.changes(), opened.entities()
    finally:
        opened.close()
    added = [one.fact for one in changes if not one.removed]
    removed = [one.fact for one in changes if one.removed]
    return (
        _with_texts(read_graph(added), entities) if added else None,
        read_graph(removed) if removed else None,
    )


def _with_texts(data: GraphData, entities: list[NewEntity]) -> GraphData:
    """Add the texts and types of new entities to what was read."""
    return data._replace(
        labels=data.labels | {one.id: one.label for one in entities if one.label},
        descriptions={one.id: one.description for one in entities if one.description},
        types=[*data.types, *((one.id, kind) for one in entities for kind in one.types)],
    )


def _say_drift(bundle: Path, added: GraphData | None) -> None:
    """Say how the old version ranks the facts to add."""
    from serving.engine.engine import Engine
    from serving.local.drift import measure_drift

    if added is None:
        return
    with Engine.open(bundle) as engine:
        found = measure_drift(engine, added.facts)
    if found.mrr is not None:
        say(f"the old version ranks {found.ranked:,} of the facts to add with MRR {found.mrr:.4f}")
