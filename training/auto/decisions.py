"""What a fit decided and why, for its report and card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mulde.storage.atomic import new_file

Say = Callable[[str], None]
"""Is told of every decision."""


@dataclass
class Decisions:
    """What was decided and why, for the report and the card.

    Attributes:
        race: one row for each candidate, the best first.
        trained: one row for each model after the race.
        left_out: candidates that were not tried, and why.
        chosen: the model that was exported: ``junior``, ``baseline`` or ``race``.
        why: one sentence.
        popularity: MRR on test of ranking answers by how often train gives them.
        seconds: of each part.
    """

    race: list[dict[str, Any]] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    chosen: str = ""
    why: str = ""
    popularity: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Decisions:
        """Read what an earlier run of the same fit decided."""
        return cls(**json.loads(path.read_bytes()))

    def write(self, path: Path) -> None:
        """Write whole or not at all, over what a kill may have left."""
        with new_file(path) as draft:
            draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
