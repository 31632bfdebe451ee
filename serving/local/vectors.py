"""The entities of a bundle as vectors, in files that other tools read.

Shape letters: E entities, D dimension.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mulde.bundle.bundle import open_bundle
from mulde.bundle.files import ENTITIES
from mulde.errors import ConfigError
from mulde.storage.atomic import new_file
from mulde.typing import Float32
from serving.engine.entity_table import EntityTable

_ROWS = 1 << 16
_ENDINGS = (".parquet", ".npy", ".txt")


def write_vectors(bundle: Path, out: Path, *, overwrite: bool = False) -> tuple[int, int]:
    """Write the coordinates of all entities with ids and labels; return E and D.

    They are the spatial coordinates Y' of the table, without biases and relation priors: near
    entities have near vectors. In a bilinear model they are the trained vectors.

    Args:
        bundle: the folder.
        out: .parquet, .npy (and OUT.tsv with ids and labels) or .txt (word2vec's text).
        overwrite: whether files that are there may be replaced.

    Raises:
        ConfigError: for another ending, or a file that is there.
        BundleError: if the bundle is missing or damaged.
    """
    if out.suffix not in _ENDINGS:
        raise ConfigError("--out", f"a name that ends in {', '.join(_ENDINGS)}", str(out))
    for path in (out, _names_of(out)):
        if path.exists() and not overwrite:
            raise ConfigError("--out", "a file that does not exist, or --overwrite", str(path))
    opened = open_bundle(bundle)
    manifest, names = opened.manifest, opened.vocabulary.entities
    table = EntityTable(opened.file(ENTITIES), manifest.entities, manifest.width)
    points = np.empty((manifest.entities, manifest.dimension), dtype=np.float32)
    for start in range(0, len(points), _ROWS):
        rows = table.decode(start, min(start + _ROWS, len(points)))
        points[start : start + _ROWS] = rows[:, manifest.layout.spatial]
    opened.check_same()
    every = np.arange(len(points))
    ids, labels = names.ids.take(every), names.labels.take(every)
    if out.suffix == ".parquet":
        _write_parquet(out, ids, labels, points)
    elif out.suffix == ".npy":
        with new_file(out) as draft, draft.open("wb") as file:
            np.save(file, points)
        _write_names(_names_of(out), ids, labels)
    else:
        _write_word2vec(out, ids, points)
    return len(points), points.shape[1]


def _names_of(out: Path) -> Path:
    """The file with ids and labels beside an npy file; the file itself for the other formats."""
    return out.with_name(out.name + ".tsv") if out.suffix == ".npy" else out


def _write_parquet(out: Path, ids: list[str], labels: list[str], points: Float32) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), points.shape[1])
    with new_file(out) as draft:
        parquet.write_table(pa.table({"id": ids, "label": labels, "vector": vectors}), draft)


def _write_names(out: Path, ids: list[str], labels: list[str]) -> None:
    lines = map("\t".join, zip(["id", *ids], ["label", *labels], strict=True))
    with new_file(out) as draft:
        draft.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _write_word2vec(out: Path, ids: list[str], points: Float32) -> None:
    words = [one.replace(" ", "_") for one in ids]
    with new_file(out) as draft, draft.open("w", encoding="utf-8") as file:
        file.write(f"{len(points)} {points.shape[1]}\n")
        for word, vector in zip(words, points.tolist(), strict=True):
            file.write(f"{word} {' '.join(map(repr, vector))}\n")
