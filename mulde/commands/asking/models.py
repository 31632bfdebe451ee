"""``mulde models``: what a server has loaded, and the changing of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import (
    Json,
    ServerOptions,
    cells,
    print_json,
    with_options,
)
from mulde.storage.printable import printable, printable_lines

Name = Annotated[str, typer.Argument(help="Model.")]
Version = Annotated[str, typer.Argument(help="Version; the newest by default.")]

_DESCRIBED = (
    "name",
    "version",
    "current",
    "pinned",
    "failure",
    "family",
    "dimension",
    "entities",
    "relations",
    "bundle_bytes",
)

_models = typer.Typer(help="What a server has loaded; changes need an admin token.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_models, name="models")


@_models.command("list")
@with_options
def list_models(*, server: ServerOptions, as_json: Json = False) -> None:
    """Everything that is loaded, and what could not be."""
    with server.connect() as client:
        models = [_describe(model) for model in client.models()]
    if as_json:
        print_json({"models": models})
        return
    table = Table("model", "state", "family", "dimension", "entities", "relations", "test MRR")
    for model in models:
        mrr = model["test_mrr"]
        state = model["failure"] or ("current" if model["current"] else "loaded")
        state += ", pinned" if model["pinned"] else ""
        sizes = (str(model[name]) for name in ("dimension", "entities", "relations"))
        name = f"{model['name']}/{model['version']}"
        shown = "" if mrr is None else f"{mrr:.4f}"
        table.add_row(*cells(name, state, model["family"]), *sizes, shown)
    Console().print(table)


@_models.command()
@with_options
def show(
    name: Annotated[str, typer.Argument(help="Model; the only one by default.")] = "",
    version: Annotated[str, typer.Argument(help="Version; the current one by default.")] = "",
    *,
    server: ServerOptions,
) -> None:
    """The manifest of a model, as JSON."""
    with server.connect() as client:
        reply = client.model(model=name, version=version)
    typer.echo(printable_lines(reply.model.manifest_json), nl=False)


@_models.command()
@with_options
def load(
    name: Name,
    version: Version = "",
    pin: Annotated[bool, typer.Option("--pin", help="Keep it current against reload.")] = False,
    *,
    server: ServerOptions,
) -> None:
    """Load a version and make it current; the former one stays loaded."""
    with server.connect() as client:
        model = client.load_model(name, version, pin=pin)
    typer.echo(printable(f"current: {model.name}/{model.version}"))


@_models.command()
@with_options
def reload(
    name: Annotated[str, typer.Argument(help="Model; the only one by default.")] = "",
    *,
    server: ServerOptions,
) -> None:
    """Make the newest version on disk current, and free the former one."""
    with server.connect() as client:
        reply = client.reload_model(name)
    note = "" if reply.changed else " (unchanged)"
    typer.echo(printable(f"current: {reply.model.name}/{reply.model.version}{note}"))


@_models.command()
@with_options
def unload(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version; all by default.")] = "",
    *,
    server: ServerOptions,
) -> None:
    """Free a version."""
    with server.connect() as client:
        gone = client.unload_model(name, version)
    typer.echo(printable(f"unloaded: {', '.join(gone)}"))


def _describe(model: Any) -> dict[str, Any]:
    described: dict[str, Any] = {name: getattr(model, name) for name in _DESCRIBED}
    for name in ("test_mrr", "index_recall_at_10"):
        described[name] = getattr(model, name) if model.HasField(name) else None
    return described
