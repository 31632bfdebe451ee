"""``mulde vectors``: the entities' numbers of a bundle as Parquet, npy or word2vec text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mulde.storage.printable import printable


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(vectors)


def vectors(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file: .parquet, .npy or .txt (word2vec).")
    ],
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write one row of numbers for each entity, with its id and label.

    Parquet: columns id, label, vector. npy: the numbers, and beside them FILE.tsv with id and label
    of each row. txt: word2vec's text format, by id; spaces in ids become underscores.
    """
    from serving.local.vectors import write_vectors

    shape = write_vectors(bundle, out, overwrite=overwrite)
    typer.echo(printable(f"{shape[0]:,} entities of {shape[1]} numbers: {out}"), err=True)
