"""``mulde map``: draw the map of a bundle's entities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mulde.storage.printable import printable


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(name="map")(draw)


def draw(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle with a map.")],
) -> None:
    """Add a map to a bundle that was exported without one, for the web page.

    Needs no checkpoint and no graph (but the training extra). All other files stay as they are.
    """
    from mulde.bundle.bundle import open_bundle
    from training.export.entity_map import add_map

    add_map(bundle, out)
    drawn = open_bundle(out).map
    assert drawn is not None
    quality = f"{drawn.variance:.1%} of the variance, rank correlation {drawn.correlation:.2f}"
    typer.echo(printable(f"{out}: {drawn.num_entities:,} entities, {quality}"))
