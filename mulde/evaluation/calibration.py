"""Score -> probability, one monotone map per direction: ``calibration.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.storage.dataclass_decoder import Mismatch, decode

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Curve:
    """A monotone, piecewise linear map; constant outside its knots.

    Attributes:
        scores: ascending, at least one.
        probabilities: for each score, in [0, 1], never falling.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a map that is not monotone.

        Raises:
            Mismatch: saying why.
        """
        if not self.scores or len(self.scores) != len(self.probabilities):
            found = f"{len(self.scores)} and {len(self.probabilities)}"
            raise Mismatch("curve", "as many scores as probabilities, at least one", found)
        steps = np.diff(self.scores), np.diff(self.probabilities)
        if (steps[0] <= 0).any() or (steps[1] < 0).any():
            raise Mismatch("curve", "rising scores and never falling probabilities", "others")
        if not 0 <= self.probabilities[0] <= self.probabilities[-1] <= 1:
            ends = self.probabilities[0], self.probabilities[-1]
            raise Mismatch("curve.probabilities", "numbers in [0, 1]", ends)

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities of scores [B], in [0, 1]; NaN stays NaN."""
        return np.asarray(np.interp(scores, self.scores, self.probabilities), dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """Probabilities for the answers of tail and of head queries.

    Attributes:
        tail, head: the maps.
        event: what a probability is the probability of, in words.
        error: per direction, the expected calibration error on the test split, where measured.
    """

    tail: Curve
    head: Curve
    event: str
    error: dict[str, float]

    def probabilities(
        self, scores: NDArray[np.floating], reciprocal: NDArray[np.bool_] | bool
    ) -> NDArray[np.float64]:
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
            return decode(cls, json.loads(path.read_text(encoding="utf-8")))
        except Mismatch as error:
            raise BundleError(path, str(error)) from error
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(path, f"cannot be read: {error}") from error
