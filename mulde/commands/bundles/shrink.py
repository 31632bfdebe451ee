"""``mulde shrink``: a smaller bundle from a bundle, and what that cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mulde.bundle.table.entity_table import Precision
from mulde.bundle.table.quantised_table import BITS
from mulde.commands.asking.client_options import shown
from mulde.errors import ConfigError
from mulde.graph.graph import read_folder

if TYPE_CHECKING:
    from mulde.bundle.manifest import Manifest


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(shrink)


def shrink(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[Path, typer.Option(help="Graph folder that it was trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the smaller bundle.")],
    precision: Annotated[str, typer.Option(help="Of the table: int8 or int4.")] = "int8",
    without: Annotated[
        list[str] | None,
        typer.Option(help="labels, search, types, known, map or descriptions; may be repeated."),
    ] = None,
) -> None:
    """Store a bundle's numbers in fewer bits, and measure what that cost.

    Needs no checkpoint (but the training extra). Prints size and test MRR before and after.
    """
    from mulde.bundle.bundle import read_manifest
    from training.export.table.shrink import shrink as make

    console = Console(stderr=True)
    before = read_manifest(bundle)
    after = make(
        bundle,
        out,
        _precision(precision),
        read_folder(data),
        without=without or (),
        report=lambda step: console.print(step, highlight=False),
    )
    table = Table("bundle", "precision", "MB", "test MRR", title=shown(str(out)))
    for name, manifest in (("before", before), ("after", after)):
        table.add_row(name, manifest.precision, *_figures(manifest))
    Console().print(table)


def _figures(manifest: Manifest) -> tuple[str, str]:
    """Megabytes of all files, and MRR on test."""
    size = sum(stamp.bytes for stamp in manifest.files.values())
    quality = manifest.quality.get("test")
    return f"{size / 1e6:.2f}", "" if quality is None else f"{quality['total']['mrr']:.4f}"


def _precision(text: str) -> Precision:
    for one in BITS:
        if text == one:
            return one
    raise ConfigError("--precision", " or ".join(BITS), text)
