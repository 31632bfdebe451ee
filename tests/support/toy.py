"""A complete, valid bundle made without torch, and the float64 reference of what it must answer.

Points and relations are random but well-formed: the query of relation r moves the head's point
linearly and shifts it, X' = A_r Y' + s_r, which is again a point of the unit hyperboloid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mulde.bundle.draft import draft_bundle
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.facts.path_rules import NO_STEP, PathRules
from mulde.bundle.files import (
    CALIBRATION,
    CARD,
    ENCODER,
    ENTITIES,
    KNOWN,
    RECIPE,
    RULES,
    SEARCH,
    TYPES,
    VOCABULARY,
)
from mulde.bundle.manifest import Dataset, Manifest, RecipeStamp, Score
from mulde.bundle.table.entity_table import Layout, Precision, excess
from mulde.evaluation.calibration import KNOTS, Calibration, Curves
from mulde.typing import Float32, Float64, Ints
from training.export.table.entity_table import write_table

Kind = Literal["linear", "distance"]


@dataclass(frozen=True)
class Toy:
    """What was written, and the means to say what is true of it.

    Shape letters: E entities, R relations, D dimension, W width, B queries, n triples.

    Attributes:
        path: the bundle; a ``Toy`` can stand where a path is expected (``os.PathLike``).
        table: float32 [E, W], exactly what ``entities.faiss`` holds.
        matrices, shifts, slopes: float32 [2R, D, D], [2R, D] and [2R].
        pulls: float32 [2R, J], the weights of the traits.
        triples: int32 [n, 3], the facts in ``known.bin`` (if there is one) and ``types.bin``.
    """

    path: Path
    layout: Layout
    score: Score
    table: Float32
    matrices: Float32
    shifts: Float32
    slopes: Float32
    pulls: Float32
    triples: NDArray[np.int32]

    def __fspath__(self) -> str:
        """The bundle's folder."""
        return str(self.path)

    def scores(self, entities: Ints, relations: Ints) -> Float64:
        """Scores [B, E] of all candidates of queries [B], in float64 from the stored table."""
        points = self.layout.unpack(self.table)
        moved = np.einsum("bij,bj->bi", self.matrices[relations], points.spatial[entities])
        query = moved + self.shifts[relations]
        x = excess(query)[:, None]
        u = x + (1 + x) * points.excess - query @ points.spatial.T
        slope = self.slopes[relations].astype(np.float64)[:, None]
        far = np.arccosh(1 + np.maximum(u, 0)) ** 2 / self.score.curvature
        penalty = slope * u if self.score.kind == "linear" else far
        pulled = self.pulls[relations].astype(np.float64) @ points.traits.T
        scores: Float64 = points.head_bias[entities][:, None] + points.tail_bias - penalty + pulled
        return scores


def toy_bundle(
    directory: Path,
    *,
    entities: int = 50,
    relations: int = 3,
    dimension: int = 8,
    seed: int = 0,
    kind: Kind = "linear",
    precision: Precision = "fp16",
    known: bool = True,
    rules: bool = False,
    loops: tuple[int, ...] | None = None,
    traits: int = 0,
    slots: tuple[tuple[int, ...], ...] = (),
    facts: NDArray[np.int32] | None = None,
    name: str = "toy",
    version: str = "1",
    overwrite: bool = False,
) -> Toy:
    """Write a random bundle.

    Entity ids are ``Q0000000``.. and their labels ``thing 0``..; the last two entities share the
    label ``twin``. Relation ids are ``P0``.. and their labels ``relation 0``...

    Args:
        directory: the folder to make.
        entities, relations, dimension: E (at least 4), R and D.
        seed: equal arguments give equal bundles.
        kind: of score.
        precision: of the table.
        known: whether the bundle has ``known.bin``.
        rules: whether it has ``rules.bin``: see ``toy_rules``.
        loops: see ``Manifest.loops``.
        traits: how many, of random 0 and 1 with random weights.
        slots: of relation priors instead: 1 for entities that are answers in one of the slots.
        facts: distinct, [n, 3]; None for random ones.
        name, version: of the model.
        overwrite: whether a bundle that is there may be replaced.
    """
    generator = np.random.default_rng(seed)
    traits = len(slots) or traits
    layout = Layout(dimension, traits)
    spatial = generator.normal(size=(entities, dimension)) * 0.5
    biases = generator.normal(size=(2, entities)) * 0.2
    triples = generator.integers(0, [entities, relations, entities], size=(3 * entities, 3))
    drawn = np.random.default_rng(seed + 1)
    held = drawn.integers(0, 2, size=(entities, traits)).astype(np.float64)
    facts = np.unique(triples, axis=0).astype(np.int32) if facts is None else facts
    for place, group in enumerate(slots):
        held[:, place] = _filled(facts, group, entities, relations)
    toy = Toy(
        path=Path(directory),
        layout=layout,
        score=Score(kind, 0.7),
        table=layout.pack(spatial, biases[0], biases[1], precision, held),
        matrices=_rotations(generator, 2 * relations, dimension),
        shifts=(generator.normal(size=(2 * relations, dimension)) * 0.2).astype(np.float32),
        slopes=generator.uniform(1.0, 3.0, size=2 * relations).astype(np.float32),
        pulls=drawn.uniform(-2.0, 2.0, size=(2 * relations, traits)).astype(np.float32),
        triples=facts,
    )
    manifest = _manifest(toy, name, version, entities, relations, precision)
    manifest = replace(manifest, loops=loops)
    with draft_bundle(toy.path, overwrite=overwrite) as draft:
        _fill(draft.path, toy, entities, relations, precision, known)
        if rules:
            toy_rules(relations).write(draft.path / RULES)
        draft.seal(manifest)
        draft.publish()
    return toy


def _filled(
    triples: NDArray[np.int32], group: tuple[int, ...], entities: int, relations: int
) -> NDArray[np.bool_]:
    """Whether each entity is the answer of a fact in one of the slots, relation rows in [0, 2R)."""
    filled = np.zeros(entities, bool)
    for slot in group:
        own = triples[triples[:, 1] == slot % relations]
        filled[own[:, 2 if slot < relations else 0]] = True
    return filled


def _fill(
    folder: Path, toy: Toy, entities: int, relations: int, precision: Precision, known: bool
) -> None:
    ids = [f"Q{row:07d}" for row in range(entities)]
    labels = [f"thing {row}" for row in range(entities - 2)] + ["twin", "twin"]
    relation_ids = [f"P{row}" for row in range(relations)]
    relation_labels = [f"relation {row}" for row in range(relations)]
    order = np.argsort(relation_ids)
    vocabulary = Vocabulary.build(
        ids, labels, [relation_ids[row] for row in order], [relation_labels[row] for row in order]
    )
    vocabulary.write(folder / VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(folder / SEARCH)
    if known:
        KnownFacts.build(toy.triples, entities, relations).write(folder / KNOWN)
    types = EntityTypes.of_graph(toy.triples, [relation_ids[row] for row in order], entities)
    types.write(folder / TYPES)
    text = toy_calibration(relations).to_json()
    (folder / CALIBRATION).write_text(text, encoding="utf-8")
    (folder / CARD).write_text("# A toy\n", encoding="utf-8")
    (folder / RECIPE).write_text("# none: random numbers\n", encoding="utf-8")
    write_table(folder / ENTITIES, toy.table, precision)
    onnx.save(encoder_model(toy), folder / ENCODER)


def toy_rules(relations: int) -> PathRules:
    """Every path of one or two steps stands for every relation, and two of three steps."""
    directions = range(2 * relations)
    paths = [(step, NO_STEP, NO_STEP) for step in directions]
    paths += [(first, second, NO_STEP) for first in directions for second in directions]
    paths += [(0, 0, 0), (0, relations, 1)]
    each = len(paths)
    return PathRules(
        num_relations=relations,
        offsets=np.arange(relations + 1, dtype=np.uint32) * each,
        steps=np.tile(np.array(paths, np.int32), (relations, 1)),
        support=np.full(each * relations, 2, np.uint32),
        confidence=np.tile(np.linspace(0.9, 0.1, each, dtype=np.float32), relations),
        sampled=np.full(relations, 10, np.uint32),
    )


def toy_calibration(relations: int) -> Calibration:
    """Sigmoids of the scores: of their sum for a triple; head queries are a little surer."""
    return Calibration(
        new_facts=_sigmoids([0.0] * relations + [0.5] * relations, 1),
        all_facts=_sigmoids([0.0] * relations + [0.5] * relations, 1),
        triples=_sigmoids([0.0] * relations, 2),
        bias_weights=(0.0, 0.0, 0.0, 0.0),
    )


def _sigmoids(intercept: list[float], scores: int) -> Curves:
    ones = ((1.0,) * (len(KNOTS) + 1),) * scores
    count = len(intercept)
    return Curves(
        intercept=tuple(intercept),
        centre=((0.0,) * scores,) * count,
        scale=((1.0,) * scores,) * count,
        slope=(ones,) * count,
        floor=0.001,
    )


def encoder_model(toy: Toy) -> onnx.ModelProto:
    """``encoder.onnx`` by hand: (head [B, W], relation [B]) -> query, offset, bias, slope."""
    dimension, width = toy.layout.dimension, toy.layout.width
    rests = np.zeros((len(toy.slopes), width - dimension - 4), dtype=np.float32)
    rests[:, 2 : 2 + toy.layout.trait_count] = toy.pulls
    constants = {
        "matrices": toy.matrices.transpose(0, 2, 1),
        "shifts": toy.shifts,
        "slopes": toy.slopes,
        "one": np.float32(1),
        "ones": np.ones((1, 2), dtype=np.float32),
        "rests": rests,
        "start": np.array([0]),
        "end": np.array([dimension]),
        "bias_start": np.array([toy.layout.head_bias.start]),
        "bias_end": np.array([toy.layout.head_bias.stop]),
        "axis1": np.array([1]),
    }
    node = helper.make_node
    nodes = [
        node("Slice", ["head", "start", "end", "axis1"], ["spatial"]),
        node("Gather", ["matrices", "relation"], ["matrix"]),
        node("Unsqueeze", ["spatial", "axis1"], ["spatial3"]),
        node("MatMul", ["spatial3", "matrix"], ["moved3"]),
        node("Squeeze", ["moved3", "axis1"], ["moved"]),
        node("Gather", ["shifts", "relation"], ["shift"]),
        node("Add", ["moved", "shift"], ["point"]),
        node("ReduceSumSquare", ["point", "axis1"], ["square"]),
        node("Add", ["square", "one"], ["square1"]),
        node("Sqrt", ["square1"], ["time"]),
        node("Add", ["time", "one"], ["time1"]),
        node("Div", ["square", "time1"], ["excess"]),
        node("Gather", ["slopes", "relation"], ["slope"]),
        node("Unsqueeze", ["slope", "axis1"], ["slope2"]),
        node("Mul", ["slope2", "point"], ["scaled"]),
        node("Add", ["excess", "one"], ["excess1"]),
        node("Mul", ["slope2", "excess1"], ["pull"]),
        node("Neg", ["pull"], ["push"]),
        node("Mul", ["push", "ones"], ["pushes"]),
        node("Gather", ["rests", "relation"], ["rest"]),
        node("Div", ["slope2", "slope2"], ["unit"]),
        node("Mul", ["unit", "ones"], ["units"]),
        node("Concat", ["scaled", "pushes", "units", "rest"], ["query"], axis=1),
        node("Mul", ["slope2", "excess"], ["pulled"]),
        node("Neg", ["pulled"], ["offset2"]),
        node("Squeeze", ["offset2", "axis1"], ["offset"]),
        node("Slice", ["head", "bias_start", "bias_end", "axis1"], ["biases"]),
        node("ReduceSum", ["biases", "axis1"], ["bias"], keepdims=0),
    ]
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("head", real, ["B", width]),
            helper.make_tensor_value_info("relation", whole, ["B"]),
        ],
        [
            helper.make_tensor_value_info("query", real, ["B", width]),
            *(helper.make_tensor_value_info(n, real, ["B"]) for n in ("offset", "bias", "slope")),
        ],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def _manifest(
    toy: Toy, name: str, version: str, entities: int, relations: int, precision: Precision
) -> Manifest:
    figures = {"mrr": 0.5, "hits@1": 0.4, "hits@3": 0.5, "hits@10": 0.6}
    return Manifest(
        name=name,
        version=version,
        created="2026-01-01T00:00:00Z",
        family="toy",
        score=toy.score,
        dimension=toy.layout.dimension,
        width=toy.layout.width,
        traits=toy.layout.trait_count,
        precision=precision,
        entities=entities,
        relations=relations,
        dataset=Dataset("random", "0" * 64, {"train": len(toy.triples), "valid": 0, "test": 0}),
        recipe=RecipeStamp("none", "0" * 64),
        libraries={"numpy": np.__version__},
        quality={"test": {"tail": figures, "head": figures, "total": figures}},
        checks={"recall@10": 1.0},
    )


def _rotations(generator: np.random.Generator, count: int, dimension: int) -> Float32:
    """Random orthogonal matrices [count, D, D]."""
    turned, _ = np.linalg.qr(generator.normal(size=(count, dimension, dimension)))
    return turned.astype(np.float32)
