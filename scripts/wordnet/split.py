"""Links -> train, valid and test without leaks.

All links between the same two synsets stay together, whatever their relation and direction, so no
held-out fact is repeated, reversed or paraphrased in train. A spanning forest stays in train, so
every synset of valid and test occurs there, and a connected graph stays connected.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from scripts.wordnet.database import Links

Splits = dict[str, Links]


def split(links: Links, names: tuple[str, ...], held_out: float, seed: str) -> Splits:
    """Divide links [L, 3]; valid and test get a fraction ``held_out`` of the pairs each.

    The order is that of digests of names, so the result depends on no library's random numbers.
    """
    pairs, pair = np.unique(np.sort(links[:, [0, 2]], axis=1), axis=0, return_inverse=True)
    order = _shuffled(pairs, names, seed)
    free = order[~np.isin(order, _spanning_forest(pairs, order, len(names)))]
    size = round(held_out * len(pairs))
    if 2 * size > len(free):
        raise ValueError(f"expected at most {len(free) / 2 / len(pairs):.3f} to hold out")
    parts = {"valid": free[:size], "test": free[size : 2 * size]}
    masks = {name: np.isin(pair, part) for name, part in parts.items()}
    train = links[~(masks["valid"] | masks["test"])]
    return {"train": train, **{name: links[mask] for name, mask in masks.items()}}


def _shuffled(pairs: Links, names: tuple[str, ...], seed: str) -> NDArray[np.int64]:
    """Places of the pairs in the order of a digest of seed and names."""
    texts = [f"{seed}\t{names[a]}\t{names[b]}" for a, b in pairs.tolist()]
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    return np.array(sorted(range(len(texts)), key=digests.__getitem__))


def _spanning_forest(pairs: Links, order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Places of the pairs of the one spanning forest that prefers pairs late in the order."""
    weights = np.empty(len(pairs))
    weights[order] = np.arange(len(pairs), 0, -1)
    graph = coo_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    weights_kept = minimum_spanning_tree(graph.tocsr()).data.astype(np.int64)
    kept: NDArray[np.int64] = order[len(pairs) - weights_kept]
    return kept
