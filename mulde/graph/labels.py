"""Label files, ``id<TAB>label[<TAB>description]``, and type files, ``id<TAB>type``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mulde.errors import DatasetError, shorten
from mulde.graph.lines import read_text, refuse_long_names, split_fields


def read_labels(path: Path) -> dict[str, str]:
    """Labels by id; an empty label counts as none.

    Raises:
        DatasetError: with the line that has no label field or gives an id a second label.
    """
    text = read_text(path)
    if not text:
        return {}
    pairs = [line.split("\t", 2)[:2] for line in text.removesuffix("\n").split("\n")]
    lengths = list(map(len, pairs))
    if min(lengths) < 2:
        raise DatasetError(path, "expected id<TAB>label", lengths.index(1) + 1)
    refuse_long_names(path, [label for _, label in pairs], line=None)
    table = {key: label for key, label in pairs if label}
    for number, (key, label) in enumerate(pairs, start=1):
        if label and table[key] != label:
            problem = f"{shorten(key)} has another label too, {shorten(table[key])}"
            raise DatasetError(path, problem, number)
    return table


def labels_of(path: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of ids from an optional file; an id without one is its own label."""
    if not path.is_file():
        return ids
    table = read_labels(path)
    return tuple(table.get(key, key) for key in ids)


def read_types(path: Path) -> list[tuple[str, str]]:
    """Pairs of entity and type.

    Raises:
        DatasetError: with the line that does not have two fields.
    """
    entities, types = split_fields(path, read_text(path), width=2)
    return list(zip(entities, types, strict=True))


def label_lines(labels: Mapping[str, str], ids: Sequence[str]) -> str:
    """A label file for those ids that have one."""
    found = ((key, labels.get(key)) for key in ids)
    return "".join(f"{key}\t{one_line(label)}\n" for key, label in found if label)


def type_lines(types: Iterable[tuple[str, str]], entities: frozenset[str]) -> str:
    """A type file for these entities, sorted, each pair once."""
    pairs = sorted({(key, one_line(kind)) for key, kind in types if key in entities})
    return "".join(f"{key}\t{kind}\n" for key, kind in pairs if kind)


def one_line(text: str) -> str:
    """A text with single spaces instead of tabs, line ends and other white space."""
    return " ".join(text.split())
