"""``mulde query``: ask a running server, one question a time."""

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

ASKED = frozenset({"?", "_"})

Server = Annotated[str, typer.Option(envvar="MULDE_ADDRESS", help="host:port of the server.")]
Token = Annotated[str | None, typer.Option(envvar="MULDE_TOKEN", help="Bearer token.")]
Ca = Annotated[Path | None, typer.Option(help="Authority of the server's certificate, PEM.")]
Cert = Annotated[Path | None, typer.Option(help="Own certificate, for mutual TLS.")]
Key = Annotated[Path | None, typer.Option(help="Its key.")]
ModelName = Annotated[str, typer.Option("--model", help="Model, where several are loaded.")]
Version = Annotated[str, typer.Option("--version", help="Version of the model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]
DEFAULT_SERVER = "localhost:50051"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(query)


def query(
    head: Annotated[str, typer.Argument(help="Id or label; ? or _ asks for it.")],
    relation: Annotated[str, typer.Argument(help="Id or label; ? or _ asks for it.")],
    tail: Annotated[str, typer.Argument(help="Id or label; ? or _ asks for it.")] = "?",
    k: Annotated[int | None, typer.Option("-k", help="Answers wanted.")] = None,
    with_known: Annotated[
        bool, typer.Option("--with-known", help="Keep known facts, and mark them.")
    ] = False,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="Only entities of this type.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Least score.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Least probability.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Insist on exact answers.")] = False,
    model: ModelName = "",
    version: Version = "",
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What completes the fact? ``mulde query dog.n.01 hypernym`` asks for the tail."""
    asked = [name in ASKED for name in (head, relation, tail)]
    if sum(asked) != 1:
        raise typer.BadParameter("expected exactly one ? among head, relation and tail")
    wanted: dict[str, Any] = {
        "k": k,
        "exclude_known": not with_known,
        "score_threshold": min_score,
        "probability_threshold": min_probability,
        "exact": exact,
        "model": model,
        "version": version,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    with connect(server, token, ca, cert, key) as client:
        if asked[1]:
            answers = client.predict_relations(head, tail, **wanted)
        elif asked[0]:
            answers = client.predict_heads(relation, tail, types=kind or [], **wanted)
        else:
            answers = client.predict_tails(head, relation, types=kind or [], **wanted)
    found = answers[0]
    about = {
        "model": answers.model,
        "exact": bool(answers.exact[0]),
        "known_facts": answers.known_facts,
        "shortfall": answers.shortfalls[0],
    }
    if as_json:
        print_json({**about, "answers": [vars(answer) for answer in found]})
    else:
        title = " ".join(map(printable, (head, relation, tail)))
        print_answers(
            found, title, f"{answers.model}, {'exact' if about['exact'] else 'approximate'}"
        )


def connect(
    server: str, token: str | None, ca: Path | None, cert: Path | None, key: Path | None
) -> Client:
    """A client for the address and credentials of the command line."""
    from mulde.client import Client, Connection

    return Client(Connection(server, token=token, ca=ca, cert=cert, key=key))


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def print_answers(answers: list[Answer], title: str, caption: str) -> None:
    """A table with the columns that are filled."""
    table = Table(title=title, caption=caption)
    for column in ("", "label", "id"):
        table.add_column(column)
    table.add_column("score", justify="right")
    with_probability = any(answer.probability is not None for answer in answers)
    with_known = any(answer.known is not None for answer in answers)
    if with_probability:
        table.add_column("probability", justify="right")
    if with_known:
        table.add_column("known")
    for place, answer in enumerate(answers, 1):
        cells: list[str | Text] = [
            str(place),
            Text(printable(answer.label)),
            Text(printable(answer.id)),
        ]
        cells.append(f"{answer.score:.3f}")
        if with_probability:
            cells.append(f"{answer.probability:.1%}")
        if with_known:
            cells.append("known" if answer.known else "")
        table.add_row(*cells)
    Console().print(table)


def printable(text: str) -> str:
    """Text that a terminal only shows: whatever could steer it is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
