"""``mulde entity``: what the model knows of an entity."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import (
    Json,
    Name,
    Selected,
    ServerOptions,
    print_json,
    shown,
    with_options,
)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(with_options(entity))


def entity(name: Name, *, selected: Selected, server: ServerOptions, as_json: Json = False) -> None:
    """What is known of this entity: description, types, numbers of facts."""
    with server.connect() as client:
        card = client.entity(name, **vars(selected))
    model = f"{card.model.name}/{card.model.version}"
    if as_json:
        print_json(
            {
                "model": model,
                "id": card.id,
                "label": card.label,
                "description": card.description,
                "types": list(card.types),
                "facts": [_fact(one) for one in card.facts],
            }
        )
        return
    table = Table("", "", caption=shown(model), show_header=False)
    table.add_row(
        "entity", shown(card.label if card.label == card.id else f"{card.label} ({card.id})")
    )
    for title, text in (("description", card.description), ("types", ", ".join(card.types))):
        if text:
            table.add_row(title, shown(text))
    for count in card.facts:
        fact = _fact(count)
        row = (
            f"(this, {fact['label']}, ..)"
            if fact["side"] == "head"
            else f"(.., {fact['label']}, this)"
        )
        table.add_row(shown(row), f"{fact['count']:,}")
    Console().print(table)


def _fact(count: Any) -> dict[str, Any]:
    """Relation, its label, the entity's side and how many known facts."""
    from mulde.v1.vocabulary_pb2 import EntitySide

    side = "tail" if count.side == EntitySide.ENTITY_SIDE_TAIL else "head"
    return {
        "relation": count.relation,
        "label": count.label,
        "side": side,
        "count": count.count,
    }
