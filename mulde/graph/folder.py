"""Write the facts of a split as a graph folder, and hash them as ``read_folder`` would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mulde.errors import DatasetError
from mulde.graph.facts import Facts
from mulde.graph.graph import SPLITS, Graph, assemble
from mulde.graph.labels import label_lines, type_lines
from mulde.graph.reading.arrow import arrow_rows, arrow_scalar
from mulde.graph.reading.compressed import Progress, no_progress
from mulde.graph.reading.read import GraphData
from mulde.storage.atomic import new_folder, publish
from mulde.typing import Triples

LABELS = "labels.tsv"
RELATION_LABELS = "relation_labels.tsv"
TYPES = "types.tsv"
_LINES = 1 << 20


def write_folder(
    data: GraphData,
    splits: dict[str, Triples],
    out: Path | None,
    title: str,
    overwrite: bool,
    progress: Progress = no_progress,
) -> Graph:
    """The graph of these splits; its folder too, where one is wanted."""
    digest = hashlib.sha256()
    try:
        with ExitStack() as stack:
            folder = None if out is None else stack.enter_context(new_folder(out))
            for number, (name, triples) in enumerate(splits.items()):
                digest.update(b"\0" if number else b"")
                path = None if folder is None else folder / f"{name}.txt"
                for done in _write_lines(data, triples, path, digest):
                    progress(f"{name}.txt", done, len(triples))
            graph = _graph(data, splits, title, digest.hexdigest())
            if folder is not None and out is not None:
                _write_names(data, graph, folder)
                publish(folder, out, overwrite=overwrite)
    except OSError as error:
        raise DatasetError(out or title, f"cannot be written: {error.strerror}") from error
    return graph


def _write_lines(
    data: GraphData, triples: Triples, path: Path | None, digest: Any
) -> Iterator[int]:
    """Write and hash lines; gives how many are done."""
    with ExitStack() as stack:
        file = None if path is None else stack.enter_context(path.open("xb"))
        for number, text in enumerate(lines_of(data.facts, triples), start=1):
            digest.update(text)
            if file is not None:
                file.write(text)
            yield min(number * _LINES, len(triples))


def lines_of(facts: Facts, triples: Triples) -> Iterator[memoryview]:
    """Lines of triples as UTF-8, some at a time."""
    ids = (facts.entity_ids, facts.relation_ids, facts.entity_ids)
    end = arrow_scalar("\n")
    for start in range(0, len(triples), _LINES):
        part = triples[start : start + _LINES]
        names = [one.take(arrow_rows(part[:, place])) for place, one in enumerate(ids)]
        lines = pc.binary_join_element_wise(*names, arrow_scalar("\t"))
        lines = pc.binary_join_element_wise(lines, end, arrow_scalar(""))
        yield memoryview(lines.buffers()[2])[: pc.sum(pc.binary_length(lines)).as_py()]


def _graph(data: GraphData, splits: dict[str, Triples], title: str, digest: str) -> Graph:
    entity_ids = tuple(data.facts.entity_ids.to_pylist())
    relation_ids = tuple(data.facts.relation_ids.to_pylist())
    labels = data.labels
    return assemble(
        name=title,
        entity_ids=entity_ids,
        relation_ids=relation_ids,
        entity_labels=tuple(labels.get(key, key) for key in entity_ids) if labels else entity_ids,
        relation_labels=tuple(labels.get(key, key) for key in relation_ids),
        splits=splits,
        digest=digest,
        duplicates=dict.fromkeys(SPLITS, 0),
    )


def _write_names(data: GraphData, graph: Graph, folder: Path) -> None:
    """Labels and types of what the graph has, where there are any."""
    texts = {
        LABELS: label_lines(data.labels, graph.entity_ids, data.descriptions),
        RELATION_LABELS: label_lines(data.labels, graph.relation_ids),
        TYPES: type_lines(data.types, frozenset(graph.entity_ids if data.types else ())),
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_bytes(text.encode())
