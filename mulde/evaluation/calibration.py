"""Scores to probabilities: ``calibration.json``.

Two numbers, fitted on valid alone:

- the *probability* of a ranked candidate is the chance that it is a held-out fact of the query;
- the *plausibility* of a triple is the chance that it is true rather than the same triple with
  another tail of its relation, at a base rate of true triples.

Each is a sigmoid of a sum of strictly increasing curves, one curve for each score of an item. Each
relation has parameters of its own, shrunk to those of all (``training.export.calibration``):

    logit = intercept_g + sum_f sum_k slope_gfk ramp_k(z_f),   z_f = (x_f - centre_gf) / scale_gf

``ramp_k`` rises smoothly between two ``KNOTS``; the sum of all ramps is z.

Shape letters: N items, G groups (relations R, or relation rows 2R), F scores of an item, K ramps.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mulde.errors import BundleError
from mulde.storage.json_document import STRICT, load_json, parse_json
from mulde.typing import Array, Float64, Floats, Ints

BASE_RATE = 0.5
KNOTS = (-1.5, -0.5, 0.5, 1.5)
SHARPNESS = 3.0
"""Of the bend at a knot."""
_KNOTS = np.array(KNOTS)

_MAX_BYTES = 16 << 20

Row = tuple[float, ...]
Positive = Annotated[float, Field(gt=0)]
PositiveRow = tuple[Positive, ...]


def ramps(values: Floats) -> Float64:
    """Return the ramps [..., K] of standardised scores [...]; their sum is the score."""
    ends = [values[..., None], bends(values), np.zeros_like(values)[..., None]]
    joined = np.concatenate(ends, axis=-1)
    steps: Float64 = joined[..., :-1] - joined[..., 1:]
    return steps


def bends(values: Floats) -> Float64:
    """Return softplus(s (z - knot)) / s [..., K - 1] of standardised scores z [...]; s: sharpness.

    The first ramp is z less the first bend; the others are differences of neighbouring bends.
    """
    far = SHARPNESS * (values[..., None] - _KNOTS)
    # log(1 + e^far), faster than logaddexp
    found: Float64 = (np.maximum(far, 0.0) + np.log1p(np.exp(-np.abs(far)))) / SHARPNESS
    return found


@dataclass(frozen=True, config=STRICT)
class Curves:
    """Strictly increasing maps from scores to probabilities, one for each group.

    Attributes:
        intercept: [G].
        centre: [G, F].
        scale: [G, F], above 0.
        slope: [G, F, K], above 0.
        floor: least distance of a probability from 0 and 1: one of N facts cannot show a chance
            below 1 in N.
    """

    intercept: Row
    centre: tuple[Row, ...]
    scale: tuple[PositiveRow, ...]
    slope: tuple[tuple[PositiveRow, ...], ...]
    floor: Annotated[float, Field(gt=0, lt=0.5)]

    def __post_init__(self) -> None:
        """Refuse parameters of different shapes."""
        try:
            intercept, centre, scale, slope = self._arrays
        except ValueError:
            raise ValueError("expected rows of equal length, found others") from None
        expected = (*centre.shape, len(KNOTS) + 1)
        if centre.ndim != 2 or scale.shape != centre.shape or slope.shape != expected:
            raise ValueError(f"slope: expected the shape {expected}, found {slope.shape}")
        if intercept.shape != centre.shape[:1] or not centre.size:
            raise ValueError(f"intercept: expected {len(centre)} numbers, found {len(intercept)}")

    @cached_property
    def _arrays(self) -> tuple[Array, Array, Array, Array]:
        parts = self.intercept, self.centre, self.scale, self.slope
        intercept, centre, scale, slope = (np.array(part, dtype=np.float64) for part in parts)
        return intercept, centre, scale, slope

    @property
    def shape(self) -> tuple[int, int]:
        """G and F."""
        return len(self.centre), len(self.centre[0])

    @cached_property
    def _rows(self) -> Float64:
        """Centre, scale, first slope, and by how much each slope exceeds the last, [G, F, K + 2].

        In one array, so that the parameters of an item are read at once.
        """
        _, centre, scale, slope = self._arrays
        columns = [centre[..., None], scale[..., None], slope[..., :1], np.diff(slope)]
        return np.concatenate(columns, axis=-1)

    def logits(self, scores: Floats, groups: Ints) -> Float64:
        """Logits [N] of items with scores [N, F] in groups [N].

        Summed by bends instead of ramps: slope_0 z + sum_k (slope_k - slope_k-1) bend_k(z).
        """
        rows = self._rows.take(groups, axis=0)
        z = (scores - rows[..., 0]) / rows[..., 1]
        curves = rows[..., 2] * z + np.vecdot(rows[..., 3:], bends(z))
        found: Float64 = self._arrays[0].take(groups) + np.add.reduce(curves, axis=1)
        return found

    def probabilities(self, logits: Floats) -> Float64:
        """Probabilities [N] of logits [N], in [floor, 1 - floor]."""
        share = np.exp(-np.logaddexp(0.0, -logits))
        found: Float64 = self.floor + (1 - 2 * self.floor) * share
        return found


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """What turns the scores of a model into probabilities and plausibilities.

    Attributes:
        new_facts: probability of candidates ranked by score + prior; F is 1, G is 2R.
        all_facts: probability of candidates ranked by the scorer alone, likewise.
        triples: plausibility; F is 2, the scores of the tail and of the head; G is R.
        bias_weights: weights in the plausibility's logit of the head's tail bias and head bias, and
            of the tail's tail bias and head bias.
        version: of this file.
        model_id: see ``mulde.bundle.model_id``; empty until the bundle is sealed.
    """

    new_facts: Curves
    all_facts: Curves
    triples: Curves
    bias_weights: tuple[float, float, float, float]
    version: Literal[2] = 2
    model_id: str = ""

    def __post_init__(self) -> None:
        """Refuse curves for other items."""
        relations = self.relations
        for name, expected in (
            ("new_facts", (2 * relations, 1)),
            ("all_facts", (2 * relations, 1)),
            ("triples", (relations, 2)),
        ):
            found = getattr(self, name).shape
            if found != expected:
                raise ValueError(f"{name}: expected the shape {expected}, found {found}")

    @property
    def relations(self) -> int:
        """R."""
        return self.triples.shape[0]

    def probability(self, ranked_by: Floats, relations: Ints, *, priors: bool) -> Float64:
        """Return the chance [N] that candidates are held-out facts of their queries.

        Args:
            ranked_by: [N], what candidates are ranked by: score + prior, or the score.
            relations: [N], rows in [0, 2R).
            priors: which of the two it is.
        """
        curves = self.new_facts if priors else self.all_facts
        return curves.probabilities(curves.logits(ranked_by[:, None], relations))

    def plausibility(
        self,
        tail_scores: Floats,
        head_scores: Floats,
        relations: Ints,
        biases: Floats,
        base_rate: float = BASE_RATE,
    ) -> Float64:
        """Return the chance [N] that triples are true rather than corrupted.

        Args:
            tail_scores: [N], of the tail as an answer, by the scorer alone.
            head_scores: [N], of the head as an answer, likewise.
            relations: [N], rows in [0, R).
            biases: [N, 4], in the order of ``bias_weights``.
            base_rate: share of true triples among those that are asked about, above 0, below 1.
        """
        logits = self.triples.logits(np.column_stack([tail_scores, head_scores]), relations)
        # Not a matrix product: its sums may depend on what else is in the batch.
        logits += (biases * np.array(self.bias_weights)).sum(axis=1)
        return self.triples.probabilities(logits + np.log(base_rate / (1 - base_rate)))

    def to_json(self) -> str:
        """Text of ``calibration.json``."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Calibration | None:
        """Read a ``calibration.json``.

        Returns:
            None for a file of version 1, whose probabilities had another meaning.

        Raises:
            BundleError: if it is missing, damaged or not increasing.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise BundleError(path, f"expected at most {_MAX_BYTES} bytes")
            text = path.read_bytes()
        except OSError as error:
            raise BundleError(path, f"cannot be read: {error}") from error
        found = load_json(path, text)
        if isinstance(found, dict) and {"tail", "head"} <= set(found):
            return None
        return parse_json(cls, path, text)
