"""Which package wrote a model, and its reader."""

from __future__ import annotations

from pathlib import Path

from mulde.errors import CheckpointError
from training.importing.arrays import read_arrays
from training.importing.dglke import read_dglke
from training.importing.foreign import ForeignModel
from training.importing.libkge import read_libkge
from training.importing.pykeen import read_pykeen

_EXPECTED = (
    "expected a folder with trained_model.pkl (PyKEEN), config.json and arrays (DGL-KE), "
    "checkpoint_best.pt (LibKGE), or entity_ids.txt with entities.npy; or a file .pt of LibKGE"
)
_PICKLES = (".pkl", ".pickle", ".pck", ".joblib")


def read_foreign(source: Path, scorer: str | None = None, ids: Path | None = None) -> ForeignModel:
    """Read a model of another package.

    Args:
        source: a folder or file, see ``_EXPECTED``.
        scorer: what plain arrays mean.
        ids: folder with the id files of LibKGE or DGL-KE.

    Raises:
        CheckpointError: if it is none of these, is damaged, or cannot be served.
        ConfigError: for an unknown scorer.
    """
    if source.is_file() and source.suffix == ".pt":
        return read_libkge(source, ids)
    if source.is_file() and source.suffix in _PICKLES:
        reason = "a pickle can run code when it is opened, so it is not opened"
        raise CheckpointError(source, f"{_EXPECTED}; found a pickle: {reason}")
    if (source / "trained_model.pkl").is_file():
        return read_pykeen(source)
    if (source / "checkpoint_best.pt").is_file():
        return read_libkge(source / "checkpoint_best.pt", ids)
    if (source / "config.json").is_file():
        return read_dglke(source, ids)
    if (source / "entity_ids.txt").is_file():
        return read_arrays(source, scorer or "")
    raise CheckpointError(source, f"{_EXPECTED}; found {'none' if source.exists() else 'nothing'}")
