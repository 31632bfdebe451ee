"""How a scorer takes part in the evaluation that mulde.evaluation defines."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.evaluation import Scores
from training.scorers import Scorer


def scores_of(scorer: Scorer) -> Scores:
    """A scorer as a function of numpy rows: (entity [B], relation [B]) -> scores [B, E]."""
    device = next(scorer.parameters()).device

    @torch.inference_mode()
    def scores(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = (torch.from_numpy(array).to(device) for array in (entity, relation))
        found: NDArray[np.float32] = scorer.score_shared(scorer.query(*rows)).cpu().numpy()
        return found

    return scores
