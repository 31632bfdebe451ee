"""``mulde drift``: whether a model should be updated, from facts that are newer than it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import shown, with_options
from mulde.commands.learning.layout_options import LayoutOptions
from mulde.commands.learning.update import stored_changes
from mulde.commands.progress import file_progress
from mulde.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(drift)


@with_options
def drift(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    layout: LayoutOptions,
    facts: Annotated[
        list[Path] | None, typer.Option(help="Files of facts that are newer than it.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Changes that a server keeps: STATE/NAME.facts.sqlite."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")] = False,
) -> None:
    """Count what is new since the training and rank the newer facts as questions.

    Recommends an update where new facts are 10 % of the known ones, 20 % of them name an unseen
    entity or relation, or their MRR is below 80 % of that of the test split.
    """
    from serving.engine.engine import Engine
    from serving.local.drift import measure_drift

    if (store is None) == (facts is None):
        raise ConfigError("--facts or --store", "one of them", None)
    if store is not None:
        read = stored_changes(store)[0]
    else:
        with file_progress("reading") as progress:
            read = layout.read(facts or [], progress)
    if read is None:
        raise ConfigError("--store", "a store with added facts", str(store))
    with Engine.open(bundle) as engine:
        found = measure_drift(engine, read.facts)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "reasons": found.reasons}))
        return
    table = Table("since the training", "", title=shown(str(bundle)))
    for name, count in (
        ("facts given", found.facts),
        ("new facts", found.new),
        ("unseen entities", found.entities),
        ("unseen relations", found.relations),
        ("new facts with an unseen name", found.unseen),
        ("new facts ranked", found.ranked),
    ):
        table.add_row(name, f"{count:,}")
    for name, mrr in (("MRR of new facts", found.mrr), ("MRR of test", found.tested)):
        table.add_row(name, "none" if mrr is None else f"{mrr:.4f}")
    console = Console()
    console.print(table)
    verdict = "update: " + "; ".join(found.reasons) if found.reasons else "no update needed"
    console.print(verdict, highlight=False, soft_wrap=True)
