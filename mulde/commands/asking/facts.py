"""``mulde facts``: add facts to a running server, remove them, and list what changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mulde.commands.asking.client_options import (
    Json,
    Selected,
    ServerOptions,
    print_json,
    with_options,
)
from mulde.graph.labels import read_descriptions, read_labels, read_types
from mulde.graph.reading.lines import read_text, split_fields
from mulde.storage.printable import printable

_BATCH = 5000

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Lines HEAD<TAB>RELATION<TAB>TAIL, ids or labels.")
]

_facts = typer.Typer(help="Facts that come after the training; needs an admin token.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_facts, name="facts")


@_facts.command()
@with_options
def add(
    file: File,
    new_entities: Annotated[
        bool, typer.Option("--new-entities", help="Unknown names are new entities.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="Lines ID<TAB>LABEL[<TAB>DESCRIPTION] of the new entities."),
    ] = None,
    types: Annotated[
        Path | None, typer.Option(help="Lines ID<TAB>TYPE of the new entities.")
    ] = None,
    *,
    server: ServerOptions,
    selected: Selected,
) -> None:
    """Add facts; those that are known already change nothing."""
    texts = _read_texts(labels, types)
    added = unchanged = 0
    fresh: list[str] = []
    given: Any = {"model": selected.model, "version": selected.version}
    with server.connect() as client:
        for heads, relations, tails in _batches(file):
            named = dict.fromkeys((*heads, *tails))  # not all texts are looked through each time
            own: Any = {
                field: {name: found[name] for name in named if name in found}
                for field, found in texts.items()
            }
            reply = client.add_facts(
                heads, relations, tails, new_entities=new_entities, **own, **given
            )
            added, unchanged = added + reply.added, unchanged + reply.unchanged
            fresh += reply.new_entities
    typer.echo(f"added {added} facts, {unchanged} known already, {len(fresh)} new entities")


@_facts.command()
@with_options
def remove(file: File, *, server: ServerOptions, selected: Selected) -> None:
    """Remove facts; those that are not known are told, and the exit status is 1."""
    removed, missing = 0, []
    given: Any = {"model": selected.model, "version": selected.version}
    with server.connect() as client:
        for heads, relations, tails in _batches(file):
            reply = client.remove_facts(heads, relations, tails, **given)
            removed += reply.removed
            missing += [(heads[i], relations[i], tails[i]) for i in reply.missing]
    typer.echo(f"removed {removed} facts")
    for fact in missing:
        typer.echo(printable("not known: " + " ".join(fact)), err=True)
    if missing:
        raise typer.Exit(1)


@_facts.command("list")
@with_options
def list_facts(*, server: ServerOptions, selected: Selected, as_json: Json = False) -> None:
    """List changes since the training, one line each: + or -, head, relation, tail."""
    with server.connect() as client:
        changes = client.facts(model=selected.model, version=selected.version)
    if as_json:
        print_json({"facts": [vars(change) for change in changes]})
        return
    for change in changes:
        sign = "-" if change.removed else "+"
        names = map(printable, (change.head, change.relation, change.tail))
        sys.stdout.write("\t".join((sign, *names)) + "\n")


def _read_texts(labels: Path | None, types: Path | None) -> dict[str, Any]:
    """Labels, descriptions and types of new entities, by id."""
    found: dict[str, Any] = {}
    if labels is not None:
        found = {"labels": read_labels(labels), "descriptions": read_descriptions(labels)}
    if types is not None:
        found["types"] = {}
        for name, kind in read_types(types):
            found["types"].setdefault(name, []).append(kind)
    return found


def _batches(path: Path) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Heads, relations and tails of a file, some thousand at a time.

    Raises:
        DatasetError: if the file cannot be read, or for a line without three fields.
    """
    heads, relations, tails = split_fields(path, read_text(path))
    for start in range(0, len(heads), _BATCH):
        part = slice(start, start + _BATCH)
        yield heads[part], relations[part], tails[part]
