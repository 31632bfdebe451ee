"""Graphs that arrive in snapshots: read them, and rank by the two protocols.

A folder has subfolders 0, 1, .. with train, valid and test each. The graph at snapshot s is all
splits of snapshots 0 to s.

Shape letters: E entities and R relations after the last snapshot, n facts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.errors import DatasetError
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.ranking import summarise
from mulde.graph.facts import Facts
from mulde.graph.graph import SPLITS, Graph, assemble, first_occurrences
from mulde.graph.reading.read import read_graph
from mulde.typing import Floats, Mask, Rows, Triples
from training.update.growth import rows_among

VALID_SHARE = 10
"""A training ranks one of so many facts of valid at its end, for the record; it chooses nothing."""


@dataclass(frozen=True)
class Snapshots:
    """Facts by snapshot and split.

    Attributes:
        entity_ids, relation_ids: [E] and [R], sorted.
        parts: for each snapshot its splits, in rows of these.
    """

    entity_ids: tuple[str, ...]
    relation_ids: tuple[str, ...]
    parts: tuple[dict[str, Triples], ...]

    @classmethod
    def read(cls, folder: Path) -> Snapshots:
        """Read the subfolders 0, 1, .. of a folder."""
        count = sum((folder / str(place)).is_dir() for place in range(100))
        read = [{s: _facts(folder / str(n), s) for s in SPLITS} for n in range(count)]
        every = [facts for part in read for facts in part.values()]
        entities = tuple(sorted({name for one in every for name in one.entity_ids.to_pylist()}))
        relations = tuple(sorted({name for one in every for name in one.relation_ids.to_pylist()}))
        parts = tuple(
            {split: _moved(facts, entities, relations) for split, facts in part.items()}
            for part in read
        )
        return cls(entities, relations, parts)

    def graph(self, snapshot: int) -> Graph:
        """The graph after a snapshot."""
        whole = {
            split: np.concatenate([part[split] for part in self.parts[: snapshot + 1]])
            for split in SPLITS
        }
        stacked = np.concatenate([*whole.values()])
        entities, relations = np.unique(stacked[:, [0, 2]]), np.unique(stacked[:, 1])
        splits = {
            split: first_occurrences(
                np.stack(
                    [
                        np.searchsorted(entities, rows[:, 0]),
                        np.searchsorted(relations, rows[:, 1]),
                        np.searchsorted(entities, rows[:, 2]),
                    ],
                    axis=1,
                ).astype(np.int32),
                len(entities),
                len(relations),
            )
            for split, rows in whole.items()
        }
        splits["valid"] = splits["valid"][::VALID_SHARE]
        names = tuple(self.entity_ids[row] for row in entities.tolist())
        labels = tuple(self.relation_ids[row] for row in relations.tolist())
        return assemble(
            name=f"snapshot {snapshot}",
            entity_ids=names,
            relation_ids=labels,
            entity_labels=names,
            relation_labels=labels,
            splits=splits,
            digest=hashlib.sha256(stacked.tobytes()).hexdigest(),
        )

    @cached_property
    def known(self) -> KnownFacts:
        """All facts of all snapshots."""
        whole = np.concatenate([rows for part in self.parts for rows in part.values()])
        return KnownFacts.build(whole, len(self.entity_ids), len(self.relation_ids))

    def quality(
        self, graph: Graph, scores: Scores, split: str = "test", every: int = 1
    ) -> list[dict[str, dict[str, float]]]:
        """Quality on the facts of each snapshot that a graph has, by both protocols.

        ``then`` ranks the entities known at the snapshot, ``now`` all of the graph; both leave out
        all known facts of all snapshots.

        Args:
            graph: after some snapshot.
            scores: of its rows.
            split: whose facts.
            every: rank one of so many facts.
        """
        widened = _widened(scores, graph, self)
        found = []
        for place, part in enumerate(self.parts):
            there = rows_among(self.graph(place).entity_ids, self.entity_ids) >= 0
            if not set(self._ids(there)) <= set(graph.entity_ids):
                break
            task = self._task(part[split][::every])
            ranked = {"then": there, "now": rows_among(graph.entity_ids, self.entity_ids) >= 0}
            found.append({name: _total(task, _among(widened, m)) for name, m in ranked.items()})
        return found

    def _ids(self, there: Mask) -> list[str]:
        return [self.entity_ids[row] for row in np.flatnonzero(there).tolist()]

    def _task(self, triples: Triples) -> RankingTask:
        head, relation, tail = triples.astype(np.int64).T
        return RankingTask(
            entity=np.concatenate([head, tail]),
            relation=np.concatenate([relation, relation + len(self.relation_ids)]),
            target=np.concatenate([tail, head]),
            known=self.known,
        )


def _facts(folder: Path, split: str) -> Facts:
    for path in sorted(folder.glob(f"{split}.txt*")):
        return read_graph(path, format="tsv", header=False).facts
    raise DatasetError(folder, f"expected {split}.txt or {split}.txt.gz, found none")


def _moved(facts: Facts, entities: tuple[str, ...], relations: tuple[str, ...]) -> Triples:
    """Facts in rows of all snapshots' names."""
    entity = rows_among(entities, tuple(facts.entity_ids.to_pylist()))
    relation = rows_among(relations, tuple(facts.relation_ids.to_pylist()))
    head, kind, tail = facts.triples.T
    return np.stack([entity[head], relation[kind], entity[tail]], axis=1).astype(np.int32)


def _widened(scores: Scores, graph: Graph, snapshots: Snapshots) -> Scores:
    """Scores of a graph's rows as scores of all snapshots' rows; lowest where it lacks one."""
    entities = rows_among(graph.entity_ids, snapshots.entity_ids)
    relations = rows_among(graph.relation_ids, snapshots.relation_ids)
    count = len(relations)
    place = rows_among(snapshots.entity_ids, graph.entity_ids)

    def found(entity: Rows, relation: Rows) -> Floats:
        back = np.where(relation < count, 0, graph.num_relations)
        own = scores(entities[entity], relations[relation % count] + back)
        wide = np.full((len(own), len(entities)), -np.inf, dtype=np.float32)
        wide[:, place] = own
        return wide

    return found


def _among(scores: Scores, there: Mask) -> Scores:
    """The same scores, lowest for entities that are not there."""

    def found(entity: Rows, relation: Rows) -> Floats:
        return np.where(there, scores(entity, relation), np.float32(-np.inf))

    return found


def _total(task: RankingTask, scores: Scores) -> dict[str, float]:
    return summarise(*np.split(task.ranks(scores), 2))["total"]
