"""Facts of any source -> one table: TSV, CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from mulde.errors import ConfigError, DatasetError
from mulde.graph.folder import lines_of
from mulde.graph.labels import label_lines, type_lines
from mulde.graph.reading.arrow import arrow_rows
from mulde.graph.reading.read import GraphData
from mulde.storage.atomic import new_file

SUFFIXES = (".tsv", ".csv", ".parquet")


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse a file that is there or that has another suffix.

    Raises:
        ConfigError: if it does.
    """
    if out.suffix not in SUFFIXES:
        raise ConfigError("--out", f"a file that ends in {', '.join(SUFFIXES)}", str(out))
    if out.exists() and not overwrite:
        raise ConfigError("--out", "a file that does not exist, or --overwrite", str(out))


def write_table(data: GraphData, out: Path) -> list[Path]:
    """Write facts, and labels and types beside them where there are any; each file whole.

    Raises:
        DatasetError: if a file cannot be written.
    """
    facts = data.facts
    names = [*facts.entity_ids.to_pylist(), *facts.relation_ids.to_pylist()]
    texts = {
        "labels": label_lines(data.labels, sorted(set(names)) if data.labels else ()),
        "types": type_lines(data.types, frozenset(facts.entity_ids.to_pylist())),
    }
    written = [out]
    try:
        with new_file(out) as draft:
            _write(data, out.suffix, draft)
        for name, text in texts.items():
            if text:
                written.append(out.with_name(f"{out.stem}.{name}.tsv"))
                with new_file(written[-1]) as draft:
                    draft.write_bytes(text.encode())
    except OSError as error:
        raise DatasetError(out, f"cannot be written: {error.strerror or error}") from error
    return written


def _write(data: GraphData, suffix: str, path: Path) -> None:
    if suffix == ".tsv":
        with path.open("wb") as file:
            file.writelines(lines_of(data.facts, data.facts.triples))
    elif suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(_table(data), path)
    else:
        from pyarrow import parquet

        parquet.write_table(_table(data), path)


def _table(data: GraphData) -> Any:
    facts, names = data.facts, ("subject", "predicate", "object")
    ids = (facts.entity_ids, facts.relation_ids, facts.entity_ids)
    columns = [one.take(arrow_rows(facts.triples[:, place])) for place, one in enumerate(ids)]
    return pa.table(dict(zip(names, columns, strict=True)))
