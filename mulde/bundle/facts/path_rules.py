"""Path rules: which paths between head and tail stand for a relation: ``rules.bin``.

A path is one to three directions, relation r or its reciprocal r + R, followed from the head to the
tail: ``(p1, p2)`` stands for r where (h, p1, a) and (a, p2, t) often mean (h, r, t).

Shape letters: R relations, n rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.storage.container import check_offsets, read_sections, write_sections
from mulde.typing import Array

MAGIC = b"MULDERUL"
VERSION = 1
LONGEST = 3
"""Most steps of a path."""
MOST_RULES = 1000
"""Most rules of one relation."""
NO_STEP = -1
"""Fills a path of fewer steps, at its end."""

_EXPECTED = {
    "sizes": ("u8",),
    "offsets": ("u4",),
    "steps": ("i4",),
    "support": ("u4",),
    "confidence": ("f4",),
    "sampled": ("u4",),
}


@dataclass(frozen=True)
class PathRules:
    """The rules of each relation, the most confident first.

    Attributes:
        num_relations: R.
        offsets: uint32 [R + 1]; relation r owns the rules ``offsets[r]`` to ``offsets[r + 1]``.
        steps: int32 [n, 3], directions in [0, 2R); shorter paths end with ``NO_STEP``.
        support: uint32 [n], of the relation's facts that were looked at, those that the path
            connects.
        confidence: float32 [n] in (0, 1]: of the entities that the path reaches from heads of the
            relation, the share that train gives as tails.
        sampled: uint32 [R], train facts of each relation that were looked at.
    """

    num_relations: int
    offsets: NDArray[np.uint32]
    steps: NDArray[np.int32]
    support: NDArray[np.uint32]
    confidence: NDArray[np.float32]
    sampled: NDArray[np.uint32]

    def __len__(self) -> int:
        """Number of rules, n."""
        return len(self.steps)

    def of(self, relation: int) -> slice:
        """Return which rules are those of a relation in [0, R)."""
        return slice(int(self.offsets[relation]), int(self.offsets[relation + 1]))

    def write(self, path: Path) -> None:
        """Write ``rules.bin``, a new file."""
        arrays: dict[str, Array] = {
            "sizes": np.array([self.num_relations], dtype=np.uint64),
            "offsets": self.offsets,
            "steps": self.steps.reshape(-1),
            "support": self.support,
            "confidence": self.confidence,
            "sampled": self.sampled,
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path) -> PathRules:
        """Map a ``rules.bin`` and check all of it, which takes microseconds.

        Raises:
            BundleError: if it is missing, damaged or foreign.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        sizes, offsets, steps, support, confidence, sampled = (arrays[name] for name in _EXPECTED)
        if sizes.size != 1 or sizes[0] >= 2**30 or steps.size != LONGEST * support.size:
            raise BundleError(path, f"expected one size, and {LONGEST} steps for each rule")
        shaped = steps.reshape(-1, LONGEST)
        rules = cls(int(sizes[0]), offsets, shaped, support, confidence, sampled)
        rules._check_content(path)
        return rules

    def _check_content(self, path: Path) -> None:
        count, relations = len(self), self.num_relations
        lengths = len(self.offsets), len(self.confidence), len(self.sampled)
        if lengths != (relations + 1, count, relations):
            raise BundleError(path, f"its sections do not fit {count} rules, {relations} relations")
        check_offsets(path, "offsets", self.offsets, count)
        offsets = self.offsets.astype(np.int64)
        counts = offsets[1:] - offsets[:-1]
        if (counts > MOST_RULES).any():
            raise BundleError(path, f"expected at most {MOST_RULES} rules of a relation")
        steps, ended = self.steps, self.steps == NO_STEP
        if ((steps < NO_STEP) | (steps >= 2 * relations)).any() or ended[:, 0].any():
            raise BundleError(path, f"a step is outside {2 * relations} directions")
        if (ended[:, 1:] < ended[:, :-1]).any():
            raise BundleError(path, "a path goes on after its end")
        if not ((self.confidence > 0) & (self.confidence <= 1)).all():
            raise BundleError(path, "a confidence is not above 0 and at most 1")
        owners = np.repeat(np.arange(relations), counts)
        if (self.support > self.sampled[owners]).any():
            raise BundleError(path, "the support of a rule exceeds the facts that were looked at")
