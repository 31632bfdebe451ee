"""``mulde report``: one HTML page on a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mulde.storage.printable import printable


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(report)


def report(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
    data: Annotated[
        Path | None, typer.Option(help="Graph folder that it was trained on; more is shown.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Its run's folder: curves, and teachers by relation.")
    ] = None,
    examples: Annotated[bool, typer.Option(help="Show test questions with explanations.")] = True,
) -> None:
    """Write one self-contained page: quality, training, probabilities, sizes, examples, graph.

    Needs the training extra. The page makes no outside requests.
    """
    from training.report.report import write_report

    console = Console(stderr=True)
    with console.status("reading") as status:
        write_report(bundle, out, data=data, run=run, examples=examples, report=status.update)
    text = f"report is in {out}"
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
