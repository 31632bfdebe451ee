"""Labels and descriptions -> features.

Shape letters: E entities, F features, C features of one view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from mulde.errors import DatasetError
from mulde.graph.lines import read_text
from mulde.typing import Float32

LABELS = "labels.tsv"
CHARACTERS, WORDS = 192, 256
"""Features of the label's characters, and of all words."""


def read_texts(folder: Path, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return labels and descriptions of ``ids``, empty where the graph's folder has none.

    Raises:
        DatasetError: if ``labels.tsv`` is missing or damaged.
    """
    path = folder / LABELS
    if not path.is_file():
        raise DatasetError(path, "expected this file: text columns need labels; found none")
    fields = [line.split("\t") for line in read_text(path).splitlines()]
    known = {row[0]: [*row[1:], "", ""][:2] for row in fields}
    texts = [known.get(key, ["", ""]) for key in ids]
    return [label for label, _ in texts], [description for _, description in texts]


def text_features(labels: Sequence[str], descriptions: Sequence[str], seed: int) -> Float32:
    """Return [E, F]: TF-IDF of the label's characters and of all words, reduced by SVD.

    Each view has rows of length 1 (0 for an empty text); the whole has mean 0 and variance 1.
    """
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True, dtype=np.float32
    )
    words = TfidfVectorizer(token_pattern=r"\w+", min_df=2, sublinear_tf=True, dtype=np.float32)
    both = [f"{label} {text}" for label, text in zip(labels, descriptions, strict=True)]
    views = (
        _reduced(characters.fit_transform(labels), CHARACTERS, seed),
        _reduced(words.fit_transform(both), WORDS, seed),
    )
    features: Float32 = np.concatenate(views, axis=1)
    features -= features.mean(axis=0)
    features /= features.std()
    return features


def _reduced(counts: csr_array, most: int, seed: int) -> Float32:
    """Return [E, C] of weighted counts [E, terms], rows of length 1."""
    size = min(most, min(counts.shape) - 1)
    found: Float32 = TruncatedSVD(size, n_iter=3, random_state=seed).fit_transform(counts)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
    return found.astype(np.float32)
