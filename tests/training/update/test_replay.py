"""Which queries an epoch of an update takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mulde.typing import Mask
from training.update.replay import LEAST, PER_CHANGE, Replay


def changed(count: int, queries: int) -> Mask:
    marks = np.zeros(queries, bool)
    marks[:count] = True
    return marks


@pytest.mark.parametrize(
    ("count", "queries", "share", "repeated"),
    [
        (4_000, 12_000, 0.5, 4_000),
        (4_000, 12_000, 1.0, 8_000),
        (5, 1_000_000, 1.0, LEAST),
        (2_000, 1_000_000, 1.0, 2_000 * PER_CHANGE),
        (5, 1_000_000, 0.0, 0),
    ],
)
def test_an_epoch_takes_all_that_changed_and_others_in_proportion(
    count: int, queries: int, share: float, repeated: int
) -> None:
    epochs = Replay(changed(count, queries), share)
    rows = epochs.order(torch.Generator().manual_seed(0))
    assert len(epochs) == len(rows) == len(rows.unique()) == count + repeated
    assert int((rows < count).sum()) == count


def test_epochs_repeat_different_samples() -> None:
    epochs, generator = Replay(changed(10, 1_000), 0.3), torch.Generator().manual_seed(0)
    first, second = (set(epochs.order(generator).tolist()) for _ in range(2))
    assert 0 < len(first & second) - 10 < 200
