"""``mulde relations`` and ``similar``: what joins two entities, and which are near to one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mulde.commands.asking.client_options import (
    Json,
    Name,
    Selected,
    ServerOptions,
    Tsv,
    with_options,
)
from mulde.commands.asking.query import show

K = Annotated[int | None, typer.Option("-k", help="Answers wanted [10].")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (relations, similar):
        app.command()(with_options(command))


def relations(
    head: Name,
    tail: Name,
    k: K = None,
    with_known: Annotated[
        bool, typer.Option("--with-known", help="Keep known facts, and mark them.")
    ] = False,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
    tsv: Tsv = False,
) -> None:
    """Which relations hold from one entity to another?"""
    wanted: dict[str, Any] = {"exclude_known": not with_known, **vars(selected)}
    wanted |= {} if k is None else {"k": k}
    with server.connect() as client:
        answers = client.predict_relations(head, tail, **wanted)
    show(answers, f"{head} ? {tail}", as_json=as_json, tsv=tsv)


def similar(
    entity: Name,
    k: K = None,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="Only entities of this type.")
    ] = None,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
    tsv: Tsv = False,
) -> None:
    """Which entities are nearest to this one? The score is minus the distance."""
    with server.connect() as client:
        answers = client.similar(entity, k=k, types=kind, **vars(selected))
    show(answers, f"similar to {entity}", as_json=as_json, tsv=tsv)
