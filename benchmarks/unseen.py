"""What facts tell about an entity that the training never saw: accuracy, cost to others, time.

    python -m benchmarks.unseen hold-out DATA FOLDER     # then train and export on FOLDER
    python -m benchmarks.unseen measure BUNDLE FOLDER NAME
    python -m benchmarks.unseen page

A tenth of the entities is held out with all their facts. For each of them that has more, n facts
are context; up to 20 others are asked in both directions: (new, r, ?) and (x, r, ?), whose answer
is the new one. Candidates are all trained and all held-out entities, filtered by all facts. "Known"
is the MRR of facts of valid among trained entities, with the held-out ones as further candidates.

The baseline is the mean of the neighbours' query vectors. What known entities lose to it is another
figure than what they lose to placed entities, so there are two ratios: with the mean as it is, and
with an offset on the scores of the means, equal for all of them, at which known entities lose what
they lose to placed ones.

Shape letters: H held-out entities, E trained ones, R relations, W width of the table.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.record_files import read_records, write_json
from benchmarks.unseen_page import write_page
from mulde.evaluation.ranking import filtered_ranks
from mulde.graph.graph import Graph, read_folder
from mulde.placement.solver import FrozenModel, query_mean, query_row
from mulde.typing import Float32, Float64, Rows
from serving.engine.engine import Engine
from serving.registry.placement import Placer

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "unseen"
CONTEXTS = (1, 2, 4, 8)
ASKED = 20
MOST_ASKED = 2000
"""Facts that are ranked with one number of context facts; drawn at random where there are more."""
KNOWN = 1000
WIDEST_OFFSET = 16.0
HALVINGS = 9
LEAST = 2
"""Facts of an entity that is held out: one as context, and one to ask about."""

app = typer.Typer()


@dataclass(frozen=True)
class Way:
    """Figures of one way to place entities.

    Attributes:
        asks, answers: MRR of (new, r, ?) and of the new entity as an answer.
        known_loss: MRR that facts of known entities lose.
    """

    asks: float
    answers: float
    known_loss: float


@dataclass(frozen=True)
class Record:
    """One model with n context facts.

    Attributes:
        name, context, entities: the model, n, and how many held-out entities are placed.
        known: MRR of facts of known entities with no other candidates.
        query_mean, placed: the baseline and the product.
        equal_loss: the baseline with the offset at which known entities lose what they lose to
            placed ones.
        median_ms, p99_ms: processor time of one thread that places one entity.
    """

    name: str
    context: int
    entities: int
    known: float
    query_mean: Way
    equal_loss: Way
    placed: Way
    median_ms: float
    p99_ms: float


@app.command("hold-out")
def hold_out(data: Path, folder: Path) -> None:
    """Write the graph without a tenth of its entities, and their facts."""
    graph = read_folder(data)
    every = np.concatenate([graph.split(name) for name in ("train", "valid", "test")])
    counts = np.bincount(every[:, [0, 2]].ravel(), minlength=graph.num_entities)
    eligible = np.flatnonzero(counts >= LEAST)
    rng = np.random.default_rng(0)
    count = min(graph.num_entities // 10, len(eligible))
    held = np.zeros(graph.num_entities, bool)
    held[rng.choice(eligible, count, replace=False)] = True
    folder.mkdir(parents=True)
    for name in ("train", "valid", "test"):
        triples = graph.split(name)
        _write(folder / f"{name}.txt", graph, triples[~held[triples[:, [0, 2]]].any(axis=1)])
    _write(folder / "held.tsv", graph, every[held[every[:, 0]] != held[every[:, 2]]])


def _write(path: Path, graph: Graph, triples: Any) -> None:
    names = graph.entity_ids, graph.relation_ids, graph.entity_ids
    lines = ("\t".join(n[i] for n, i in zip(names, t, strict=True)) for t in triples.tolist())
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


@app.command()
def measure(
    bundle: Path,
    folder: Path,
    name: str,
    records: Annotated[Path, typer.Option(help="Where to write.")] = RECORDS,
) -> None:
    """Measure one bundle that was trained on FOLDER."""
    trial = _Trial(Engine.open(bundle), read_folder(folder), folder / "held.tsv")
    found = [asdict(trial.measure(name, context)) for context in CONTEXTS]
    write_json(records / f"{name}.json", {"records": found})


class _Trial:
    """One model and the facts of held-out entities, as (relation in [0, 2R), neighbour)."""

    def __init__(self, engine: Engine, graph: Graph, held: Path) -> None:
        self._engine, self._graph = engine, graph
        self._relations = graph.num_relations
        self._table = engine.loaded.table.rows(np.arange(graph.num_entities)).astype(np.float32)
        self._placer = Placer(engine.bundle, engine.loaded)
        self._facts = self._read(held)
        self._usual = _usual(engine, self._table)
        self._rows: dict[str, int] = {}
        self._known: dict[tuple[int, int], set[int]] = {}

    def _read(self, path: Path) -> dict[str, list[tuple[int, int]]]:
        entities = {name: row for row, name in enumerate(self._graph.entity_ids)}
        relations = {name: row for row, name in enumerate(self._graph.relation_ids)}
        facts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for line in path.read_text("utf-8").splitlines():
            head, relation, tail = line.split("\t")
            row = relations.get(relation)
            if row is not None and head in entities:
                facts[tail].append((row + self._relations, entities[head]))
            elif row is not None and tail in entities:
                facts[head].append((row, entities[tail]))
        return facts

    def _all_known(self) -> dict[tuple[int, int], set[int]]:
        """All answers to every query, those of held-out entities too."""
        known: dict[tuple[int, int], set[int]] = defaultdict(set)
        splits = [self._graph.split(name) for name in ("train", "valid", "test")]
        for head, relation, tail in np.concatenate(splits).tolist():
            known[head, relation].add(tail)
            known[tail, relation + self._relations].add(head)
        for name, row in self._rows.items():
            for relation, other in self._facts[name]:
                known[row, relation].add(other)
                known[other, (relation + self._relations) % (2 * self._relations)].add(row)
        return known

    def measure(self, name: str, context: int) -> Record:
        """Place every entity by ``context`` facts, and rank the rest."""
        rng = np.random.default_rng(context)
        means, queries, answers, times = [], [], [], []
        asked: list[tuple[int, int, int]] = []
        names = [name for name in sorted(self._facts) if len(self._facts[name]) > context]
        self._rows = {name: len(self._table) + i for i, name in enumerate(names)}
        self._known = self._all_known()
        for entity in names:
            facts = np.array(self._facts[entity])[rng.permutation(len(self._facts[entity]))]
            given, rest = facts[:context], facts[context : context + ASKED]
            start = time.thread_time()
            placed = self._placer.place(self._table[given[:, 1]], given[:, 0])
            times.append(1e3 * (time.thread_time() - start))
            means.append(self._query_mean(given))
            queries.append(placed.as_query)
            answers.append(placed.as_answer)
            asked += [(self._rows[entity], *fact) for fact in rest.tolist()]
        both, heads, candidates = np.stack(means), np.stack(queries), np.stack(answers)
        some = rng.permutation(len(asked))[:MOST_ASKED]
        facts = np.array(asked)[np.sort(some)]
        without = self._mrr_known(candidates[:0])
        fitted = self._way(facts, heads, candidates, without)
        held = self._with_loss(both, fitted.known_loss, without)
        return Record(
            name=name,
            context=context,
            entities=len(names),
            known=without,
            query_mean=self._way(facts, both, both, without),
            equal_loss=self._way(facts, both, held, without),
            placed=fitted,
            median_ms=float(np.median(times)),
            p99_ms=float(np.quantile(times, 0.99)),
        )

    def _query_mean(self, given: Rows) -> Float64:
        """Return the row [W] of the mean direction of the queries of facts [n, 2]."""
        back = (given[:, 0] + self._relations) % (2 * self._relations)
        rows = self._table[given[:, 1]]
        query = self._engine.loaded.questions(rows, back, priors=False).encoded()
        wide = np.column_stack([query.vector.astype(np.float64), query.offset])
        return query_row(self._usual, query_mean(self._usual, wide))

    def _with_loss(self, candidates: Float64, loss: float, without: float) -> Float64:
        """Return candidates [H, W] with the offset at which known entities lose ``loss``."""
        column = self._engine.bundle.manifest.layout.tail_bias.start
        low, high = -WIDEST_OFFSET, WIDEST_OFFSET
        shifted = candidates.copy()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            shifted[:, column] = candidates[:, column] + middle
            if without - self._mrr_known(shifted) > loss:
                high = middle
            else:
                low = middle
        return shifted

    def _way(self, asked: Rows, heads: Float64, candidates: Float64, without: float) -> Way:
        back = (asked[:, 1] + self._relations) % (2 * self._relations)
        return Way(
            asks=_mrr(self._ranks(asked[:, 0], asked[:, 1], asked[:, 2], heads, candidates)),
            answers=_mrr(self._ranks(asked[:, 2], back, asked[:, 0], heads, candidates)),
            known_loss=without - self._mrr_known(candidates),
        )

    def _mrr_known(self, candidates: Float64) -> float:
        """Return the MRR of facts of known entities, with more candidates [H, W]."""
        vectors, targets, ranks = self._known_facts
        scores = vectors @ candidates.T
        first, count = len(self._table), len(candidates)
        for query, pair in enumerate(self._known_pairs):
            answers = [row - first for row in self._known[pair] if first <= row < first + count]
            scores[query, answers] = -np.inf
        before = (scores > targets[:, None]).sum(axis=1)
        level = (scores == targets[:, None]).sum(axis=1)
        return float((1 / (ranks + before + level / 2)).mean())

    @cached_property
    def _known_queries(self) -> tuple[Rows, Rows, Rows]:
        """Entities, relations and answers of facts of valid, in both directions."""
        valid = self._graph.split("valid").astype(np.int64)
        valid = valid[np.random.default_rng(0).permutation(len(valid))[:KNOWN]]
        heads, relations, tails = valid.T
        back = relations + self._relations
        both = np.concatenate
        return both([heads, tails]), both([relations, back]), both([tails, heads])

    @cached_property
    def _known_pairs(self) -> list[tuple[int, int]]:
        entities, relations, _ = self._known_queries
        return list(zip(entities.tolist(), relations.tolist(), strict=True))

    @cached_property
    def _known_facts(self) -> tuple[Float64, Float64, Float64]:
        """Vectors [Q, W] of the known queries, scores and ranks of their answers."""
        entities, relations, targets = self._known_queries
        vectors = self._vectors(self._table[entities], relations)
        scores = np.einsum("qw,qw->q", vectors, self._table[targets].astype(np.float64))
        none = np.zeros((0, self._table.shape[1]))
        return vectors, scores, self._ranks(entities, relations, targets, none, none)

    def _vectors(self, rows: Float32, relations: Rows) -> Float64:
        query = self._engine.loaded.questions(rows, relations, priors=False).encoded()
        return query.vector.astype(np.float64)

    def _ranks(
        self, entities: Rows, relations: Rows, targets: Rows, heads: Float64, candidates: Float64
    ) -> Float64:
        """Return filtered ranks of targets among trained entities and candidates [H, W]."""
        every = np.concatenate([self._table, heads]).astype(np.float32)
        answers = np.concatenate([self._table, candidates]).astype(np.float64)
        ranks = []
        for start in range(0, len(entities), 256):
            part = slice(start, start + 256)
            asked = entities[part], relations[part]
            scores = self._vectors(every[asked[0]], asked[1]) @ answers.T
            known = [self._known[pair] for pair in zip(*(c.tolist() for c in asked), strict=True)]
            others = [sorted(row for row in rows if row < len(answers)) for rows in known]
            offsets = np.cumsum([0, *map(len, others)])
            facts = np.array([row for rows in others for row in rows], np.int64)
            ranks.append(filtered_ranks(scores, targets[part], offsets, facts))
        return np.concatenate(ranks)


def _mrr(ranks: Float64) -> float:
    return float((1 / ranks).mean())


def _usual(engine: Engine, table: Float32) -> FrozenModel:
    """What the query mean needs: norm and biases of the table."""
    layout = engine.bundle.manifest.layout
    points, none = layout.unpack(table), np.zeros(0)
    norm = float(np.linalg.norm(points.spatial, axis=1).mean())
    biases = float(points.tail_bias.mean()), float(points.head_bias.mean())
    return FrozenModel(layout, none, none, 0.0, 0.0, norm, *biases)


@app.command()
def page(records: Path = RECORDS, target: Path = HERE / "unseen.md") -> None:
    """Write the page and ``unseen.json`` from the records."""
    found = [record for file in read_records(records) for record in file["records"]]
    write_json(target.with_suffix(".json"), {"records": found})
    write_page(target, found)


if __name__ == "__main__":
    app()
