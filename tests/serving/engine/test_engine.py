"""The engine on whole bundles: what it answers, marks, filters and refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import onnx
import pytest

from mulde.bundle.files import ENCODER, ENTITIES
from mulde.errors import BundleError, InvalidArgument
from mulde.evaluation.ranking import filtered_ranks
from serving.engine.engine import Engine
from tests.serving.resealing import reseal
from tests.support.server import environment
from tests.support.toy import Toy, toy_bundle

E, R = 1500, 4


@pytest.fixture(scope="module", params=["linear", "distance"])
def toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("bundles") / request.param
    return toy_bundle(folder, entities=E, relations=R, dimension=16, kind=request.param)


@pytest.fixture(scope="module")
def engine(toy: Toy) -> Engine:
    return Engine.open(toy.path)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_scores_are_those_of_the_formula(toy: Toy, engine: Engine) -> None:
    entities, relations = np.arange(0, E, 50), np.arange(0, E, 50) % (2 * R)
    assert engine.scores(entities, relations) == pytest.approx(
        toy.scores(entities, relations), abs=2e-5
    )


def test_all_scoring_paths_agree_to_the_last_bit(
    engine: Engine, generator: np.random.Generator
) -> None:
    entities, relations = generator.integers(0, E, 40), generator.integers(0, 2 * R, 40)
    every = engine.scores(entities, relations)
    batch = engine.predict(entities, relations, 5)
    for one in range(0, 40, 7):
        alone = engine.predict(entities[one], relations[one], 5)
        part = slice(5 * one, 5 * one + 5)
        assert alone.scores.tolist() == batch.scores[part].tolist()
        assert alone.scores.tolist() == every[one, alone.rows].tolist()
        listed = np.full(5, entities[one]), np.full(5, relations[one])
        assert engine.score(*listed, alone.rows).tolist() == alone.scores.tolist()


def test_known_facts_are_excluded_and_k_answers_remain(
    toy: Toy, engine: Engine, generator: np.random.Generator
) -> None:
    entities, relations = toy.triples[:60, 0], toy.triples[:60, 1]
    answers = engine.predict(entities, relations, 10, exclude_known=True)
    assert (answers.counts == 10).all()
    assert answers.known is None
    facts = set(map(tuple, toy.triples.tolist()))
    owners = answers.owners
    found = zip(entities[owners], relations[owners], answers.rows, strict=True)
    assert not facts & {tuple(map(int, triple)) for triple in found}


def test_known_facts_are_marked_where_they_are_kept(toy: Toy, engine: Engine) -> None:
    entities, relations = toy.triples[:60, 0], toy.triples[:60, 1]
    answers = engine.predict(entities, relations, E)
    assert answers.known is not None
    facts = set(map(tuple, toy.triples.tolist()))
    owners = answers.owners
    triples = zip(entities[owners], relations[owners], answers.rows, strict=True)
    assert answers.known.tolist() == [tuple(map(int, triple)) in facts for triple in triples]


def test_heads_are_the_tails_of_the_reciprocal_relation(toy: Toy, engine: Engine) -> None:
    head, relation, tail = toy.triples[0]
    kept = engine.predict(tail, relation + R, E)
    assert kept.known is not None
    assert head in kept.rows[kept.known]
    dropped = engine.predict(tail, relation + R, 10, exclude_known=True)
    assert head not in dropped.rows


def test_allow_and_deny_bound_the_candidates(engine: Engine) -> None:
    every = engine.predict([3], [1], E).rows
    allow, deny = np.arange(100, 200), every[np.isin(every, np.arange(100, 200))][:5]
    wanted = [row for row in every if row in allow and row not in deny][:8]
    for count in (1, 10):
        answers = engine.predict([3] * count, [1] * count, 8, allow=allow, deny=deny)
        assert answers.rows.reshape(count, 8).tolist() == [wanted] * count


def test_fewer_candidates_than_k_give_fewer_answers(engine: Engine) -> None:
    answers = engine.predict([3, 4], [1, 2], 8, allow=[7, 8, 9], deny=[9])
    assert answers.counts.tolist() == [2, 2]
    assert answers.exact.all()


def test_a_threshold_cuts_and_says_how_many_there_were(engine: Engine) -> None:
    every = engine.predict([3], [1], 20)
    answers = engine.predict([3], [1], 20, threshold=float(every.scores[4]))
    assert answers.rows.tolist() == every.rows[:5].tolist()
    assert answers.candidates.tolist() == [20]


def test_ranks_are_filtered_ranks_of_exhaustive_scores(
    toy: Toy, engine: Engine, generator: np.random.Generator
) -> None:
    heads, relations, tails = toy.triples[generator.integers(0, len(toy.triples), 150)].T
    assert engine.bundle.known is not None
    offsets, rows = engine.bundle.known.of_many(heads, relations)
    expected = filtered_ranks(engine.scores(heads, relations), tails, offsets, rows)
    assert engine.ranks(heads, relations, tails).tolist() == expected.tolist()
    raw = engine.ranks(heads, relations, tails, (np.zeros(151, np.int64), np.zeros(0, np.int32)))
    assert (raw >= expected).all()
    assert raw.sum() > expected.sum()


def test_relations_rank_by_the_mean_of_both_directions(toy: Toy, engine: Engine) -> None:
    head, relation, tail = toy.triples[5]
    every = np.arange(R)
    forward, backward = engine.triple_scores(np.full(R, head), every, np.full(R, tail))
    scores = (forward + backward) / 2
    answers = engine.relations(head, tail, R)
    assert answers.rows.tolist() == np.argsort(-scores).tolist()
    assert answers.scores.tolist() == np.sort(scores)[::-1].tolist()
    assert answers.known is not None
    assert relation in answers.rows[answers.known]
    assert relation not in engine.relations(head, tail, R, exclude_known=True).rows


def test_similar_entities_are_the_nearest_by_distance(toy: Toy, engine: Engine) -> None:
    points = toy.layout.unpack(toy.table)
    time = 1 + points.excess
    for entity in (0, 700):
        product = time[entity] * time - points.spatial @ points.spatial[entity]
        distance = np.arccosh(np.maximum(product, 1)) / np.sqrt(toy.score.curvature)
        distance[entity] = np.inf
        answers = engine.similar(entity, 5)
        assert answers.rows.tolist() == np.argsort(distance)[:5].tolist()
        assert -answers.scores == pytest.approx(np.sort(distance)[:5], rel=1e-9)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda e: e.predict([0], [0], 0), "k"),
        (lambda e: e.predict([0], [0], E + 1), "k"),
        (lambda e: e.predict([-1], [0], 1), "entities"),
        (lambda e: e.predict([E], [0], 1), "entities"),
        (lambda e: e.predict([0], [2 * R], 1), "relations"),
        (lambda e: e.predict([], [], 1), "entities"),
        (lambda e: e.predict([0.5], [0], 1), "entities"),
        (lambda e: e.predict([0, 1], [0], 1), "relations"),
        (lambda e: e.predict([0], [0], 1, allow=[E]), "allow"),
        (lambda e: e.predict([0], [0], 1, deny=[-1]), "deny"),
        (lambda e: e.score([0], [0], [0, 1]), "tails"),
        (lambda e: e.relations([0], [0], R + 1), "k"),
        (lambda e: e.triple_scores([0], [R], [0]), "relations"),
    ],
)
def test_arguments_outside_their_range_are_named(
    engine: Engine, call: Callable[[Engine], object], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call(engine)
    assert caught.value.field == field


def test_an_encoder_with_other_outputs_is_refused(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    path = toy.path / ENCODER
    model = onnx.load(path)
    model.graph.output.pop()
    onnx.save(model, path)
    reseal(toy.path)
    with pytest.raises(BundleError, match="expected inputs") as caught:
        Engine.open(toy.path)
    assert caught.value.path == path


def test_an_encoder_that_breaks_the_layout_is_refused(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    path = toy.path / ENCODER
    model = onnx.load(path)
    for node in model.graph.node:  # pushes and units change places
        if node.op_type == "Concat":
            node.input[1], node.input[2] = node.input[2], node.input[1]
    onnx.save(model, path)
    reseal(toy.path)
    with pytest.raises(BundleError, match="laid out") as caught:
        Engine.open(toy.path)
    assert caught.value.path == path


def test_an_encoder_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    (toy.path / ENCODER).write_bytes(b"not a graph")
    reseal(toy.path)
    with pytest.raises(BundleError, match="is not an encoder"):
        Engine.open(toy.path)


@pytest.mark.parametrize(
    "index",
    [
        faiss.IndexFlatL2(16),
        faiss.IndexFlatIP(24),
        faiss.IndexScalarQuantizer(16, faiss.ScalarQuantizer.QT_6bit, faiss.METRIC_INNER_PRODUCT),
    ],
    ids=["another metric", "another width", "another codec"],
)
def test_an_index_of_another_kind_is_refused(tmp_path: Path, index: faiss.Index) -> None:
    toy = toy_bundle(tmp_path / "toy")
    table = np.random.default_rng(0).normal(size=(50, index.d)).astype(np.float32)
    index.train(table)
    index.add(table)
    faiss.write_index(index, str(toy.path / ENTITIES))
    reseal(toy.path)
    with pytest.raises(BundleError, match="expected") as caught:
        Engine.open(toy.path)
    assert caught.value.path == toy.path / ENTITIES


def test_an_index_that_is_no_index_is_refused(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    (toy.path / ENTITIES).write_bytes(b"IxFI" + b"\xff" * 100)
    reseal(toy.path)
    with pytest.raises(BundleError, match="expected 3245 bytes of a table, found 104"):
        Engine.open(toy.path)


def test_no_library_reports_home_or_leaves_files(tmp_path: Path) -> None:
    code = "import serving.engine.encoder, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(TMPDIR=str(tmp_path), HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_low_memory_changes_no_answer(toy: Toy, engine: Engine) -> None:
    frugal = Engine(engine.bundle, low_memory=True)
    entities, relations = np.arange(0, E, 9), np.arange(0, E, 9) % (2 * R)
    expected = engine.predict(entities, relations, 6, exclude_known=True)
    answers = frugal.predict(entities, relations, 6, exclude_known=True)
    assert answers.rows.tolist() == expected.rows.tolist()
    assert answers.scores.tolist() == expected.scores.tolist()
