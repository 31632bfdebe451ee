"""What a fact store holds: changed facts, new entities and where a model places them."""

from __future__ import annotations

from dataclasses import dataclass

Names = tuple[str, str, str]
"""Ids of head, relation and tail."""


@dataclass(frozen=True)
class Change:
    """The last change of one fact.

    Attributes:
        fact: by id.
        removed: whether it was removed; else it was added.
        sequence: grows with every change of the store.
        time_s: seconds since 1970.
    """

    fact: Names
    removed: bool
    sequence: int
    time_s: float


@dataclass(frozen=True)
class NewEntity:
    """An entity that came after the training.

    Attributes:
        id: of the entity.
        label, description: texts; empty for none.
        types: names of its types.
        number: by which a reader asks for later ones; 0 before it is stored.
    """

    id: str
    label: str = ""
    description: str = ""
    types: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class StoredPlacement:
    """The vectors of a new entity in one model.

    Attributes:
        sequence: of the entity's last change when it was placed; later changes make it stale.
        vectors: bytes whose meaning is the model's.
    """

    sequence: int
    vectors: bytes
