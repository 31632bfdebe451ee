"""How much memory a training takes, and which models fit into a budget.

Shape letters: E entities, R relations, D dimension, Q distinct queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.auto.candidates import Size
from training.recipe import ScorerSettings, Training

GB = 1e9
_BASE = 0.45 * GB
"""Python with torch, FAISS and ONNX Runtime, measured."""

_VALIDATED = 512
"""Queries that a validation scores at once."""

_COPIES = {"adam": 5.0, "adagrad": 4.0}
"""Weights, gradient, moments, and what a checkpoint holds for a moment."""


@dataclass(frozen=True)
class Memory:
    """A budget for one graph.

    Attributes:
        size: of the graph.
        budget: bytes; infinite for none.
    """

    size: Size
    budget: float = float("inf")

    @classmethod
    def of(cls, size: Size, gigabytes: float | None) -> Memory:
        """Return a budget of that many gigabytes, or of what the machine has free."""
        free = _available() if gigabytes is None else gigabytes * GB
        return cls(size, free)

    def fits(self, model: ScorerSettings, training: Training) -> bool:
        """Return whether a training stays within the budget."""
        return self.bytes_of(model, training) <= self.budget

    def bytes_of(self, model: ScorerSettings, training: Training) -> float:
        """Estimate the peak of a training, the graph included."""
        entities, relations, d = self.size.entities, self.size.relations, model.dimension
        own = d * d if model.scorer == "RESCAL" else 3 * d
        table = 4.0 * (entities * (d + 2) + 2 * relations * own)
        scores = 2 * 4.0 * _VALIDATED * entities
        graph = 200.0 * self.size.queries + 300.0 * entities
        return _BASE + _COPIES[training.optimiser] * table + scores + graph


def _available() -> float:
    """Bytes that the system says are free for use; infinite where it does not say."""
    path = Path("/proc/meminfo")
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * found[0] if found else float("inf")
