"""What the commands that ask a server share: its address, credentials, and how answers look."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mulde.storage.printable import printable

if TYPE_CHECKING:
    from mulde.client import Answer, Client, Connection

_PANEL = "Server"

Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]
Tsv = Annotated[
    bool, typer.Option("--tsv", help="Print a header and lines with tabs, to copy ids from.")
]
Name = Annotated[str, typer.Argument(help="Id or label.")]


@dataclass(frozen=True)
class ServerOptions:
    """Options that say where the server is and who asks."""

    server: Annotated[
        str,
        typer.Option(
            envvar="MULDE_ADDRESS", help="host:port of the server.", rich_help_panel=_PANEL
        ),
    ] = "localhost:50051"
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MULDE_TOKEN",
            help="Bearer token; in the environment no list of processes shows it.",
            show_envvar=True,
            rich_help_panel=_PANEL,
        ),
    ] = None
    ca: Annotated[
        Path | None,
        typer.Option(help="Authority of the server's certificate, PEM.", rich_help_panel=_PANEL),
    ] = None
    cert: Annotated[
        Path | None, typer.Option(help="Own certificate, for mutual TLS.", rich_help_panel=_PANEL)
    ] = None
    key: Annotated[Path | None, typer.Option(help="Its key.", rich_help_panel=_PANEL)] = None

    def connect(self) -> Client:
        """A client for this address with these credentials."""
        from mulde.client import Client

        return Client(self.connection())

    def connection(self, attempts: int = 4) -> Connection:
        """Where the server is; see ``Connection`` for ``attempts``."""
        from mulde.client import Connection

        return Connection(
            self.server,
            token=self.token,
            ca=self.ca,
            cert=self.cert,
            key=self.key,
            attempts=attempts,
        )


@dataclass(frozen=True)
class Selected:
    """Options that say which model answers."""

    model: Annotated[
        str,
        typer.Option("--model", help="Model, where several are loaded.", rich_help_panel=_PANEL),
    ] = ""
    version: Annotated[
        str, typer.Option("--version", help="Version of the model.", rich_help_panel=_PANEL)
    ] = ""


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters of a dataclass type are given as that class's options.

    Typer knows plain parameters only, so groups of options would have to stand in each command.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if is_dataclass(parameter.annotation)
    }

    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    flat = [
        single
        for parameter in signature.parameters.values()
        for single in _options(groups.get(parameter.name), parameter)
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {}
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return run


def _options(kind: Any, parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The options of a group, or the parameter itself where ``kind`` is None."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    if kind is None:
        return [parameter.replace(kind=keyword)]
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in fields(kind)
    ]


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def print_answers(answers: list[Answer], title: str, caption: str, *, tsv: bool = False) -> None:
    """A table with the columns that are filled; as lines with tabs, all digits and no title.

    Where each label is the id, the table has one column for both.
    """
    columns = _answer_columns(answers, exact=tsv)
    rows = [
        [str(place), *(cell(answer) for _, cell in columns)]
        for place, answer in enumerate(answers, 1)
    ]
    names = ["rank", *(name for name, _ in columns)]
    if tsv:
        print_tsv([names, *rows])
        return
    table = Table(title=shown(title), caption=shown(caption))
    for name in ("", *names[1:]):
        justify: Literal["left", "right"] = "right" if name in _FIGURES else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*cells(*row))
    Console().print(table)


_FIGURES = frozenset({"score", "prior", "probability", "plausibility"})
_Cell = Callable[["Answer"], str]


def _answer_columns(answers: list[Answer], *, exact: bool) -> list[tuple[str, _Cell]]:
    """Names of columns and what they show of an answer; those that no answer fills are left out."""

    def figure(name: str, form: str) -> tuple[str, _Cell]:
        return name, lambda answer: format(getattr(answer, name), "" if exact else form)

    told: list[tuple[str, _Cell]] = [
        ("label", lambda answer: answer.label),
        ("id", lambda answer: answer.id),
        figure("score", ".3f"),
        figure("prior", "+.1f"),
        figure("probability", ".1%"),
        figure("plausibility", ".1%"),
        ("known", lambda answer: "known" if answer.known else ""),
    ]
    if not exact and all(answer.label == answer.id for answer in answers):
        del told[0]
    always = {"label", "id", "score"}
    return [
        one
        for one in told
        if one[0] in always or any(getattr(answer, one[0]) is not None for answer in answers)
    ]


def print_tsv(rows: list[list[str]]) -> None:
    """Lines on stdout; a tab or line end within a name is written as in Python."""
    for row in rows:
        sys.stdout.write("\t".join(map(printable, row)) + "\n")


def cells(*texts: str) -> list[str | Text]:
    """Cells that show a text from elsewhere as it is, and never as markup."""
    return [shown(text) for text in texts]


def shown(text: str) -> Text:
    """A text from elsewhere as it is to be read, never as markup or as orders to a terminal."""
    return Text(printable(text))
