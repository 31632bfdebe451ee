"""Checkpoints are whole or refused, and reading one runs nothing."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mulde.errors import CheckpointError
from tests.support.runs import identical
from training.checkpoint import expect, read_checkpoint, write_checkpoint

STATE: dict[str, Any] = {
    "model": {"weight": torch.arange(600.0), "scale": torch.tensor(2.0, dtype=torch.float64)},
    "generator": torch.Generator().manual_seed(1).get_state(),
    "progress": {"epoch": 3, "mrr": 0.25, "loss": {"hard": 0.5}},
    "nothing": None,
    "teachers": ["a", "b"],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint of STATE."""
    path = tmp_path / "run" / "last.pt"
    write_checkpoint(path, STATE)
    return path


def test_what_was_written_is_read(path: Path) -> None:
    assert identical(read_checkpoint(path), {"format": 1, **STATE})


def test_nothing_else_is_left_beside_it(path: Path) -> None:
    write_checkpoint(path, STATE)
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_checkpoint(path: Path) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint(path, {"model": lambda: None})
    assert identical(read_checkpoint(path), {"format": 1, **STATE})


# Damage


def test_a_changed_weight_is_noticed(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(STATE["model"]["weight"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"last\.pt: is not a readable .* is damaged"):
        read_checkpoint(path)


def test_any_damage_is_refused_or_harmless(path: Path) -> None:
    whole, chance, refused = path.read_bytes(), random.Random(4), 0
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        if chance.random() < 0.2:
            del raw[chance.randrange(len(raw)) :]
        path.write_bytes(raw)
        try:
            state = read_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert identical(state, {"format": 1, **STATE})
    assert refused > 100


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_refused(path: Path, share: float) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
        read_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: there is no such checkpoint"):
        read_checkpoint(tmp_path / "none.pt")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
        read_checkpoint(tmp_path)


# Foreign files


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["archive", "legacy", "pickle", "protocol 0"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "owned"
    state = {"format": 1, "model": Attack(target)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(state))
    elif form == "protocol 0":
        path.write_bytes(pickle.dumps(state, protocol=0))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "archive")
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not target.exists()


def test_the_refusal_of_code_says_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"format": 1, "model": Attack(tmp_path / "owned")}, path)
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [({"format": 2}, "2"), ({"model": {}}, "None"), (torch.zeros(2), "None"), ([1], "None")],
    ids=["newer", "no format", "a tensor", "a list"],
)
def test_another_format_is_refused(tmp_path: Path, content: object, found: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"expected checkpoint format 1, found {found}"):
        read_checkpoint(path)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    path, buffer = tmp_path / "other.pt", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hello")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
        read_checkpoint(path)


# Belonging


def test_equal_facts_are_accepted() -> None:
    facts = {"graph": "ab", "model": {"scorer": "RotH", "dimension": 8}}
    expect(Path("last.pt"), facts, dict(facts), "identity")


@pytest.mark.parametrize(
    ("found", "wanted", "problem"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, r"expected identity\.a\.b 2, found 1"),
        ({"a": 1}, {"a": 1, "b": 2}, r"expected identity\.b 2, found None"),
        ({"a": 1, "b": 2}, {"a": 1}, r"expected identity\.b None, found 2"),
        ({"a": 1}, {"a": {"b": 1}}, r"expected identity\.a {'b': 1}, found 1"),
        (None, {"a": 1}, r"expected identity {'a': 1}, found None"),
        ({"a": ["x"]}, {"a": ["y"]}, r"expected identity\.a \['y'\], found \['x'\]"),
    ],
)
def test_the_first_difference_is_named(found: object, wanted: object, problem: str) -> None:
    with pytest.raises(CheckpointError, match=rf"last\.pt: belongs to another run: {problem}"):
        expect(Path("last.pt"), found, wanted, "identity")
