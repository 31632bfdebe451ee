"""The queries of an epoch of an update: all that changed, and a sample of the others.

Shape letters: Q queries, C those that changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mulde.typing import Mask

PER_CHANGE, LEAST = 8, 10_000


class Replay:
    """Draws the queries of each epoch.

    Args:
        changed: [Q], queries that gained or lost an answer.
        share: of the other queries that an epoch repeats, in [0, 1]; another sample each time.
            Few changes repeat fewer: at most ``PER_CHANGE`` for each, or ``LEAST`` in all.
    """

    def __init__(self, changed: Mask, share: float) -> None:
        marks = torch.from_numpy(changed)
        self.changed, self._others = marks.nonzero().squeeze(1), (~marks).nonzero().squeeze(1)
        most = max(LEAST, PER_CHANGE * len(self.changed))
        self._repeated = min(round(share * len(self._others)), most)

    def __len__(self) -> int:
        """Queries of an epoch."""
        return len(self.changed) + self._repeated

    def order(self, generator: torch.Generator) -> Tensor:
        """Rows of the queries of one epoch, shuffled."""
        drawn = torch.randperm(len(self._others), generator=generator)[: self._repeated]
        rows = torch.cat([self.changed, self._others[drawn]])
        return rows[torch.randperm(len(rows), generator=generator)]
