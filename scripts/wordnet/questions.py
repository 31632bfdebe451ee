"""Thirty questions about WordNet, answered by a bundle, for the bundle's card.

``python -m scripts.wordnet.questions models/wordnet-32`` writes the answers as they are served into
the card. They are not chosen by how good they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.client.answers import Answer
from mulde.storage.printable import markdown
from serving.local.client import LocalClient

HEADING, BEFORE = "## Thirty questions", "## How it was made"
KEPT, NEW = 6, 3
"""Answers shown where known facts are kept, and where they are left out."""

QUESTIONS = (
    ("dog.n.01", "hypernym", "?"),
    ("?", "hypernym", "dog.n.01"),
    ("whale.n.02", "hypernym", "?"),
    ("?", "hypernym", "cheese.n.01"),
    ("?", "hypernym", "bread.n.01"),
    ("chess.n.02", "hypernym", "?"),
    ("guitar.n.01", "hypernym", "?"),
    ("run.v.01", "hypernym", "?"),
    ("?", "hypernym", "walk.v.01"),
    ("germany.n.01", "part_meronym", "?"),
    ("france.n.01", "part_meronym", "?"),
    ("?", "part_meronym", "paris.n.01"),
    ("europe.n.01", "part_meronym", "?"),
    ("car.n.01", "part_meronym", "?"),
    ("tree.n.01", "part_meronym", "?"),
    ("hand.n.01", "part_meronym", "?"),
    ("water.n.01", "substance_meronym", "?"),
    ("?", "member_meronym", "wolf.n.01"),
    ("einstein.n.01", "instance_hypernym", "?"),
    ("?", "instance_hypernym", "composer.n.01"),
    ("?", "instance_hypernym", "volcano.n.02"),
    ("nile.n.01", "instance_hypernym", "?"),
    ("good.a.01", "antonym", "?"),
    ("hot.a.01", "antonym", "?"),
    ("happy.a.01", "similar_to", "?"),
    ("beautiful.a.01", "derivationally_related_form", "?"),
    ("teacher.n.01", "derivationally_related_form", "?"),
    ("snore.v.01", "entailment", "?"),
    ("kill.v.01", "cause", "?"),
    ("?", "domain_topic", "cricket.n.02"),
)


def main(bundle: Annotated[Path, typer.Argument(help="A bundle of WordNet whole.")]) -> None:
    """Write the questions and their answers into a bundle's card."""
    opened = open_bundle(bundle)
    card = opened.file(files.CARD).read_text(encoding="utf-8")
    parts: dict[str, bytes | Path] = {name: opened.file(name) for name in opened.manifest.files}
    parts[files.CARD] = with_section(card, section(LocalClient(bundle))).encode()
    write_bundle(bundle, opened.manifest, parts, overwrite=True)


def with_section(card: str, told: str) -> str:
    """Return the card with the section put before, or in place of an older one."""
    start = card.find(HEADING) if HEADING in card else card.index(BEFORE)
    return f"{card[:start]}{told}\n\n{card[card.index(BEFORE) :]}"


def section(client: LocalClient) -> str:
    """Return the questions with their answers as Markdown."""
    lines = [
        HEADING,
        "",
        "What a person might ask first, with the answers as served, right or wrong. The second "
        f"column has the first {KEPT} answers with known facts kept, which are bold; the third the "
        f"first {NEW} new ones, which a server gives by default, with their probabilities. All of "
        "WordNet is known, so a new answer is at best a fact that WordNet lacks.",
        "",
        "| question | known facts kept | new answers |",
        "|---|---|---|",
    ]
    for question in QUESTIONS:
        kept = " · ".join(_kept(one) for one in ask(client, question, KEPT, known=True))
        new = " · ".join(_new(one) for one in ask(client, question, NEW, known=False))
        lines.append(f"| {markdown(' '.join(question))} | {kept} | {new} |")
    return "\n".join(lines)


def ask(
    client: LocalClient, question: tuple[str, str, str], k: int, *, known: bool
) -> list[Answer]:
    """Return the k best answers to one question, with or without known facts."""
    head, relation, tail = question
    if tail == "?":
        found = client.predict_tails(head, relation, k=k, exclude_known=not known)
    else:
        found = client.predict_heads(relation, tail, k=k, exclude_known=not known)
    if found.errors:
        raise found.errors[0]
    return found[0]


def _kept(answer: Answer) -> str:
    name = markdown(answer.id)
    return f"**{name}**" if answer.known else name


def _new(answer: Answer) -> str:
    return f"{markdown(answer.id)} {answer.probability:.2f}"


if __name__ == "__main__":
    typer.run(main)
