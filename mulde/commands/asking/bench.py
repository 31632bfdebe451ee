"""``mulde bench``: what the index of a bundle costs on this machine, beside the other kinds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mulde.bundle.manifest import Index, Manifest, Trial


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(bench)


def bench(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")] = False,
) -> None:
    """Measure a bundle's index, and the kinds that need no file of their own, on this machine.

    512 queries with every relation; times are medians without the encoder, on one thread.
    """
    from mulde.bundle.files import CANDIDATES
    from serving.engine.engine import Engine
    from serving.index_benchmark import Bench, sample_queries

    with Engine.open(bundle) as engine:
        compared = Bench(engine, sample_queries(engine))
        codes = engine.bundle.path / CANDIDATES
        trials = [compared.trial(index, codes) for index in _kinds(engine.manifest)]
    if as_json:
        typer.echo(json.dumps([asdict(trial) for trial in trials]))
    else:
        Console().print(_table(engine.manifest, trials))


def _kinds(manifest: Manifest) -> list[Index]:
    from mulde.bundle.manifest import Index

    own = [manifest.index] if manifest.index.kind == "ivf" else []
    return [*own, Index("int8"), Index("table")]


def _table(manifest: Manifest, trials: list[Trial]) -> Table:
    from mulde.bundle.manifest import describe

    columns = ("MB", "MB more", "recall@10", "certain", "one µs", "exact µs", "in a batch µs")
    table = Table("index", title=f"{manifest.name}, index of kind {manifest.index.kind}")
    for column in columns:
        table.add_column(column, justify="right")
    for trial in trials:
        table.add_row(
            describe(trial),
            f"{trial.bytes / 1e6:.2f}",
            f"{trial.private_bytes / 1e6:.2f}",
            f"{trial.recall:.4f}",
            f"{trial.certified:.3f}",
            f"{trial.single_us:.0f}",
            f"{trial.exact_us:.0f}",
            f"{trial.batch_us:.1f}",
        )
    return table
