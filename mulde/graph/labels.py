"""Label files, ``id<TAB>label[<TAB>description]``, and type files, ``id<TAB>type``; or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mulde.bundle.entities.descriptions import MAX_DESCRIPTION_BYTES
from mulde.errors import DatasetError, shorten
from mulde.graph.reading.compressed import plain_suffix
from mulde.graph.reading.lines import read_text, refuse_long_names
from mulde.storage.strings import MAX_BYTES

_IDS = frozenset(["id", "entity", "node", "item", "concept", "uri", "iri"])
_TEXTS = frozenset(["label", "name", "title", "type", "class", "category", "kind"])

_NONE: Mapping[str, str] = MappingProxyType({})


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Fields of each line with its number: tab-separated, or of CSV; a header is passed over."""
    text = read_text(path)
    if plain_suffix(path) == ".csv":
        reader = csv.reader(io.StringIO(text))
        rows = ((reader.line_num, row) for row in reader)
    else:
        lines = text.removesuffix("\n").split("\n") if text else []
        rows = ((number, line.split("\t")) for number, line in enumerate(lines, start=1))
    for number, row in rows:
        names = [field.strip().lower() for field in row[:2]]
        if not (number == 1 and names[0] in _IDS and set(names[1:]) & _TEXTS):
            yield number, row


def read_labels(path: Path) -> dict[str, str]:
    """Labels by id; an empty label counts as none.

    Raises:
        DatasetError: with the line that has no label field, a label that is too long, or gives an
            id a second label.
    """
    table: dict[str, str] = {}
    for number, row in _rows(path):
        if len(row) < 2:
            raise DatasetError(path, "expected id<TAB>label", number)
        key, label = row[:2]
        if len(label) > MAX_BYTES // 4:  # UTF-8 needs at most 4 bytes a character
            refuse_long_names(path, [label], number)
        if label and table.setdefault(key, label) != label:
            problem = f"{shorten(key)} has another label too, {shorten(table[key])}"
            raise DatasetError(path, problem, number)
    return table


def read_descriptions(path: Path) -> dict[str, str]:
    """Descriptions by id, the third field of a label file, one line each; none for ids without one.

    Raises:
        DatasetError: with the line whose description is too long.
    """
    table = {}
    for number, row in _rows(path):
        text = one_line(row[2]) if len(row) > 2 else ""
        if (size := len(text.encode())) > MAX_DESCRIPTION_BYTES:
            most = f"expected at most {MAX_DESCRIPTION_BYTES:,} bytes"
            raise DatasetError(path, f"the description is too long: {most}, found {size:,}", number)
        if text:
            table[row[0]] = text
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
    pairs = []
    for number, row in _rows(path):
        if len(row) != 2 or "" in row:
            raise DatasetError(path, f"expected id<TAB>type, found {shorten(row)}", number)
        pairs.append((row[0], row[1]))
    return pairs


def label_lines(
    labels: Mapping[str, str], ids: Sequence[str], descriptions: Mapping[str, str] = _NONE
) -> str:
    """A label file for those ids that have a label or a description."""
    lines = []
    for key in ids if labels or descriptions else ():
        label, text = one_line(labels.get(key, "")), one_line(descriptions.get(key, ""))
        if label or text:
            lines.append("\t".join((key, label or key, *([text] if text else []))) + "\n")
    return "".join(lines)


def type_lines(types: Iterable[tuple[str, str]], entities: frozenset[str]) -> str:
    """A type file for these entities, sorted, each pair once."""
    pairs = sorted({(key, one_line(kind)) for key, kind in types if key in entities})
    return "".join(f"{key}\t{kind}\n" for key, kind in pairs if kind)


def one_line(text: str) -> str:
    """A text with single spaces instead of tabs, line ends and other white space."""
    return " ".join(text.split())
