"""``mulde rules``: path rules for a bundle, so that it can explain its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mulde.graph.graph import read_folder
from mulde.storage.printable import printable


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(rules)


def rules(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[Path, typer.Option(help="Graph folder that it was trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")],
    facts: Annotated[bool, typer.Option("--facts", help="Also carry the known facts.")] = False,
) -> None:
    """Mine rules for explanations and add them to a bundle that an older release wrote.

    Needs no checkpoint (but the training extra). Every other file stays as it is.
    """
    from training.rules.add import add_rules

    console = Console(stderr=True)
    with console.status("mining rules") as status:
        graph = read_folder(data)
        manifest = add_rules(bundle, out, graph, facts=facts, report=status.update)
    size = manifest.files["rules.bin"].bytes
    text = f"rules.bin has {size / 1e3:,.0f} kB; the bundle is in {out}"
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
