"""What a bundle says about itself: ``manifest.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import Layout, Precision
from mulde.errors import BundleError
from mulde.evaluation.self_loops import loopless
from mulde.storage.dataclass_decoder import Mismatch, decode

FORMAT_VERSION = 2
"""2 has ``loops`` and ``traits``; a bundle of version 1 leaves no loops out and has no traits."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model, a version, a family and a file of a bundle may be called."""

Figures = dict[str, dict[str, float]]
"""Direction ("tail", "head", "total") -> figure ("mrr", "hits@1", "hits@3", "hits@10")."""

IndexType = Literal["int8", "table", "ivf"]
REMOVED_INDEX_TYPES = ("fp32", "sq8", "pq")
"""Index types of older bundles that this release cannot search."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Score:
    """How the inner product becomes a score; u is cosh(sqrt(c) d) - 1.

    Attributes:
        kind: "linear": the product and two offsets are the score; "distance": -acosh(1 + u)^2 / c
            and the biases, by which fetched rows are re-scored.
        curvature: c > 0; the space has curvature -c.
    """

    kind: Literal["linear", "distance"]
    curvature: float


@dataclass(frozen=True)
class Dataset:
    """The graph that trained the model.

    Attributes:
        sha256: over the three splits as text with LF.
        counts: number of triples per split.
    """

    name: str
    sha256: str
    counts: dict[str, int]


@dataclass(frozen=True)
class RecipeStamp:
    """The recipe that trained the model, as in ``recipe.toml``."""

    name: str
    sha256: str


@dataclass(frozen=True)
class FileStamp:
    """Size and digest of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Trial:
    """Cost and recall of one index type, measured on the machine of the export.

    Attributes:
        kind: of the index; a trial of an older release may name a type that was removed since.
        cells, probes, fetched: as in ``Index``.
        bytes: of the bundle's table and codes together.
        private_bytes: of each process besides, for a copy of its own.
        recall: share of the exhaustive top 10 that is found without asking for exactness.
        certified: share of answers that are certain without asking.
        single_us: median microseconds of one query, as approximate as ``recall`` says.
        exact_us: the same, asked for exactness.
        batch_us: a query's share of a batch of 256, exact.
    """

    kind: str
    bytes: int
    private_bytes: int
    recall: float
    certified: float
    single_us: float
    exact_us: float
    batch_us: float
    cells: int = 0
    probes: int = 0
    fetched: int = 0


@dataclass(frozen=True)
class Index:
    """How candidates are found (``serving/engine/index/base.py`` describes the types).

    Attributes:
        kind: the index type.
        cells: number of inverted lists of the table; "ivf" only.
        probes: lists that are searched for a query; "ivf" only.
        fetched: rows that are scored beyond those that are asked for; "ivf" only.
        trials: the types that the export measured.
    """

    kind: IndexType = "int8"
    cells: int = 0
    probes: int = 0
    fetched: int = 0
    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an index that cannot be.

        Raises:
            Mismatch: naming the field.
        """
        if self.kind == "ivf" and not 1 <= self.probes <= self.cells:
            raise Mismatch("index.probes", "1 to index.cells", self.probes)
        if self.kind == "ivf" and self.fetched < 1:
            raise Mismatch("index.fetched", "at least 1", self.fetched)


@dataclass(frozen=True)
class Manifest:
    """Everything that a server or a person asks of a bundle before using it.

    Attributes:
        format_version: of the bundle; a reader knows its own and all older ones.
        name, version: of the model, as in ``NAME/VERSION/`` of a model repository.
        created: UTC, ISO 8601, such as "2026-01-31T12:00:00Z".
        family: of the scorer, such as "lorentz" or "roth".
        score: how to score.
        loops: relations in which an entity may be the answer to its own query, rows in [0, R);
            None: all. In the others it is left out (``mulde.evaluation.self_loops``).
        traits: J, numbers of an entity besides its point (``mulde.bundle.entity_table``).
        dimension: D of the points; width: W of the table (``mulde.bundle.entity_table``).
        precision: in which the table is stored.
        entities, relations: E and R (without reciprocal relations).
        libraries: versions that made the bundle.
        quality: filtered figures per split, measured on the table as stored.
        checks: what the exporter measured when it reopened the bundle.
        index: how candidates are found.
        files: every file but the manifest and its digest.
    """

    name: str
    version: str
    created: str
    family: str
    score: Score
    dimension: int
    width: int
    precision: Precision
    entities: int
    relations: int
    dataset: Dataset
    recipe: RecipeStamp
    loops: tuple[int, ...] | None = None
    traits: int = 0
    libraries: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Figures] = field(default_factory=dict)
    checks: dict[str, float] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    files: dict[str, FileStamp] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse values that no bundle can have.

        Raises:
            Mismatch: naming the field.
        """
        for where, value, pattern in self._patterned():
            if not pattern.fullmatch(value):
                raise Mismatch(where, f"a text like {pattern.pattern}", value)
        for where in ("dimension", "entities", "relations"):
            if getattr(self, where) < 1:
                raise Mismatch(where, "at least 1", getattr(self, where))
        if self.traits < 0:
            raise Mismatch("traits", "at least 0", self.traits)
        if self.width != self.layout.width:
            raise Mismatch("width", str(self.layout.width), self.width)
        if not _ascending((-1, *(self.loops or ()), self.relations)):
            expected = f"rows of {self.relations} relations, ascending"
            raise Mismatch("loops", expected, list(self.loops or ()))
        if self.score.curvature <= 0:
            raise Mismatch("score.curvature", "a number above 0", self.score.curvature)
        try:
            datetime.fromisoformat(self.created)
        except ValueError as error:
            raise Mismatch("created", "a time in ISO 8601", self.created) from error

    def _patterned(self) -> list[tuple[str, str, re.Pattern[str]]]:
        stamps = self.files.items()
        return [
            ("name", self.name, NAME),
            ("version", self.version, NAME),
            ("family", self.family, NAME),
            ("dataset.sha256", self.dataset.sha256, _DIGEST),
            ("recipe.sha256", self.recipe.sha256, _DIGEST),
            *(("files", name, NAME) for name, _ in stamps),
            *((f"files.{name}.sha256", stamp.sha256, _DIGEST) for name, stamp in stamps),
        ]

    @property
    def loopless(self) -> NDArray[np.bool_]:
        """[2R]: relations, and reciprocal ones, in which an entity is not its own answer."""
        return loopless(self.loops, self.relations)

    @property
    def layout(self) -> Layout:
        """The columns of the table."""
        return Layout(self.dimension, self.traits)

    def to_json(self) -> str:
        """Text of ``manifest.json``; equal manifests give equal bytes."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, path: Path, text: str | bytes) -> Manifest:
        """Read ``manifest.json``.

        Args:
            path: where it came from, for messages.
            text: its content.

        Raises:
            BundleError: if it is not JSON, has another format version, or a field that is unknown,
                missing or wrong.
        """
        try:
            data = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise BundleError(path, f"expected JSON: {error}") from error
        version = data.get("format_version") if isinstance(data, dict) else None
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            expected = f"expected format_version 1 to {FORMAT_VERSION}"
            raise BundleError(path, f"{expected}, found {version!r}")
        _refuse_removed_index(path, data.get("index"))
        try:
            return decode(cls, data)
        except Mismatch as error:
            raise BundleError(path, str(error)) from error


def _refuse_removed_index(path: Path, index: object) -> None:
    """Refuse an index type of an older release, and say what to do."""
    kind = index.get("kind") if isinstance(index, dict) else None
    if kind in REMOVED_INDEX_TYPES:
        expected = f"index.kind: expected one of {', '.join(get_args(IndexType))}"
        removed = f"found {kind!r}, which this release no longer has"
        raise BundleError(path, f"{expected}; {removed}: export the checkpoint again")


def _ascending(rows: tuple[int, ...]) -> bool:
    return all(before < after for before, after in pairwise(rows))


def describe(index: Index | Trial) -> str:
    """Return an index type and its parameters as text."""
    parts: list[str] = [index.kind]
    if index.cells:
        parts.append(f"{index.probes} of {index.cells} cells")
    if index.fetched:
        parts.append(f"{index.fetched} more fetched")
    return ", ".join(parts)


def utc_now() -> str:
    """The time for ``Manifest.created``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _distinct(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in one table")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")
