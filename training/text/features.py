"""Labels, descriptions and optional vectors -> features.

Shape letters: E entities, F features, C features of one view, L lines of ``labels.tsv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from mulde.errors import DatasetError
from mulde.graph.reading.lines import read_text
from mulde.typing import Float32

LABELS, VECTORS = "labels.tsv", "vectors.npy"
CHARACTERS, WORDS, FEATURES = 192, 256, 400
"""Features of the label's characters, of all words, and of all views together."""
_TINY = 1e-6
"""Least standard deviation of features that is more than rounding."""


@dataclass(frozen=True)
class Texts:
    """What a graph's folder says of its entities besides facts.

    Attributes:
        labels, descriptions: of E entities, empty where there is none.
        vectors: [E, C], such as a language model's vectors of the texts; None: none.
    """

    labels: list[str]
    descriptions: list[str]
    vectors: Float32 | None = None


def read_texts(folder: Path, ids: tuple[str, ...]) -> Texts:
    """Read ``labels.tsv`` and, where it is there, ``vectors.npy`` with a row for each of its lines.

    Raises:
        DatasetError: if labels are missing or damaged, or the vectors do not fit them.
    """
    path = folder / LABELS
    if not path.is_file():
        raise DatasetError(path, "expected this file: text columns need labels; found none")
    fields = [line.split("\t") for line in read_text(path).removesuffix("\n").split("\n")]
    place = {row[0]: number for number, row in enumerate(fields)}
    lines = [fields[place[key]] if key in place else [key] for key in ids]
    texts = [[*line[1:], "", ""][:2] for line in lines]
    vectors = _read_vectors(folder / VECTORS, len(fields))
    if vectors is not None:
        known = np.array([place.get(key, -1) for key in ids])
        vectors = np.where((known >= 0)[:, None], vectors[known], 0)
    return Texts([label for label, _ in texts], [text for _, text in texts], vectors)


def _read_vectors(path: Path, lines: int) -> Float32 | None:
    """Return the vectors [L, C] of a file, rows of length 1; None where there is no file."""
    if not path.is_file():
        return None
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(path, f"expected a .npy array, found none: {error}") from error
    if vectors.ndim != 2 or len(vectors) != lines or vectors.dtype.kind != "f":
        found = f"{vectors.dtype} of shape {vectors.shape}"
        expected = f"floating-point numbers, a row for each of the {lines} lines of {LABELS}"
        raise DatasetError(path, f"expected {expected}; found {found}")
    if not np.isfinite(vectors).all():
        raise DatasetError(path, "expected finite numbers, found others")
    return _unit_rows(vectors.astype(np.float32))


def read_features(folder: Path, ids: tuple[str, ...], seed: int) -> Float32:
    """Return the features [E, F] of a graph's folder.

    Raises:
        DatasetError: as ``read_texts``, or if no two texts have anything in common.
    """
    features = text_features(read_texts(folder, ids), seed)
    if not features.any():
        expected = "expected labels or descriptions that share words or parts of words"
        raise DatasetError(folder / LABELS, f"{expected}; found none that do")
    return features


def text_features(texts: Texts, seed: int) -> Float32:
    """Return [E, F], mean 0 and variance 1; zeros, or F = 0, where texts have nothing in common.

    The views are TF-IDF of the label's characters and of all words, each reduced by SVD, and the
    vectors, all of rows of length 1. Their principal components are kept, up to 400.
    """
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True, dtype=np.float32
    )
    words = TfidfVectorizer(token_pattern=r"\w+", min_df=2, sublinear_tf=True, dtype=np.float32)
    pairs = zip(texts.labels, texts.descriptions, strict=True)
    both = [f"{label} {description}" for label, description in pairs]
    views = [
        _reduced(_counts(characters, texts.labels), CHARACTERS, seed),
        _reduced(_counts(words, both), WORDS, seed),
    ]
    if texts.vectors is not None:
        views.append(texts.vectors)
    features: Float32 = np.concatenate(views, axis=1)
    features -= features.mean(axis=0)
    if features.shape[1] > FEATURES:
        _, axes = np.linalg.eigh(features.T @ features)
        features = features @ axes[:, -FEATURES:]
    spread = features.std() if features.size else 0.0
    return features / spread if spread > _TINY else np.zeros_like(features)


def _counts(vectorizer: TfidfVectorizer, texts: list[str]) -> csr_array:
    """Return weighted counts [E, terms]; no columns where no term occurs often enough."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's only error about its texts: no terms are left
        return csr_array((len(texts), 0), dtype=np.float32)


def _reduced(counts: csr_array, most: int, seed: int) -> Float32:
    """Return [E, C] of weighted counts [E, terms], rows of length 1."""
    size = min(most, min(counts.shape) - 1)
    if size < 1:
        return _unit_rows(counts.toarray().astype(np.float32))
    with np.errstate(invalid="ignore"):  # the share of variance of texts that are all alike
        found = TruncatedSVD(size, n_iter=3, random_state=seed).fit_transform(counts)
    return _unit_rows(found.astype(np.float32))


def _unit_rows(rows: Float32) -> Float32:
    """Return the rows divided by their lengths; a row of zeros stays one."""
    unit: Float32 = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return unit
