"""Which format a file of answers has, by the ending of its name."""

from __future__ import annotations

from pathlib import Path

from serving.batch.parquet_file import ParquetFile
from serving.batch.records import Format
from serving.batch.text_files import curated_csv, n_triples, tsv

_TEXT = {".csv": curated_csv, ".nt": n_triples}


def format_of(path: Path) -> Format:
    """Return the format: .parquet, .csv for curators, .nt, else TSV; text also with .gz.

    Raises:
        ModuleNotFoundError: for Parquet without pyarrow.
    """
    if path.suffix == ".parquet":
        return ParquetFile()
    zipped = path.suffix == ".gz"
    plain = path.with_suffix("") if zipped else path
    return _TEXT.get(plain.suffix, tsv)(zipped=zipped)
