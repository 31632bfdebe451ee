"""Whether the facts that an explanation names are those that a score rests on; rules as a ranker.

    python -m benchmarks.explain faithfulness BUNDLE --data DIR   # a bundle with facts and rules
    python -m benchmarks.explain time BUNDLE
    python -m benchmarks.explain rank BUNDLE --data DIR
    python -m benchmarks.explain page

Faithfulness: an entity of a test triple is placed anew from its known facts (as an unseen entity
is), without the triple itself; then without the facts that the explanation names; then without as
many facts drawn at random. The score of the triple should fall most where the named facts are gone.

Shape letters: n facts of an entity.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, thread_time
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.record_files import read_records, write_json
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import read_folder
from mulde.typing import Float64, Rows
from serving.engine.engine import Engine
from serving.engine.explanation.explain import TripleExplanations, Wanted, explain
from serving.engine.explanation.paths import NO_ENTITY
from serving.registry.placement import Placer
from training.rules.mine import Mining, mine
from training.rules.walks import Walks

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "explain"
SOURCES = ("supporting", "paths", "similar", "all")
DRAWS = 5
_ASKED, _TIMED = 10, 300
_UNREACHED = -1e9

app = typer.Typer(add_completion=False, no_args_is_help=True)

Facts = Rows
"""[n, 2]: direction in [0, 2R) and neighbour of the facts (entity, direction, neighbour)."""


@app.command()
def faithfulness(
    bundle: Annotated[Path, typer.Argument(help="A bundle with known facts and rules.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    count: Annotated[int, typer.Option(help="Test triples.")] = 400,
) -> None:
    """Measure what removing the named facts costs a score, beside random ones."""
    graph, generator = read_folder(data), np.random.default_rng(3)
    drops: dict[str, list[tuple[float, float, int]]] = {source: [] for source in SOURCES}
    with Engine.open(bundle) as engine:
        test = graph.test[generator.permutation(len(graph.test))[:count]].astype(np.int64)
        removal = _Removal(engine, generator)
        for head, relation, tail in test.tolist():
            for source, measured in removal.of_triple(head, relation, tail):
                drops[source].append(measured)
        record = {
            "graph": graph.name,
            "bundle": bundle.name,
            "triples": len(test),
            "sources": {source: _summary(rows) for source, rows in drops.items()},
        }
    write_json(RECORDS / f"{bundle.name}-faithfulness.json", record)
    typer.echo(str(record))


class _Removal:
    """Scores of triples whose tail or head is placed again without some of its facts."""

    def __init__(self, engine: Engine, generator: np.random.Generator) -> None:
        self._engine, self._generator = engine, generator
        self._placer = Placer(engine.bundle, engine.loaded)
        self._count = engine.num_relations

    def of_triple(
        self, head: int, relation: int, tail: int
    ) -> Iterator[tuple[str, tuple[float, float, int]]]:
        """Source, and fall of the score without named facts, without random ones, facts removed."""
        heads, relations, tails = np.array([[head], [relation], [tail]])
        found = explain(self._engine, heads, relations, tails, Wanted(), lambda: None)
        sides = ((tail, head, relation, False), (head, tail, relation + self._count, True))
        for entity, other, asked, backwards in sides:
            facts = self._facts(entity, (asked + self._count) % (2 * self._count), other)
            named = _named(self._engine, found, entity, relation, backwards)
            yield from self._of_entity(facts, named, other, asked)

    def _facts(self, entity: int, direction: int, without: int) -> Facts:
        known = self._engine.bundle.known
        assert known is not None
        directions = np.arange(2 * self._count)
        offsets, reached = known.of_many(np.full(len(directions), entity), directions)
        facts = np.stack([directions.repeat(np.diff(offsets)), reached], axis=1).astype(np.int64)
        kept = (facts[:, 0] != direction) | (facts[:, 1] != without)
        found: Facts = facts[kept & (facts[:, 1] != entity)]
        return found

    def _of_entity(
        self, facts: Facts, named: dict[str, set[tuple[int, int]]], other: int, asked: int
    ) -> Iterator[tuple[str, tuple[float, float, int]]]:
        whole = None
        for source, names in named.items():
            marked = np.array([tuple(fact) in names for fact in facts.tolist()], dtype=bool)
            removed = int(marked.sum())
            if not 0 < removed < len(facts):
                continue
            whole = self._score(facts, other, asked) if whole is None else whole
            without = self._score(facts[~marked], other, asked)
            random = [self._score(self._fewer(facts, removed), other, asked) for _ in range(DRAWS)]
            yield source, (whole - without, whole - float(np.mean(random)), removed)

    def _fewer(self, facts: Facts, removed: int) -> Facts:
        return facts[self._generator.permutation(len(facts))[removed:]]

    def _score(self, facts: Facts, other: int, asked: int) -> float:
        """Score of an entity with these facts as an answer to (other, asked, ?)."""
        engine = self._engine
        rows = engine.loaded.table.rows(facts[:, 1])
        placed = self._placer.place(rows, facts[:, 0]).as_answer
        query = engine.encode([other], [asked], priors=False)
        return float(engine.loaded.scorer.scores(query, placed[None, None])[0, 0])


def _named(
    engine: Engine, found: TripleExplanations, entity: int, relation: int, at_head: bool
) -> dict[str, set[tuple[int, int]]]:
    """The entity's own facts, (direction, neighbour), that an explanation of one triple names."""
    count, rules, paths = engine.num_relations, engine.bundle.rules, found.paths
    assert rules is not None
    assert paths is not None
    near: set[tuple[int, int]] = set()
    for rule, between in zip(paths.rules.tolist(), paths.between.tolist(), strict=True):
        steps = [step for step in rules.steps[rule].tolist() if step >= 0]
        middle = [row for row in between if row != NO_ENTITY]
        if not middle:
            continue
        last = (steps[-1] + count) % (2 * count), middle[-1]
        near.add((steps[0], middle[0]) if at_head else last)
    pairs = zip(found.similar.heads.tolist(), found.similar.tails.tolist(), strict=True)
    if at_head:
        like = {(relation, tail) for head, tail in pairs if head == entity}
    else:
        like = {(relation + count, head) for head, tail in pairs if tail == entity}
    supporting, own = found.supporting, set[tuple[int, int]]()
    columns = supporting.heads, supporting.relations, supporting.tails
    for head, direction, tail in zip(*(one.tolist() for one in columns), strict=True):
        if head == entity:
            own.add((direction, tail))
        if tail == entity:
            own.add((direction + count, head))
    return {"supporting": own, "paths": near, "similar": like, "all": own | near | like}


def _summary(rows: list[tuple[float, float, int]]) -> dict[str, float]:
    """Means over entities of triples; the interval is of the mean difference, 95 %."""
    named, random, removed = np.array(rows).T
    gap = named - random
    return {
        "entities": len(rows),
        "removed": float(removed.mean()),
        "named": float(named.mean()),
        "random": float(random.mean()),
        "difference": float(gap.mean()),
        "median": float(np.median(gap)),
        "interval": float(1.96 * gap.std() / np.sqrt(len(gap))),
        "named_falls_more": float((gap > 0).mean()),
    }


def _timed(engine: Engine, generator: np.random.Generator) -> dict[str, float]:
    """Milliseconds of a core for explanations of ten answers to one query, in the engine.

    The first explanation of a process reads the bundle's pages in, and is told apart.
    """
    known = engine.bundle.known
    assert known is not None
    seconds = []
    for key in generator.choice(known.keys, _TIMED).tolist():
        asked, entity = divmod(int(key), engine.num_entities)
        if asked >= engine.num_relations:
            continue
        answers = engine.predict([entity], [asked], _ASKED, exclude_known=True).rows
        head, relation = np.full(len(answers), entity), np.full(len(answers), asked)
        start = thread_time()
        explain(engine, head, relation, answers, Wanted(), lambda: None)
        seconds.append(thread_time() - start)
    first, *others = (1e3 * one for one in seconds)
    p50, p99, most = np.percentile(others, [50, 99, 100])
    return {"first": first, "p50": float(p50), "p99": float(p99), "max": float(most)}


@app.command()
def time(
    bundle: Annotated[Path, typer.Argument(help="A bundle with known facts and rules.")],
) -> None:
    """Measure the engine's time for explanations of ten answers to one query."""
    with Engine.open(bundle) as engine:
        record = {
            "graph": engine.manifest.dataset.name,
            "ms": _timed(engine, np.random.default_rng(3)),
        }
    write_json(RECORDS / f"{bundle.name}-time.json", record)
    typer.echo(str(record))


@app.command()
def rank(
    bundle: Annotated[Path, typer.Argument(help="The bundle to compare with.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    sample: Annotated[int, typer.Option(help="Train triples of a direction looked at.")] = 8000,
) -> None:
    """Rank test by rules alone: the logit of a logistic regression over the paths that hold."""
    graph = read_folder(data)
    walks = Walks(graph.train, graph.num_entities, graph.num_relations)
    start = perf_counter()
    settings = Mining(sample=sample)
    rules = [mine(walks, row, settings, 0) for row in range(2 * graph.num_relations)]
    mined = perf_counter() - start

    def scores(entity: Rows, relation: Rows) -> Float64:
        found = np.full((len(entity), graph.num_entities), _UNREACHED)
        for row in np.unique(relation).tolist():
            own = relation == row
            logits = rules[row].logits(walks, entity[own]).toarray()
            found[own] = np.where(logits == 0, _UNREACHED, logits)
        return found

    figures = RankingTask.of(graph, "test").quality(scores)
    with Engine.open(bundle) as engine:
        junior = engine.manifest.scorer_quality["test"]["total"]
    record = {
        "graph": graph.name,
        "bundle": bundle.name,
        "rules": sum(len(one.paths) for one in rules),
        "seconds": mined,
        "ranked": figures["total"],
        "junior": junior,
    }
    write_json(RECORDS / f"{bundle.name}-rank.json", record)
    typer.echo(str(record))


@app.command()
def page() -> None:
    """Write benchmarks/explain.md from the records."""
    records = read_records(RECORDS)
    (HERE / "explain.md").write_text(_page(records), encoding="utf-8")
    write_json(HERE / "explain.json", records)


def _page(records: list[dict[str, Any]]) -> str:
    faithful = [record for record in records if "sources" in record]
    timed = [record for record in records if "ms" in record]
    ranked = [record for record in records if "ranked" in record]
    lines = [
        "# Explanations: faithfulness, time, and rules as a ranker",
        "",
        "Written by `make bench-explain`. An entity of a test triple is placed anew from its known",
        "facts, as an unseen entity is, without the triple itself. Then again without the facts",
        f"that the explanation names, and without as many facts drawn at random ({DRAWS} draws).",
        "*Fall* is by how much the score of the triple falls, in units of the score. Only entities",
        "of which the explanation names some facts but not all are counted.",
        "",
        "| graph | facts named by | entities | facts removed | fall, named | fall, random "
        "| mean difference, 95 % | its median | named falls more |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for record in faithful:
        for source, row in record["sources"].items():
            lines.append(
                f"| {record['graph']} | {source} | {row['entities']:,.0f} | {row['removed']:.1f} | "
                f"{row['named']:.2f} | {row['random']:.2f} | "
                f"{row['difference']:.2f} ± {row['interval']:.2f} | {row['median']:.2f} | "
                f"{row['named_falls_more']:.0%} |"
            )
    lines += ["", "Time of one core that the engine takes for ten answers to one query:", ""]
    lines += ["| graph | first of a process, ms | p50, ms | p99, ms | largest, ms |"]
    lines += ["|---|---|---|---|---|"]
    for record in timed:
        ms = record["ms"]
        figures = " | ".join(f"{ms[name]:.1f}" for name in ("first", "p50", "p99", "max"))
        lines.append(f"| {record['graph']} | {figures} |")
    lines += [
        "",
        "Rules alone as a ranker (`training/rules/mine.py`: a logistic regression over the paths",
        "that hold; candidates that no path reaches share the last places), on test, filtered,",
        "both directions:",
        "",
        "| graph | rules | MRR | Hits@10 | Junior, scorer alone: MRR | Hits@10 |",
        "|---|---|---|---|---|---|",
    ]
    for record in ranked:
        own, junior = record["ranked"], record["junior"]
        lines.append(
            f"| {record['graph']} | {record['rules']:,} "
            f"| {own['mrr']:.4f} | {own['hits@10']:.4f} "
            f"| {junior['mrr']:.4f} | {junior['hits@10']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app()
