"""``mulde models``: what a server has loaded, and the changing of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking import (
    DEFAULT_SERVER,
    Ca,
    Cert,
    Json,
    Key,
    Server,
    Token,
    cells,
    connect,
    print_json,
)

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
def list_models(
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Everything that is loaded, and what could not be."""
    with connect(server, token, ca, cert, key) as client:
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
def show(
    name: Annotated[str, typer.Argument(help="Model; the only one by default.")] = "",
    version: Annotated[str, typer.Argument(help="Version; the current one by default.")] = "",
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """The manifest of a model, as JSON."""
    with connect(server, token, ca, cert, key) as client:
        reply = client.model(model=name, version=version)
    typer.echo(reply.model.manifest_json, nl=False)


@_models.command()
def load(
    name: Name,
    version: Version = "",
    pin: Annotated[bool, typer.Option("--pin", help="Keep it current against reload.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Load a version and make it current; the former one stays loaded."""
    with connect(server, token, ca, cert, key) as client:
        model = client.load_model(name, version, pin=pin)
    typer.echo(f"current: {model.name}/{model.version}")


@_models.command()
def reload(
    name: Annotated[str, typer.Argument(help="Model; the only one by default.")] = "",
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Make the newest version on disk current, and free the former one."""
    with connect(server, token, ca, cert, key) as client:
        reply = client.reload_model(name)
    note = "" if reply.changed else " (unchanged)"
    typer.echo(f"current: {reply.model.name}/{reply.model.version}{note}")


@_models.command()
def unload(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version; all by default.")] = "",
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Free a version."""
    with connect(server, token, ca, cert, key) as client:
        gone = client.unload_model(name, version)
    typer.echo(f"unloaded: {', '.join(gone)}")


def _describe(model: Any) -> dict[str, Any]:
    described: dict[str, Any] = {name: getattr(model, name) for name in _DESCRIBED}
    for name in ("test_mrr", "index_recall_at_10"):
        described[name] = getattr(model, name) if model.HasField(name) else None
    return described
