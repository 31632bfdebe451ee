"""How often each kind of index is certain, how far it has to look, and what that costs.

    python -m benchmarks.certificates measure BUNDLE    # about a minute for each bundle
    python -m benchmarks.certificates page              # make bench-certificates does both

``measure`` keeps a record in ``benchmarks/records/certificates/``; ``page`` writes
``certificates.md`` from those records alone. The kinds of a bundle are those that ``mulde export``
tries (``serving/index_benchmark.py``), and FAISS over the table in float32.

Shape letters: B queries, E entities.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.certificates_page import WITHIN, text
from benchmarks.index import machine
from benchmarks.record_files import read_records, write_json
from mulde.bundle.files import DIGEST
from mulde.bundle.manifest import Index, describe
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable, scan_table
from serving.engine.index.base import Exclusions, Search
from serving.engine.index.faiss_table import FaissIndex, WholeTable
from serving.engine.results import Results
from serving.engine.retriever import Retriever
from serving.engine.scoring import Query, scorer_for
from serving.index_benchmark import Bench, candidates_to_try, sample_queries
from training.export.table.codes import write_cells
from training.export.table.entity_table import write_table

HERE = Path(__file__).parent
RECORDS, PAGE = HERE / "records" / "certificates", HERE / "certificates.md"

K = 10
QUERIES = 2048
FLAT = "FAISS Flat over the table in float32"
_SHARES = {"p50": 50, "p90": 90, "p99": 99, "most": 100}
_CHUNK = 256

Record = dict[str, Any]
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def measure(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    queries: Annotated[int, typer.Option(min=1, help="How many are asked.")] = QUERIES,
    records: Annotated[Path, typer.Option(help="Where the record goes.")] = RECORDS,
) -> None:
    """Ask every kind of index of one bundle and keep the record."""
    engine = Engine.open(bundle)
    manifest = engine.manifest
    with tempfile.TemporaryDirectory() as codes:
        kinds = list(_kinds(engine, queries, Path(codes)))
    record: Record = {
        "bundle": manifest.name,
        "digest": (engine.bundle.path / DIGEST).read_text("ascii").strip()[:8],
        "entities": manifest.entities,
        "relations": manifest.relations,
        "dimension": manifest.dimension,
        "family": manifest.family,
        "score": manifest.score.kind,
        "precision": manifest.precision,
        "queries": queries,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "kinds": kinds,
    }
    path = records / f"{manifest.name}.json"
    write_json(path, record)
    typer.echo(path)


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where the records are.")] = RECORDS,
    to: Annotated[Path, typer.Option(help="The page.")] = PAGE,
) -> None:
    """Write the page from the records."""
    kept = read_records(records)
    if not kept:
        typer.echo(f"{records}: no record to make a page of", err=True)
        sys.exit(1)
    to.write_text(text(kept), encoding="utf-8")


def asked(engine: Engine, count: int) -> Query:
    """``count`` queries: every relation in turn, entities at random."""
    generator = np.random.default_rng(0)
    relations = np.resize(np.arange(2 * engine.num_relations), count)
    return engine.encode(generator.integers(engine.num_entities, size=count), relations)


def _kinds(engine: Engine, count: int, folder: Path) -> Iterator[Record]:
    """What each kind finds; those that need a file write it to ``folder``."""
    query = asked(engine, count)
    bench = Bench(engine, sample_queries(engine))
    listed = engine.loaded.search_by(Index("table"), folder)
    best = _best(listed, query, exact=True)
    least = best.scores[best.offsets[1:] - 1]
    for index in candidates_to_try(engine.num_entities):
        codes = _written(engine, index, folder)
        found = {
            "name": _name(engine, index),
            **_told(engine.loaded.search_by(index, codes), query, least),
        }
        trial = bench.trial(index, codes)
        yield {**found, "single_us": trial.single_us, "exact_us": trial.exact_us}
    yield {"name": FLAT, **_told(_flat(engine, folder), query, least)}


def _name(engine: Engine, index: Index) -> str:
    if index.kind != "table":
        return describe(index)
    faiss = {"fp32": "Flat", "fp16": "SQfp16", "int8": "SQ8", "int4": "SQ4"}
    return f"table (FAISS {faiss[engine.manifest.precision]})"


def _written(engine: Engine, index: Index, folder: Path) -> Path:
    path = folder / f"{index.kind}.faiss"
    if index.kind == "ivf" and not path.exists():
        write_cells(path, engine.loaded.table, engine.loaded.column_weights, index.cells)
    return path


def _flat(engine: Engine, folder: Path) -> Retriever:
    """FAISS over the same numbers in float32, whatever the bundle's precision is."""
    manifest, path = engine.manifest, folder / "flat.faiss"
    write_table(path, engine.loaded.table.decode(0, engine.num_entities), "fp32")
    table = EntityTable(path, engine.num_entities, manifest.layout.width)
    extent = scan_table(table, manifest.layout)
    scorer = scorer_for(manifest.score, manifest.layout, extent.tail_bias)
    whole = WholeTable(table, extent.row_norm)
    return Retriever(table, scorer, extent.row_norm, FaissIndex(whole, whole))


def _best(retriever: Retriever, query: Query, *, exact: bool) -> Results:
    parts = []
    for start in range(0, len(query), _CHUNK):
        part = query.take(slice(start, start + _CHUNK))
        wanted = Search(K, Exclusions.none(len(part)), exact=exact)
        parts.append(retriever.by_index(part, wanted))
    return Results.join(parts)


def _told(retriever: Retriever, query: Query, least: np.ndarray[Any, Any]) -> Record:
    """Of one kind: how often it is certain as it comes, and what it fetches until it is.

    Args:
        retriever: searches by that kind.
        query: B of them.
        least: [B], the tenth best score of exhaustive scoring.
    """
    quick, sure = _best(retriever, query, exact=False), _best(retriever, query, exact=True)
    if not sure.exact.all():
        raise RuntimeError("expected each answer to be certain where that is asked for")
    good = quick.scores >= least[quick.owners]
    return {
        "recall": float(good.sum() / (K * len(query))),
        "certified": float(quick.exact.mean()),
        "fetched": _spread(quick.fetched),
        "certified_within": float((sure.fetched <= WITHIN).mean()),
        "needed": _spread(sure.fetched),
    }


def _spread(fetched: np.ndarray[Any, Any]) -> dict[str, int]:
    return {
        name: int(np.percentile(fetched, share, method="higher")) for name, share in _SHARES.items()
    }


if __name__ == "__main__":
    app()
