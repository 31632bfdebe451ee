"""Score -> probability, one monotone map per direction: ``calibration.json``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mulde.errors import BundleError
from mulde.storage.json_document import STRICT, parse_json
from mulde.typing import Float64, Floats, Mask

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, config=STRICT)
class Curve:
    """A monotone, piecewise linear map; constant outside its knots.

    Attributes:
        scores: ascending, at least one.
        probabilities: for each score, in [0, 1], never falling.
    """

    scores: Annotated[tuple[float, ...], Field(min_length=1)]
    probabilities: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    def __post_init__(self) -> None:
        """Refuse a map that is not monotone."""
        if len(self.scores) != len(self.probabilities):
            found = f"{len(self.scores)} and {len(self.probabilities)}"
            raise ValueError(f"scores and probabilities: expected as many of both, found {found}")
        if (np.diff(self.scores) <= 0).any():
            raise ValueError("scores: expected rising numbers, found others")
        if (np.diff(self.probabilities) < 0).any():
            raise ValueError("probabilities: expected never falling numbers, found others")

    def __call__(self, scores: Floats) -> Float64:
        """Probabilities of scores [B], in [0, 1]; NaN stays NaN."""
        return np.asarray(np.interp(scores, self.scores, self.probabilities), dtype=np.float64)


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """Probabilities for the answers of tail and of head queries.

    Attributes:
        tail, head: the maps.
        event: what a probability is the probability of, in words.
        error: per direction, the expected calibration error on the test split, where measured.
        model_id: see ``mulde.bundle.model_id``; empty until the bundle is sealed.
    """

    tail: Curve
    head: Curve
    event: str
    error: dict[str, float]
    model_id: str = ""

    def probabilities(self, scores: Floats, reciprocal: Mask | bool) -> Float64:
        """Probabilities of scores [B].

        Args:
            scores: [B], as the engine returns them.
            reciprocal: [B] or one for all, whether the relation row is R or more (a head query).
        """
        return np.where(reciprocal, self.head(scores), self.tail(scores))

    def to_json(self) -> str:
        """Text of ``calibration.json``."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a ``calibration.json``.

        Raises:
            BundleError: if it is missing, damaged or not monotone.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise BundleError(path, f"expected at most {_MAX_BYTES} bytes")
            text = path.read_bytes()
        except OSError as error:
            raise BundleError(path, f"cannot be read: {error}") from error
        return parse_json(cls, path, text)
