"""What the commands that ask a server share: its address, credentials, and how answers look."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mulde.client import Answer, Client

_PANEL = "Server"
DEFAULT_SERVER = "localhost:50051"

Server = Annotated[
    str,
    typer.Option(envvar="MULDE_ADDRESS", help="host:port of the server.", rich_help_panel=_PANEL),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="MULDE_TOKEN", help="Bearer token.", show_envvar=True, rich_help_panel=_PANEL
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option(help="Authority of the server's certificate, PEM.", rich_help_panel=_PANEL),
]
Cert = Annotated[
    Path | None, typer.Option(help="Own certificate, for mutual TLS.", rich_help_panel=_PANEL)
]
Key = Annotated[Path | None, typer.Option(help="Its key.", rich_help_panel=_PANEL)]
ModelName = Annotated[
    str, typer.Option("--model", help="Model, where several are loaded.", rich_help_panel=_PANEL)
]
Version = Annotated[
    str, typer.Option("--version", help="Version of the model.", rich_help_panel=_PANEL)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


def connect(
    server: str,
    token: str | None = None,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> Client:
    """A client for the address and credentials of the command line."""
    from mulde.client import Client, Connection

    return Client(Connection(server, token=token, ca=ca, cert=cert, key=key))


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def print_answers(answers: list[Answer], title: str, caption: str) -> None:
    """A table with the columns that are filled."""
    table = Table("", "label", "id", title=printable(title), caption=printable(caption))
    table.add_column("score", justify="right")
    with_probability = any(answer.probability is not None for answer in answers)
    with_known = any(answer.known is not None for answer in answers)
    if with_probability:
        table.add_column("probability", justify="right")
    if with_known:
        table.add_column("known")
    for place, answer in enumerate(answers, 1):
        row = [str(place), *cells(answer.label, answer.id), f"{answer.score:.3f}"]
        if with_probability:
            row.append(f"{answer.probability:.1%}")
        if with_known:
            row.append("known" if answer.known else "")
        table.add_row(*row)
    Console().print(table)


def cells(*texts: str) -> list[str | Text]:
    """Cells that show a text from elsewhere as it is, and never as markup."""
    return [Text(printable(text)) for text in texts]


def printable(text: str) -> str:
    """Text that a terminal only shows: whatever could steer it is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
