"""``mulde query``, ``score`` and ``search``: ask a running server, one question a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import (
    Json,
    Name,
    Selected,
    ServerOptions,
    Tsv,
    cells,
    print_answers,
    print_json,
    print_tsv,
    shown,
    with_options,
)

if TYPE_CHECKING:
    from mulde.client import Answers, Client

_SCORES = (
    "scores",
    "plausibilities",
    "known",
    "tail_scores",
    "head_scores",
    "tail_ranks",
    "head_ranks",
    "self_loops",
)
_ASKED = frozenset({"?", "_"})

Part = Annotated[str, typer.Argument(help="Id or label; ? or _ asks for it.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (query, score, search):
        app.command()(with_options(command))


def query(
    head: Part,
    relation: Part,
    tail: Part = "?",
    k: Annotated[int | None, typer.Option("-k", help="Answers wanted [10].")] = None,
    with_known: Annotated[
        bool, typer.Option("--with-known", help="Keep known facts, and mark them.")
    ] = False,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="Only entities of this type.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Least score.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Least probability.")] = None,
    plausibility: Annotated[
        bool, typer.Option("--plausibility", help="Also say how plausible each answer is.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Insist on exact answers.")] = False,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
    tsv: Tsv = False,
) -> None:
    """What completes the fact? "mulde query dog.n.01 hypernym" asks for the tail."""
    wanted: dict[str, Any] = {
        "k": k,
        "exclude_known": not with_known,
        "score_threshold": min_score,
        "probability_threshold": min_probability,
        "plausibility": plausibility,
        "exact": exact,
        **vars(selected),
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    with server.connect() as client:
        answers = _ask(client, head, relation, tail, kind or [], wanted)
    show(answers, f"{head} {relation} {tail}", as_json=as_json, tsv=tsv)


def show(answers: Answers, title: str, *, as_json: bool, tsv: bool) -> None:
    """Print the answers to one question as a table, lines with tabs, or JSON."""
    found, certainty = answers[0], "exact" if answers.exact[0] else "approximate"
    if as_json:
        about = {"model": answers.model, "exact": bool(answers.exact[0])}
        about |= {"known_facts": answers.known_facts, "shortfall": answers.shortfalls[0]}
        print_json({**about, "answers": [vars(answer) for answer in found]})
    else:
        print_answers(found, title, f"{answers.model}, {certainty}", tsv=tsv)


def _ask(
    client: Client, head: str, relation: str, tail: str, kinds: list[str], wanted: dict[str, Any]
) -> Answers:
    """Ask for the part that is missing."""
    missing = [place for place, name in enumerate((head, relation, tail)) if name in _ASKED]
    if len(missing) != 1:
        raise typer.BadParameter("expected exactly one ? among head, relation and tail")
    if missing == [1]:
        if kinds:
            raise typer.BadParameter("relations have no types", param_hint="--type")
        return client.predict_relations(head, tail, **wanted)
    if missing == [0]:
        return client.predict_heads(relation, tail, types=kinds or None, **wanted)
    return client.predict_tails(head, relation, types=kinds or None, **wanted)


def score(
    head: Name,
    relation: Name,
    tail: Name,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Also rank head and tail among all candidates.")
    ] = False,
    base_rate: Annotated[
        float | None, typer.Option(help="Share of true facts among those asked about [0.5].")
    ] = None,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
    tsv: Tsv = False,
) -> None:
    """How plausible is this fact?"""
    with server.connect() as client:
        scores = client.score(
            head, relation, tail, ranks=ranks, base_rate=base_rate, **vars(selected)
        )
    if scores.errors:
        raise scores.errors[0]
    values = {name: getattr(scores, name) for name in _SCORES}
    told = {name: value[0].item() for name, value in values.items() if value is not None}
    if as_json:
        print_json({"model": scores.model, **told})
        return
    if tsv:
        print_tsv([list(told), [str(value) for value in told.values()]])
        return
    table = Table("", "", title=shown(f"{head} {relation} {tail}"), caption=shown(scores.model))
    for name, value in told.items():
        figure = f"{value:.4f}" if isinstance(value, float) else str(value).lower()
        table.add_row(name.replace("_", " "), figure)
    Console().print(table)


def search(
    text: Annotated[str, typer.Argument(help="Beginning or misspelling of a label, or an id.")],
    k: Annotated[int, typer.Option("-k", help="Entities wanted.")] = 10,
    *,
    selected: Selected,
    server: ServerOptions,
    as_json: Json = False,
    tsv: Tsv = False,
) -> None:
    """Which entity is called like that?"""
    with server.connect() as client:
        found = client.search(text, page_size=k, **vars(selected))
    if as_json:
        listed = [{"id": one, "label": label} for one, label in found[0]]
        print_json({"model": found.model, "entities": listed})
        return
    if tsv:
        print_tsv([["label", "id"], *([label, one] for one, label in found[0])])
        return
    table = Table(caption=shown(found.model))
    for name in ("label", "id"):
        table.add_column(name, overflow="fold")
    for one, label in found[0]:
        table.add_row(*cells(label, one))
    Console().print(table)
