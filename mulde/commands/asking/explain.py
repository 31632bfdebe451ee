"""``mulde explain``: why is this fact an answer?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from mulde.commands.asking.client_options import (
    Json,
    Selected,
    ServerOptions,
    print_json,
    shown,
    with_options,
)

Name = Annotated[str, typer.Argument(help="Id or label.")]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(with_options(explain))


def explain(
    head: Name,
    relation: Name,
    tail: Name,
    paths: Annotated[int, typer.Option(help="Most paths of known facts.")] = 3,
    similar: Annotated[int, typer.Option(help="Most similar known facts.")] = 3,
    supporting: Annotated[int, typer.Option(help="Most known facts that the score rests on.")] = 3,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
) -> None:
    """Why is this fact an answer? Known facts that speak for and against it."""
    with server.connect() as client:
        found = client.explain(
            head,
            relation,
            tail,
            paths=paths,
            similar=similar,
            supporting=supporting,
            **vars(selected),
        )
    explanation = found[0]
    if as_json:
        about = {"model": found.model, "has_rules": found.has_rules}
        print_json({**about, "explanation": asdict(explanation)})
        return
    console = Console(soft_wrap=True)
    for sentence in explanation.sentences():
        console.print(shown(sentence))
    if not found.has_rules:
        console.print(shown("The bundle has no rules, so that no paths are shown (mulde rules)."))
