"""Entity types: built-in ones of each relation, and given ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.entities.entity_types import EntityTypes
from tests.support.damage import accepted

TRIPLES = np.array([[4, 0, 3], [0, 0, 1], [2, 2, 1], [0, 0, 3]], dtype=np.int32)
RELATIONS = ["eats", "hates", "likes"]


@pytest.fixture
def types(tmp_path: Path) -> EntityTypes:
    built = EntityTypes.of_graph(TRIPLES, RELATIONS, 5, {"Tier: süß": np.array([2, 0, 2])})
    built.write(tmp_path / "types.bin")
    return EntityTypes.read(tmp_path / "types.bin")


def test_heads_and_tails_of_each_relation_are_types(types: EntityTypes) -> None:
    assert types.of("head:eats").tolist() == [0, 4]
    assert types.of("tail:eats").tolist() == [1, 3]
    assert types.of("head:likes").tolist() == [2]
    assert types.of("tail:hates").tolist() == []


def test_given_types_stand_beside_the_built_in_ones(types: EntityTypes) -> None:
    assert types.of("Tier: süß").tolist() == [0, 2]
    assert len(types) == 7
    assert "Tier: süß" in types


@pytest.mark.parametrize("name", ["", "head:", "head:zzz", "eats", "\udcff"])
def test_an_unknown_type_is_a_key_error(types: EntityTypes, name: str) -> None:
    assert name not in types
    with pytest.raises(KeyError):
        types.of(name)


def test_a_given_type_cannot_take_a_built_in_name() -> None:
    with pytest.raises(ValueError, match="'head:eats' is the name of a built-in type"):
        EntityTypes.of_graph(TRIPLES, RELATIONS, 5, {"head:eats": np.array([0])})


def test_rows_outside_the_graph_are_refused() -> None:
    with pytest.raises(ValueError, match="expected rows of 5 entities"):
        EntityTypes.build({"a": np.array([5])}, 5)


def test_any_changed_byte_is_refused_or_harmless(types: EntityTypes, tmp_path: Path) -> None:
    assert len(types) == 7
    for read in accepted(tmp_path / "types.bin", EntityTypes.read):
        assert all((read.of(name) < read.num_entities).all() for name in read.names)
