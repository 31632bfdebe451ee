"""Who is asked for the ten best answers in `benchmarks/index.py`, each on one thread.

Every one of them answers the same 512 queries over the same table. mulde's take rows of entity and
relation, and encode them; the others are handed the encoded queries, and no one's names are looked
up. Recall is the share of answers whose score is at least the tenth best of exhaustive scoring.

Shape letters: B queries, E entities, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.serving_figures import bare
from mulde.bundle.manifest import Index, describe
from mulde.typing import Float32, Float64, Rows
from serving.engine.engine import Engine
from serving.engine.index.base import Exclusions, Search
from serving.engine.retriever import Retriever
from serving.engine.scoring import Query
from serving.index_benchmark import candidates_to_try
from training.export.table.codes import write_cells

K = 10
BATCH = 256
SAMPLE = 512
RECALL = 0.99
"""What an approximate answer has to find to be compared."""

PRODUCT = "the bare product, float32"

_TOLERANCE = 1e-9
_SEED = 0

Ask = Callable[[slice], Any]


@dataclass(frozen=True)
class Contender:
    """One way to find the ten best.

    Attributes:
        name: for people.
        group: "mulde", "outside" or "limit".
        ask: answers the queries of a slice.
        recall: of its answers; None where it gives none.
        certified: share of answers known to be those of exhaustive scoring; None likewise.
    """

    name: str
    group: str
    ask: Ask
    recall: float | None = None
    certified: float | None = None


class Sample:
    """Queries with the truth about them: every relation in turn, entities at random."""

    def __init__(self, engine: Engine) -> None:
        """Draw and score them.

        Args:
            engine: of the bundle.
        """
        generator = np.random.default_rng(_SEED)
        self.engine = engine
        self.relations = np.resize(np.arange(2 * engine.num_relations), SAMPLE)
        self.entities = generator.integers(engine.num_entities, size=SAMPLE)
        self.query = engine.encode(self.entities, self.relations)
        self.table = engine.loaded.table.decode(0, engine.num_entities)
        listed = engine.loaded.search_by(Index("table"), engine.bundle.path)
        found = listed.search(self.query, Search(K, Exclusions.none(SAMPLE)))
        self.best = found.rows.reshape(SAMPLE, K)
        self._least = found.scores[found.offsets[1:] - 1]

    def recall(self, rows: Rows) -> float:
        """Of rows [B, K], the share that scores as high as the tenth best; -1 finds nothing."""
        return self._share(rows, self.query, self._least)

    def recall_as_served(self, rows: Rows) -> float:
        """The same of what the engine ranks: the scorer alone, self-loops left out."""
        engine = self.engine
        query = engine.encode(self.entities, self.relations, priors=False)
        loops = np.flatnonzero(engine.manifest.loopless[self.relations])
        excluded = Exclusions.of_pairs(loops, self.entities[loops], SAMPLE)
        found = engine.loaded.retriever.by_scoring_all(query, Search(K, excluded))
        return self._share(rows, query, found.scores[found.offsets[1:] - 1])

    def _share(self, rows: Rows, query: Query, least: Float64) -> float:
        """Of rows [B, K], the share that scores at least ``least`` [B] for its query."""
        loaded, flat = self.engine.loaded, rows.reshape(-1)
        pairs = query.take(np.repeat(np.arange(len(rows)), K))
        table = loaded.table.rows(np.maximum(flat, 0)[:, None])
        scores = loaded.scorer.scores(pairs, table).reshape(rows.shape)
        return float(((scores >= least[:, None] - _TOLERANCE) & (rows >= 0)).mean())


def contenders(sample: Sample, codes: Path) -> Iterator[Contender]:
    """All of them, those of mulde first.

    Args:
        sample: the queries.
        codes: a folder for the codes of the kinds of index that have some.
    """
    yield from _engine(sample)
    for index in candidates_to_try(sample.engine.num_entities):
        if index.kind != "ivf":
            yield from _kind(sample, index, codes)
    yield from _kind(sample, _fewest_probes(sample, codes), codes)
    yield from _faiss(sample)
    yield from _by_hand(sample)
    yield from limits(sample)


def _engine(sample: Sample) -> Iterator[Contender]:
    """``Engine.predict`` with the bundle's own index: encoder, search, certificate."""
    engine, kind = sample.engine, sample.engine.manifest.index.kind
    ways = {"exact": (True, False), "exact, known facts left out": (True, True)}
    for way, (exact, without) in ways.items():

        def ask(part: slice, exact: bool = exact, without: bool = without) -> Any:
            return engine.predict(
                sample.entities[part],
                sample.relations[part],
                K,
                exact=exact,
                exclude_known=without,
            )

        if without and engine.bundle.known is None:
            continue
        found = ask(slice(0, SAMPLE))
        recall = None if without else sample.recall_as_served(found.rows.reshape(SAMPLE, K))
        sure = float(found.exact.mean())
        yield Contender(f"engine ({kind}), {way}", "mulde", ask, recall, sure)


def _kind(sample: Sample, index: Index, codes: Path) -> Iterator[Contender]:
    """Encoder and search by one kind of index, exact and as it comes; search alone."""
    retriever = _retriever(sample, index, codes)
    for exact in (True, False):

        def ask(part: slice, exact: bool = exact) -> Any:
            query = sample.engine.encode(sample.entities[part], sample.relations[part])
            return _best(retriever, query, exact)

        found = ask(slice(0, SAMPLE))
        rows = np.full((SAMPLE, K), -1)
        rows[found.owners, _ranks(found.counts)] = found.rows
        way = "exact" if exact else "approximate"
        name, sure = f"{describe(index)}, {way}", float(found.exact.mean())
        yield Contender(name, "mulde", ask, sample.recall(rows), sure)
        if not exact and sure == 1.0:
            return


def _best(retriever: Retriever, query: Query, exact: bool) -> Any:
    return retriever.search(query, Search(K, Exclusions.none(len(query)), exact=exact))


def _ranks(counts: Rows) -> Rows:
    return np.concatenate([np.arange(count) for count in counts])


def _retriever(sample: Sample, index: Index, codes: Path) -> Retriever:
    """Search by a kind, whose codes are written the first time."""
    engine, path = sample.engine, codes / f"{index.kind}.faiss"
    if index.kind == "ivf" and not path.exists():
        write_cells(path, engine.loaded.table, engine.loaded.column_weights, index.cells)
    return engine.loaded.search_by(index, path)


def _fewest_probes(sample: Sample, codes: Path) -> Index:
    """The quickest search of cells that finds enough, or the most thorough."""
    tried = [i for i in candidates_to_try(sample.engine.num_entities) if i.kind == "ivf"]
    for index in tried:
        found = _best(_retriever(sample, index, codes), sample.query, False)
        rows = np.full((SAMPLE, K), -1)
        rows[found.owners, _ranks(found.counts)] = found.rows
        if sample.recall(rows) >= RECALL:
            return index
    return tried[-1]


def _faiss(sample: Sample) -> Iterator[Contender]:
    """FAISS as it comes, over the same table as float32."""
    width, product = sample.table.shape[1], faiss.METRIC_INNER_PRODUCT
    codecs = {"SQfp16": "QT_fp16", "SQ8": "QT_8bit"}
    made: dict[str, Any] = {"Flat": faiss.IndexFlatIP(width)}
    for name, codec in codecs.items():
        number = getattr(faiss.ScalarQuantizer, codec)
        made[name] = faiss.IndexScalarQuantizer(width, number, product)
    cells = int(3 * np.sqrt(len(sample.table)))
    coarse = faiss.IndexFlatIP(width)
    bytes_each = faiss.ScalarQuantizer.QT_8bit
    ivf = faiss.IndexIVFScalarQuantizer(coarse, width, cells, bytes_each, product, False)
    for index in (*made.values(), ivf):
        index.train(sample.table)
        index.add(sample.table)
    for name, index in made.items():
        ask = partial(_search, index, sample)
        yield Contender(f"FAISS {name}", "outside", ask, _recall_of(ask, sample))
    ask = partial(_search, ivf, sample)
    ivf.nprobe = 1
    while (recall := _recall_of(ask, sample)) < RECALL and ivf.nprobe < cells:
        ivf.nprobe = min(cells, 2 * ivf.nprobe)
    name = f"FAISS IVF SQ8, {ivf.nprobe} of {cells} cells"
    yield Contender(name, "outside", ask, recall)


def _search(index: Any, sample: Sample, part: slice) -> Any:
    return index.search(sample.query.vector[part], K)[1]


def _recall_of(ask: Ask, sample: Sample) -> float:
    return sample.recall(np.asarray(ask(slice(0, SAMPLE))))


def _by_hand(sample: Sample) -> Iterator[Contender]:
    """What people write: a product, and the ten best of it by numpy. And the product alone."""
    transposed = np.ascontiguousarray(sample.table.T)
    buffer = np.empty((BATCH, len(sample.table)), np.float32)
    product, plain = bare(sample.engine)

    def by_numpy(part: slice) -> Any:
        queries = sample.query.vector[part]
        scores = np.matmul(queries, transposed, out=buffer[: len(queries)])
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    rows = [by_numpy(slice(at, at + BATCH)) for at in range(0, SAMPLE, BATCH)]
    recall = sample.recall(np.concatenate(rows))
    yield Contender("NumPy: product, ten best", "outside", by_numpy, recall)
    # The queries of this one are random; its time does not depend on them.
    name = "ONNX Runtime: product; NumPy: ten best"
    yield Contender(name, "outside", lambda part: plain(part.stop - part.start))
    yield Contender(PRODUCT, "limit", lambda part: product(part.stop - part.start))


def limits(sample: Sample) -> Iterator[Contender]:
    """What no search of mulde is without: the encoder, and one reading of what it searches.

    The readings are dot products of an array of the same size with itself; a batch needs one too.
    """
    engine = sample.engine
    yield Contender(
        "the encoder alone",
        "limit",
        lambda part: engine.encode(sample.entities[part], sample.relations[part]),
    )
    rows, width = sample.table.shape
    for name, size in (("2 bytes a number", 2), ("a byte a number", 1)):
        numbers = np.ones(rows * width * size // 4, np.float32)
        yield Contender(f"reading the table once, {name}", "limit", partial(_read, numbers))


def _read(numbers: Float32, part: slice) -> Any:
    return numbers @ numbers
