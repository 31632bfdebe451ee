"""Which columns of a table hold head, relation and tail: by their names or as the user says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_NAMES = (
    "subject subj s head head_id h source source_id src from from_id from_node start start_id"
    " start_node node1 entity1 e1 left lhs subject_id",
    "predicate pred p relation rel r relationship relation_type relation_id edge edge_type"
    " edge_label property link type label interaction verb predicate_id",
    "object obj o tail tail_id t target target_id dst dest destination to to_id to_node end end_id"
    " end_node node2 entity2 e2 right rhs object_id",
)
ACCEPT = "accept"
"""The column in which a curator says which rows are facts, as ``mulde predict -o x.csv`` writes."""
NOT_ACCEPTED = "rows that the column accept does not accept"
_YES = ("yes", "y", "true", "t", "1", "x", "accept", "accepted")
_ROLES = {name: role for role, names in enumerate(_NAMES) for name in names.split()}


def role_of(name: str) -> int | None:
    """0 for a usual name of a head column, 1 of a relation column, 2 of a tail column."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip().strip('"'))
    plain = re.sub(r"\(.*\)$", "", spaced).lower()  # Neo4j's :START_ID(Person)
    return _ROLES.get(re.sub(r"[\W_]+", "_", plain).strip("_"))


def header_roles(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Places of head, relation and tail among column names; None unless each is named once."""
    roles = [role_of(name) for name in names]
    if any(roles.count(role) != 1 for role in range(3)):
        return None
    return roles.index(0), roles.index(1), roles.index(2)


def find_columns(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Places of the wanted columns, given as names or as numbers from 1.

    Raises:
        LookupError: naming the first column that there is not.
    """
    places = []
    for name in wanted:
        if name in names:
            places.append(list(names).index(name))
        elif name.isdecimal() and 1 <= int(name) <= len(names):
            places.append(int(name) - 1)
        else:
            raise LookupError(name)
    return places


def accepted(column: Any) -> Any:
    """Return which rows a curator accepted: yes, y, true, 1, x or accepted, in any case."""
    # The rest of this file is read without mulde[graph] too, by every command.
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.cast(pa.string())
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(text)), value_set=pa.array(_YES))
