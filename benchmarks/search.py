"""SearchEntities over a million labels that look like names, on one core.

    python -m benchmarks.search build FOLDER [--entities 1000000]   # about a minute
    python -m benchmarks.search measure FOLDER                      # about 20 s

``measure`` keeps a record in ``benchmarks/records/search/``; ``benchmarks.serving page`` shows it.
The server runs on one core and the caller on another; what is typed are beginnings of 3 to 11
letters, labels with one letter wrong (put in, left out, replaced or swapped), and whole labels.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.record_files import write_json
from benchmarks.served import address, calls, latencies, machine, serving
from benchmarks.synthetic.graph import SyntheticGraph
from benchmarks.synthetic_labels import labels, spoilt
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import draft_bundle
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.files import SEARCH, VOCABULARY
from mulde.v1 import vocabulary_pb2

HERE = Path(__file__).parent
RECORD = HERE / "records" / "search" / "names.json"
SEARCH_ENTITIES = "/mulde.v1.VocabularyService/SearchEntities"
DIMENSION, RELATIONS = 8, 4
FOUND, FIRST = 10, 5
BATCH = 32

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="The bundle to make.")],
    entities: Annotated[int, typer.Option(min=64, help="How many names.")] = 1_000_000,
) -> None:
    """Make a small model with so many names."""
    from benchmarks.synthetic.bundle import write_synthetic_bundle

    named = labels(entities)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain"
        graph = SyntheticGraph(entities, RELATIONS, DIMENSION)
        write_synthetic_bundle(graph, plain, known=False)
        opened = open_bundle(plain, verify=False)
        ids, relations = list(opened.vocabulary.entities.ids), opened.vocabulary.relations
        vocabulary = Vocabulary.build(ids, named, list(relations.ids), list(relations.labels))
        with draft_bundle(folder) as draft:
            for name in set(opened.manifest.files) - {VOCABULARY, SEARCH}:
                (draft.path / name).write_bytes((plain / name).read_bytes())
            vocabulary.write(draft.path / VOCABULARY)
            SearchIndex.build(vocabulary.entities.labels).write(draft.path / SEARCH)
            draft.seal(replace(opened.manifest, name=folder.name))
            draft.publish()


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(help="What build made.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement.")] = 3.0,
    record: Annotated[Path, typer.Option(help="Where the figures go.")] = RECORD,
) -> None:
    """Ask the server in calls of 32 queries, and one query a call."""
    opened = open_bundle(folder)
    names = opened.vocabulary.entities.labels
    generator = np.random.default_rng(3)
    wanted = [names[int(row)] for row in generator.integers(len(names), size=2048)]
    typed = {
        "beginnings": [label[: int(generator.integers(3, 12))] for label in wanted],
        "misspelt": [spoilt(label, generator) for label in wanted],
        "whole": wanted,
    }
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, Any] = {}
    with serving(folder, core=cores[-1]) as ready, calls(address(ready), SEARCH_ENTITIES) as send:
        for kind, texts in typed.items():
            batches = [_request(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
            latencies(send, batches, seconds / 4)
            many = latencies(send, batches, seconds)
            alone = latencies(send, [_request([text]) for text in texts], seconds)
            found[kind] = {
                "queries_per_s": BATCH / float(np.median(many)),
                "alone_ms": float(np.median(alone)) * 1e3,
            }
        hits = _hits(send, typed["misspelt"], wanted)
    written = {
        "labels": len(names),
        "letters": float(np.mean([len(label) for label in wanted])),
        "bytes": {name: opened.file(name).stat().st_size for name in (SEARCH, VOCABULARY)},
        "found": found,
        "hits": hits,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    write_json(record, written)
    typer.echo(json.dumps(written))


def _request(texts: list[str], count: int = FOUND) -> bytes:
    request = vocabulary_pb2.SearchEntitiesRequest(queries=texts, page_size=count)
    return request.SerializeToString()


def _hits(send: Any, typed: list[str], wanted: list[str]) -> float:
    """The share of misspelt labels that are among the first five found."""
    hits = 0
    for at in range(0, len(typed), BATCH):
        reply = vocabulary_pb2.SearchEntitiesResponse.FromString(
            send(_request(typed[at : at + BATCH], FIRST))
        )
        for place, label in enumerate(wanted[at : at + BATCH]):
            hits += label in reply.labels[reply.offsets[place] : reply.offsets[place + 1]]
    return hits / len(typed)


if __name__ == "__main__":
    app()
