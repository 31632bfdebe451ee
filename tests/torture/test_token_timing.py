"""Time tells nothing of a token: measured, coarsely, over many look-ups."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pytest

from serving.process.access.tokens import Tokens
from tests.torture.tools import Tally

KNOWN = 64
LENGTH = 43
ROUNDS = 20_000
MOST_DIFFERENCE = 0.03


@pytest.mark.torture
def test_the_time_of_a_look_up_tells_nothing_of_the_token(
    tmp_path: Path, generator: np.random.Generator, tally: Tally
) -> None:
    """Right, wrong in the first letter or the last, and unknown take the same median time."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    tokens = ["".join(generator.choice(letters, LENGTH)) for _ in range(KNOWN)]
    path = tmp_path / "tokens"
    path.write_text("".join(f"read {token}\n" for token in tokens))
    known = Tokens(path)
    first, last = tokens[0], tokens[-1]
    asked = {
        "first": first,
        "last": last,
        "wrong at the beginning": "-" + first[1:],
        "wrong at the end": first[:-1] + "-",
        "unknown": "-" * LENGTH,
    }
    times = np.zeros((len(asked), ROUNDS))
    order = list(enumerate(asked.values()))
    for turn in range(ROUNDS):
        for place, token in (order[i] for i in generator.permutation(len(order))):
            start = perf_counter_ns()
            known.role(token)
            times[place, turn] = perf_counter_ns() - start
    medians = np.median(times, axis=1)
    difference = float(medians.max() / medians.min() - 1)
    tally("tokens", look_ups=times.size, largest_difference_of_medians=difference)
    assert difference < MOST_DIFFERENCE, dict(zip(asked, medians, strict=True))
