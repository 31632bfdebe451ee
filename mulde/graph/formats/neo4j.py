"""Exports of Neo4j: the CSV and the JSON lines that ``apoc.export`` writes.

A node's id is the entity, its first property of name, title or label is the label, its labels are
the types. A relationship is a fact; its properties are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mulde.graph.facts import Collector

NAMES = ("name", "title", "label")


def wanted(names: Sequence[str]) -> list[int]:
    """Places of the columns to read."""
    kept = ("_id", "_labels", *NAMES, "_start", "_type", "_end")
    return [names.index(name) for name in kept if name in names]


def collect_csv(path: Path, names: Sequence[str], batch: Any, row: int, found: Collector) -> None:
    """Collect nodes and relationships of a batch, whose columns are named by their places."""
    columns = {
        name: batch.column(str(names.index(name))).dictionary_decode()
        for name in (names[place] for place in wanted(names))
    }
    edges = pc.not_equal(columns["_type"], "")
    found.add(
        path, [columns[name].filter(edges) for name in ("_start", "_type", "_end")], None, row
    )
    nodes = pc.invert(edges)
    ids = columns["_id"].filter(nodes).to_pylist()
    for rank, name in enumerate(NAMES):
        texts = columns[name].filter(nodes).to_pylist() if name in columns else []
        for key, text in zip(ids, texts, strict=bool(texts)):
            found.label(key, text or "", (rank,))
    kinds = columns["_labels"].filter(nodes).to_pylist() if "_labels" in columns else []
    for key, text in zip(ids, kinds, strict=bool(kinds)):
        found.types += [(key, kind) for kind in (text or "").split(":") if kind]


_END = pa.struct([("id", pa.string())])
JSON_SCHEMA = pa.schema(
    [
        ("type", pa.string()),
        ("id", pa.string()),
        ("label", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("start", _END),
        ("end", _END),
    ]
)


def collect_json(path: Path, batch: Any, row: int, found: Collector) -> None:
    """Collect nodes and relationships of a batch of ``JSON_SCHEMA`` and ``properties``."""
    edges = pc.fill_null(pc.equal(batch.column("type"), "relationship"), False)
    kept = batch.filter(edges)
    ends = (pc.struct_field(kept.column(name), "id") for name in ("start", "end"))
    heads, tails = ends
    found.add(path, [heads, kept.column("label"), tails], None, row)
    for node in batch.filter(pc.invert(edges)).to_pylist():
        found.types += [(node["id"], kind) for kind in node["labels"] or ()]
        properties = node.get("properties") or {}
        for rank, name in enumerate(NAMES):
            found.label(node["id"], properties.get(name) or "", (rank,))
