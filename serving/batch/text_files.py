"""Answers as text: TSV, CSV for curators, N-Triples; each may be zipped.

Shape letters: A answers.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from serving.batch.rdf_terms import node, predicate_node
from serving.batch.records import COLUMNS, Join, Names, Records, Writer

_LEVEL = 6
_ESCAPES = str.maketrans({"\t": "\\t", "\r": "\\r", "\n": "\\n"})
_CURATED = ("accept", "subject", "predicate", "object")
_CURATED_TOLD = ("label", "probability", "score", "prior", "known")
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XSD = "http://www.w3.org/2001/XMLSchema#"
_STATEMENT = (
    f"_:q%dr%d <{_RDF}type> <{_RDF}Statement> .\n"
    f"_:q%dr%d <{_RDF}subject> %s .\n"
    f"_:q%dr%d <{_RDF}predicate> %s .\n"
    f"_:q%dr%d <{_RDF}object> %s .\n"
    f'_:q%dr%d <urn:mulde:score> "%r"^^<{_XSD}double> .\n'
)
_PROBABLE = f'_:q%dr%d <urn:mulde:probability> "%r"^^<{_XSD}double> .\n'


@dataclass(frozen=True)
class TextFile:
    """Text of lines; zipped, each part is a member of its own.

    Attributes:
        header: the first line, or nothing.
        lines: records as lines.
        zipped: with gzip.
    """

    header: bytes
    lines: Callable[[Records], bytes]
    zipped: bool = False

    def part(self, path: Path) -> Writer:
        """Begin a part."""
        return _TextWriter(path, self.lines, zipped=self.zipped)

    @contextmanager
    def whole(self, target: Path) -> Iterator[Join]:
        """Begin the file that parts are joined to."""
        with target.open("wb") as file:
            with _zipping(file, self.zipped) as stream:
                stream.write(self.header)

            def join(path: Path) -> None:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)

            yield join


class _TextWriter:
    def __init__(self, path: Path, lines: Callable[[Records], bytes], *, zipped: bool) -> None:
        self._file, self._lines, self._zipped = path.open("wb"), lines, zipped

    def write(self, records: Records) -> None:
        with _zipping(self._file, self._zipped) as stream:
            stream.write(self._lines(records))

    def close(self) -> None:
        self._file.close()


@contextmanager
def _zipping(file: BinaryIO, zipped: bool) -> Iterator[BinaryIO]:
    """The file, or a gzip member in it that tells neither name nor time."""
    if not zipped:
        yield file
        return
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
        yield cast("BinaryIO", stream)


def tsv(*, zipped: bool) -> TextFile:
    """Return the format of a table with all columns."""
    return TextFile(tab_separated([name] for name in COLUMNS), _table_lines, zipped)


def curated_csv(*, zipped: bool) -> TextFile:
    """Return the format of facts with an empty column ``accept`` for a curator."""
    header = (*_CURATED, "answer_label", *_CURATED_TOLD[1:])
    return TextFile(_csv([header]), _curated_lines, zipped)


def n_triples(*, zipped: bool) -> TextFile:
    """Return the format of RDF statements with a score and a probability, which assert nothing."""
    return TextFile(b"", _statements, zipped)


def tab_separated(columns: Iterable[list[str]]) -> bytes:
    """Rows of columns as lines; a tab or line end within a name is written as in Python."""
    lines = list(map("\t".join, zip(*map(_cleaned, columns), strict=True)))
    return "\n".join([*lines, ""]).encode()


def _cleaned(column: list[str]) -> list[str]:
    text = "".join(column)
    if not any(character in text for character in "\t\r\n"):
        return column
    return [name.translate(_ESCAPES) for name in column]


def _table_lines(records: Records) -> bytes:
    return tab_separated(_text(getattr(records, name)) for name in COLUMNS)


def _curated_lines(records: Records) -> bytes:
    columns = (
        [""] * len(records),
        *records.facts(),
        *(_text(getattr(records, name)) for name in _CURATED_TOLD),
    )
    return _csv(zip(*columns, strict=True))


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _statements(records: Records) -> bytes:
    """Reified statements: any RDF tool reads them, and none takes them for facts."""
    subjects, predicates, objects = records.facts()
    names = list(zip(records.query.tolist(), records.rank.tolist(), strict=True))
    rows = zip(
        names,
        map(node, subjects),
        map(predicate_node, predicates),
        map(node, objects),
        records.score.tolist(),
        records.probability.tolist(),
        strict=True,
    )
    return "".join(_statement(*row) for row in rows).encode()


def _statement(
    name: tuple[int, int], subject: str, predicate: str, value: str, score: float, chance: float
) -> str:
    told = _STATEMENT % (*name, *name, subject, *name, predicate, *name, value, *name, score)
    return told if np.isnan(chance) else told + _PROBABLE % (*name, chance)


def _text(column: Names | NDArray[Any]) -> list[str]:
    """A column as text: numbers so that they read back to the same bits; NaN is empty."""
    if isinstance(column, Names):
        return column.texts()
    if column.dtype == np.bool_:
        texts: list[str] = np.where(column, "true", "false").tolist()
        return texts
    if column.dtype == np.float64 and np.isnan(column).all():
        return [""] * len(column)
    return list(map(repr, column.tolist()))
