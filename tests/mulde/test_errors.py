"""Every error says what was expected, what was found and where."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulde import errors
from mulde.errors import MuldeError, shorten

MADE: list[tuple[MuldeError, list[str]]] = [
    (MuldeError("plain words"), ["plain words"]),
    (errors.ConfigError("a.toml: junior.rate", "above 0", -1), ["a.toml", "above 0", "-1"]),
    (errors.DatasetError(Path("kg/train.txt"), "is empty"), ["kg/train.txt: is empty"]),
    (errors.DatasetError("kg/train.txt", "is bad", 7), ["kg/train.txt:7: is bad"]),
    (
        errors.DatasetError("kg/train.txt", "is empty", 7, "tail"),
        ["kg/train.txt:7: tail: is empty"],
    ),
    (errors.FileError("a", "is missing"), ["a: is missing"]),
    (errors.CheckpointError("last.pt", "is damaged"), ["last.pt: is damaged"]),
    (errors.TrainingDiverged(4, "the loss", Path("last.pt")), ["epoch 4", "the loss", "last.pt"]),
    (errors.JobError("answers.tsv", "was begun"), ["answers.tsv: was begun"]),
    (errors.BundleError("b/manifest.json", "is missing"), ["b/manifest.json: is missing"]),
    (errors.Unreachable("host:1", "refused"), ["no answer from host:1: refused"]),
    (errors.ServerError("INTERNAL", "id 7"), ["failed with INTERNAL: id 7"]),
    (errors.RequestError("cannot be answered"), ["cannot be answered"]),
    (errors.InvalidArgument("top_k", "1 to 1000", 0), ["top_k", "1 to 1000", "found 0"]),
    (errors.UnknownName("x"), ["no name is called 'x'"]),
    (errors.UnknownEntity("dgo", ["dog", "doe"]), ["no entity is called 'dgo'", "'dog', 'doe'"]),
    (errors.UnknownRelation("isa"), ["no relation is called 'isa'"]),
    (errors.UnknownType("plant"), ["no type is called 'plant'"]),
    (errors.Unsupported("types", "entity types"), ["types", "exported without entity types"]),
    (errors.AmbiguousLabel("bank", ["b1", "b2"]), ["'bank'", "2 entities", "'b1', 'b2'"]),
    (errors.UnknownModel("big", ["small"]), ["no model 'big'", "'small'"]),
    (errors.Overloaded(64), ["limit of 64 requests"]),
    (errors.DeadlineExceeded(), ["deadline"]),
    (errors.ChangeTimedOut("worker 1 has not loaded", 60.0), ["worker 1", "60 s"]),
    (errors.NotEnabled("--fact-store"), ["started without --fact-store"]),
    (errors.StoreError(Path("x.sqlite"), "not a store"), ["x.sqlite", "not a store"]),
    (errors.Draining(), ["shutting down"]),
    (errors.Unauthenticated(), ["bearer token", "authorization"]),
    (errors.Forbidden("ReloadModel"), ["ReloadModel", "admin"]),
]  # fmt: skip


def classes(kind: type[MuldeError] = MuldeError) -> Iterator[type[MuldeError]]:
    """``kind`` and all classes below it that mulde.errors holds."""
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from classes(child)


def named(error: MuldeError) -> str:
    return type(error).__name__


def test_every_class_of_the_tree_is_tried_here() -> None:
    assert set(classes()) == {type(error) for error, _ in MADE}


@pytest.mark.parametrize(("error", "facts"), MADE, ids=[named(error) for error, _ in MADE])
def test_the_sentence_holds_the_facts(error: MuldeError, facts: list[str]) -> None:
    for fact in facts:
        assert fact in str(error)


@pytest.mark.parametrize("error", [e for e, _ in MADE], ids=named)
def test_an_error_crosses_processes_with_its_sentence_and_facts(error: MuldeError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_the_drawing_at_the_top_names_every_public_class() -> None:
    drawn = str(errors.__doc__)
    assert [kind.__name__ for kind in classes() if kind.__name__ not in drawn] == []


def test_shorten_cuts_at_its_limit() -> None:
    assert shorten("a" * 200, limit=20) == "'" + "a" * 16 + "..."
    assert shorten("short") == "'short'"


class Rude:
    """A value whose repr holds control characters."""

    def __repr__(self) -> str:
        return "line\nline \x1b[31mred\x07 \u202egnorw \x9b"


@pytest.mark.parametrize("value", ["a\x1b[2J\r\nb\x00\x9b\u202e", b"\x1b\n", Rude()], ids=type)
def test_control_characters_do_not_pass_through_shorten(value: object) -> None:
    assert shorten(value).isprintable()


@pytest.mark.parametrize("name", ["evil\x1b[2J\nname", "\u202egnorw"])
def test_names_from_outside_are_shortened_in_every_sentence(name: str) -> None:
    sentences = [
        errors.UnknownEntity(name, [name]),
        errors.AmbiguousLabel(name, [name, name]),
        errors.UnknownModel(name, [name]),
        errors.InvalidArgument("name", "a name", name),
        errors.ConfigError("a.toml", "a name", name),
    ]
    for error in sentences:
        assert str(error).isprintable()
