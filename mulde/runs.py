"""Places of runs that lie one after another in one array.

Shape letters: n runs, m places of all of them.
"""

from __future__ import annotations

import numpy as np

from mulde.typing import Ints, Rows


def run_places(starts: Ints | int, sizes: Ints) -> Rows:
    """Return ``start, start + 1, .., start + size - 1`` of each run, run after run, [m].

    Args:
        starts: [n], signed; one number for all.
        sizes: [n], signed, at least 0.
    """
    places = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    places += np.arange(len(places))
    return places


def run_owners(sizes: Ints) -> Rows:
    """Return the number of the run that each place belongs to, [m]; ``sizes`` [n]."""
    return np.repeat(np.arange(len(sizes)), sizes)
