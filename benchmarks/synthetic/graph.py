"""Large graphs generated from a seed: power-law degrees, clusters, relations that move clusters.

Entities fall into clusters whose sizes follow a power law. The cluster centres on the hyperboloid
form a tree: a few distant branches, with clusters around each. Relation r turns some coordinate
planes by half a turn, which maps each cluster centre onto that of another cluster of its family,
then turns all planes by a small angle and shifts. The tail of a fact (h, r, t) lies in the cluster
that h's point is moved to, so the geometry agrees with the facts without any training.

    spatial   Y' = half turns of (branch + offset of its cluster) + noise
    degree    a tail is the member floor(n u^3) of its cluster of n: P(degree > x) ~ x^(-3/2)
    bias      b_t rises with the logarithm of the expected degree

Everything is generated in chunks of 65,536 entities, each from a seed of its own, so each part can
be generated again. Memory holds the clusters of all entities: 8 bytes an entity.

Shape letters: E entities, R relations, D dimension, C clusters, n entities or facts of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Bytes, Float64, Ints, Rows, Triples

CHUNK = 1 << 16
"""Entities that are made at a time."""

_TURNS = 4
_BRANCHES = 24
_SIZE_EXPONENT = 0.7
_POPULARITY = 3.0
_BRANCH_RADIUS, _CLUSTER_RADIUS, _NOISE = 0.57, 0.28, 0.28
_ANGLE, _SHIFT = 0.1, 0.1
_SLOPE = 36.0
_HELD_OUT = {"valid": 0.01, "test": 0.01}
_CLUSTERS, _RELATIONS, _ENTITIES, _FACTS, _SPLITS = range(5)


class Moves(NamedTuple):
    """How relations 0..R-1 and their reciprocals move a point.

    Attributes:
        angles: [2R, D / 2], of each coordinate plane.
        shifts: [2R, D], added after turning.
        slopes: [2R], what multiplies u in the score.
    """

    angles: Float64
    shifts: Float64
    slopes: Float64


@dataclass(frozen=True)
class SyntheticGraph:
    """A graph generated part by part; equal arguments give the same graph.

    Attributes:
        entities: E, at least 64.
        relations: R.
        dimension: D, a multiple of 8.
        facts_per_entity: mean number of facts of a head.
        seed: of everything.
    """

    entities: int
    relations: int = 20
    dimension: int = 32
    facts_per_entity: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse arguments outside their limits.

        Raises:
            ValueError: naming the argument.
        """
        if not 64 <= self.entities < 2**31:
            raise ValueError(f"entities: expected 64 to 2^31 - 1, found {self.entities}")
        if self.relations < 1:
            raise ValueError(f"relations: expected at least 1, found {self.relations}")
        if self.dimension < 8 or self.dimension % 8:
            raise ValueError(f"dimension: expected a multiple of 8, found {self.dimension}")
        if self.facts_per_entity <= 0:
            raise ValueError(f"facts_per_entity: expected above 0, found {self.facts_per_entity}")

    @property
    def clusters(self) -> int:
        """C: about 500 entities each, in families of 16 sisters."""
        sisters = 1 << _TURNS
        return sisters * max(2, self.entities // (500 * sisters))

    def starts(self) -> range:
        """Where each chunk starts."""
        return range(0, self.entities, CHUNK)

    def _random(self, purpose: int, start: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, start])

    @cached_property
    def _cluster_of(self) -> NDArray[np.int32]:
        """The cluster of each entity, [E]."""
        weights = np.arange(10.0, 10.0 + self.clusters) ** -_SIZE_EXPONENT
        self._random(_CLUSTERS).shuffle(weights)
        ends = np.cumsum(weights / weights.sum())
        ends[-1] = 1.0
        found = np.empty(self.entities, dtype=np.int32)
        for start in self.starts():
            part = found[start : start + CHUNK]
            part[:] = np.searchsorted(ends, self._random(_CLUSTERS, start + 1).random(len(part)))
        return found

    @cached_property
    def _members(self) -> tuple[NDArray[np.int32], Rows]:
        """Entities by cluster [E], and where each cluster begins [C + 1]."""
        order = np.argsort(self._cluster_of, kind="stable").astype(np.int32)
        sizes = np.bincount(self._cluster_of, minlength=self.clusters)
        return order, np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        """Place of each entity within its cluster, [E]."""
        order, begins = self._members
        place = np.empty(self.entities, dtype=np.int32)
        place[order] = np.arange(self.entities) - np.repeat(begins[:-1], np.diff(begins))
        return place

    @cached_property
    def _centres(self) -> Float64:
        """Points of the clusters, [C, D]; sisters differ by half turns alone."""
        generator, families = self._random(_CLUSTERS), self.clusters >> _TURNS
        spread = np.sqrt(self.dimension)
        branches = generator.normal(size=(_BRANCHES, self.dimension)) * _BRANCH_RADIUS / spread
        own = generator.normal(size=(families, self.dimension)) * _CLUSTER_RADIUS / spread
        family = branches[generator.integers(_BRANCHES, size=families)] + own
        which = np.arange(self.clusters)
        centres: Float64 = family[which >> _TURNS] * self._signs(which & ((1 << _TURNS) - 1))
        return centres

    def _signs(self, turns: Rows) -> Float64:
        """-1 where a coordinate lies in a group of planes that is turned, [..., D]."""
        group = np.arange(self.dimension) // (self.dimension // _TURNS)
        return np.where(turns[..., None] >> group & 1, -1.0, 1.0)

    @cached_property
    def _turns(self) -> Rows:
        """Which groups of planes each relation turns by half, as bits, [R]."""
        return self._random(_RELATIONS).integers(1 << _TURNS, size=self.relations)

    def moves(self) -> Moves:
        """The relations' moves; a reciprocal turns back and shifts back."""
        generator = self._random(_RELATIONS, 1)
        planes = self.dimension // 2
        half = np.pi * (self._signs(self._turns)[:, ::2] < 0)
        small = generator.normal(size=(self.relations, planes)) * _ANGLE
        spread = _SHIFT / self.dimension**0.5
        shifts = generator.normal(0.0, spread, size=(self.relations, self.dimension))
        slopes = _SLOPE * generator.lognormal(sigma=0.15, size=2 * self.relations)
        angles = np.concatenate([half + small, half - small])
        return Moves(angles, np.concatenate([shifts, -shifts]), slopes)

    def points(self, start: int) -> tuple[Float64, Float64, Float64]:
        """Spatial coordinates [n, D], tail bias [n] and head bias [n] of the chunk at ``start``."""
        generator = self._random(_ENTITIES, start)
        cluster = self._cluster_of[start : start + CHUNK]
        noise = generator.normal(size=(len(cluster), self.dimension))
        spatial = self._centres[cluster] + noise * (_NOISE / np.sqrt(self.dimension))
        sizes = np.diff(self._members[1])[cluster]
        share = (self._place[start : start + CHUNK] + 1.0) / sizes
        degree = share ** (1.0 / _POPULARITY - 1.0)
        tail_bias = 0.5 * np.log(degree) + generator.normal(size=len(cluster)) * 0.3
        return spatial, tail_bias, 2.0 + generator.normal(size=len(cluster)) * 0.6

    def facts(self, start: int) -> Triples:
        """The facts [n, 3] whose heads are in the chunk at ``start``; a few may come twice."""
        generator = self._random(_FACTS, start)
        heads = np.arange(start, min(start + CHUNK, self.entities))
        rates = self.facts_per_entity * np.exp(generator.normal(size=len(heads)) - 0.5)
        heads = np.repeat(heads, generator.poisson(rates))
        weights = 1.0 / np.arange(1.0, self.relations + 1.0)
        relations = generator.choice(self.relations, size=len(heads), p=weights / weights.sum())
        order, begins = self._members
        cluster = self._cluster_of[heads] ^ self._turns[relations]
        sizes = begins[cluster + 1] - begins[cluster]
        kept = sizes > 0
        share = generator.random(len(heads))[kept] ** _POPULARITY
        tails = order[begins[cluster[kept]] + (sizes[kept] * share).astype(np.int64)]
        return np.stack([heads[kept], relations[kept], tails], axis=1).astype(np.int32)

    def all_facts(self) -> Triples:
        """All facts [n, 3]."""
        return np.concatenate([self.facts(start) for start in self.starts()])

    def id_bytes(self, rows: Ints) -> Bytes:
        """The ids of entities [n] as ASCII, [n, letters]: ``Q`` and digits, all equally long."""
        return _numbered("Q", rows, len(str(self.entities - 1)))

    def relation_bytes(self, relations: Ints) -> Bytes:
        """The same for relations: ``P`` and digits."""
        return _numbered("P", relations, len(str(self.relations - 1)))

    def write_text(self, folder: Path) -> dict[str, int]:
        """Write train.txt, valid.txt and test.txt, chunk by chunk, into an empty folder.

        Returns:
            The number of facts in each.
        """
        counts = dict.fromkeys(("train", *_HELD_OUT), 0)
        files = {name: (folder / f"{name}.txt").open("xb") for name in counts}
        try:
            for start in self.starts():
                facts = self.facts(start)
                for name, part in self._split(start, facts):
                    files[name].write(self._lines(part))
                    counts[name] += len(part)
        finally:
            for file in files.values():
                file.close()
        return counts

    def _split(self, start: int, facts: Triples) -> Iterator[tuple[str, Triples]]:
        draw, low = self._random(_SPLITS, start).random(len(facts)), 0.0
        for name, share in _HELD_OUT.items():
            yield name, facts[(draw >= low) & (draw < low + share)]
            low += share
        yield "train", facts[draw >= low]

    def _lines(self, facts: Triples) -> bytes:
        """Facts as ``head<TAB>relation<TAB>tail``."""
        head, relation, tail = facts.T
        tab = np.full((len(facts), 1), ord("\t"), dtype=np.uint8)
        parts = self.id_bytes(head), tab, self.relation_bytes(relation), tab, self.id_bytes(tail)
        return np.concatenate([*parts, tab - ord("\t") + ord("\n")], axis=1).tobytes()


def _numbered(letter: str, numbers: Ints, digits: int) -> Bytes:
    """A letter and decimal digits with leading zeros, as ASCII [n, 1 + digits]."""
    powers = 10 ** np.arange(digits - 1, -1, -1)
    text = np.empty((len(numbers), 1 + digits), dtype=np.uint8)
    text[:, 0] = ord(letter)
    text[:, 1:] = numbers[:, None] // powers % 10 + ord("0")
    return text
