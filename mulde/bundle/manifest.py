"""The description of a bundle: ``manifest.json``, validated by pydantic."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from mulde.bundle.table.entity_table import Layout, Precision
from mulde.errors import BundleError
from mulde.evaluation.self_loops import loopless
from mulde.storage.json_document import STRICT, load_json, parse_json
from mulde.typing import Mask

FORMAT_VERSION = 3
"""2 added ``loops`` and ``traits``; 3 binds the files to each other (``mulde.bundle.model_id``)."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model, a version, a scorer family and a file of a bundle may be called."""

IndexType = Literal["int8", "table", "ivf"]
REMOVED_INDEX_TYPES = ("fp32", "sq8", "pq")
"""Index types of older bundles that this release cannot search."""

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

Figures = dict[str, dict[str, Share]]
"""Direction ("tail", "head", "total") -> figure ("mrr", "hits@1", "hits@3", "hits@10")."""


@dataclass(frozen=True, config=STRICT)
class Score:
    """How the inner product becomes a score; u is cosh(sqrt(c) d) - 1.

    Attributes:
        kind: "linear": the product and two offsets are the score; "distance": -acosh(1 + u)^2 / c
            and the biases, by which fetched rows are re-scored.
        curvature: c > 0; the space has curvature -c.
    """

    kind: Literal["linear", "distance"]
    curvature: Positive


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """The graph that the model was trained on.

    Attributes:
        sha256: over the three splits as text with LF.
        counts: number of triples per split.
    """

    name: str
    sha256: Digest
    counts: dict[str, Whole]


@dataclass(frozen=True, config=STRICT)
class RecipeStamp:
    """Name and digest of the recipe in ``recipe.toml``."""

    name: str
    sha256: Digest


@dataclass(frozen=True, config=STRICT)
class FileStamp:
    """Size and digest of one file."""

    bytes: Whole
    sha256: Digest


@dataclass(frozen=True, config=STRICT)
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
    bytes: Whole
    private_bytes: Whole
    recall: Share
    certified: Share
    single_us: float
    exact_us: float
    batch_us: float
    cells: Whole = 0
    probes: Whole = 0
    fetched: Whole = 0


@dataclass(frozen=True, config=STRICT)
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
    cells: Whole = 0
    probes: Whole = 0
    fetched: Whole = 0
    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parameters that do not fit the type."""
        if self.kind == "ivf" and not 1 <= self.probes <= self.cells:
            raise ValueError(f"probes: expected 1 to cells, found {self.probes}")
        if self.kind == "ivf" and self.fetched < 1:
            raise ValueError(f"fetched: expected at least 1, found {self.fetched}")


def _iso(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expected a time in ISO 8601, found {text!r}") from error
    return text


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """The description of a bundle.

    Attributes:
        format_version: of the bundle; a reader knows its own and all older ones.
        name, version: of the model, as in ``NAME/VERSION/`` of a model repository.
        created: UTC, ISO 8601, such as "2026-01-31T12:00:00Z".
        family: of the scorer, such as "RotH".
        score: how to score.
        loops: relations in which an entity may be the answer to its own query, rows in [0, R);
            None: all. In the others it is left out (``mulde.evaluation.self_loops``).
        traits: J, numbers of an entity besides its point (``mulde.bundle.table.entity_table``).
        text: how many of them, the last ones, are made of the entity's label and description.
        dimension: D of the points; width: W of the table (``mulde.bundle.table.entity_table``).
        precision: in which the table is stored.
        entities, relations: E and R (without reciprocal relations).
        libraries: versions that made the bundle.
        quality: filtered figures per split, of ranking new facts: by score + prior, self-loops left
            out; measured on the table as stored, in [0, 1].
        scorer_quality: the same of the scorer alone, comparable with papers; empty in bundles that
            were written before there was a difference.
        checks: what the exporter measured when it reopened the bundle.
        index: how candidates are found.
        job: digest of the command and the inputs that made the bundle (``mulde.bundle.job``);
            empty: not recorded.
        files: every file but the manifest and its digest.
    """

    name: Name
    version: Name
    created: Annotated[str, AfterValidator(_iso)]
    family: Name
    score: Score
    dimension: Count
    width: Count
    precision: Precision
    entities: Count
    relations: Count
    dataset: Dataset
    recipe: RecipeStamp
    loops: tuple[Whole, ...] | None = None
    traits: Whole = 0
    text: Whole = 0
    libraries: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Figures] = field(default_factory=dict)
    scorer_quality: dict[str, Figures] = field(default_factory=dict)
    checks: dict[str, float] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    job: Digest | Literal[""] = ""
    files: dict[Name, FileStamp] = field(default_factory=dict)
    format_version: Count = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        if self.width != self.layout.width:
            raise ValueError(f"width: expected {self.layout.width}, found {self.width}")
        if self.score.kind == "distance" and self.layout.prior_count:
            expected = "none besides text with a score of kind distance, which is not linear"
            raise ValueError(f"traits: expected {expected}, found {self.layout.prior_count}")
        rows = (-1, *(self.loops or ()), self.relations)
        if any(before >= after for before, after in pairwise(rows)):
            expected = f"rows of {self.relations} relations, ascending"
            raise ValueError(f"loops: expected {expected}, found {list(self.loops or ())}")

    @property
    def loopless(self) -> Mask:
        """[2R]: relations, and reciprocal ones, in which an entity is not its own answer."""
        return loopless(self.loops, self.relations)

    @property
    def layout(self) -> Layout:
        """The columns of the table."""
        return Layout(self.dimension, self.traits, self.text)

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
        data = load_json(path, text)
        version = data.get("format_version") if isinstance(data, dict) else None
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            expected = f"expected format_version 1 to {FORMAT_VERSION}"
            raise BundleError(path, f"{expected}, found {version!r}")
        _refuse_removed_index(path, data.get("index"))
        return parse_json(cls, path, text)


def _refuse_removed_index(path: Path, index: object) -> None:
    """Refuse an index type of an older release, and say what to do."""
    kind = index.get("kind") if isinstance(index, dict) else None
    if kind in REMOVED_INDEX_TYPES:
        expected = f"index.kind: expected one of {', '.join(get_args(IndexType))}"
        removed = f"found {kind!r}, which this release no longer has"
        raise BundleError(path, f"{expected}; {removed}: export the checkpoint again")


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
