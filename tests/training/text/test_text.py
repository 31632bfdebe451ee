"""Text columns: what a label says of an entity without facts, and how the bundle keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.bundle.bundle import open_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.table.entity_table import Layout
from mulde.errors import DatasetError
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph, read_folder
from serving.engine.encoder import Encoder as ServedEncoder
from serving.engine.engine import Engine
from serving.registry.placement import Placer
from training.export.encoder.onnx_encoder import EncoderGraph, write_onnx
from training.export.export import export
from training.export.table.shrink import shrink
from training.recipe import Text
from training.recipe_file import read_recipe
from training.scorers import ScoreKind, ScorerName, build_scorer
from training.scorers.rescal import RESCAL
from training.text.columns import TextColumns, choose_weights
from training.text.features import Texts, read_features, read_texts, text_features
from training.text.fit import fit_text
from training.train import stages, train_stage

COLOURS = ("red", "green", "blue", "grey", "pink", "black")
MEMBERS = 12
SETTINGS = Text(columns=8, epochs=40, batch=16, negatives=16, rate=0.01)
RECIPE = """
name = "colours"
data = "colours"
relation_priors = 0
[junior]
scorer = "RotH"
dimension = 4
score = "linear"
spread = 0.1
[junior_training]
epochs = 4
batch = 16
negatives = 16
rate = 0.01
validate_every = 4
[text]
columns = 8
epochs = 40
batch = 16
negatives = 16
rate = 0.01
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Things of six colours; each colour's last two have no fact in train."""
    folder = tmp_path_factory.mktemp("data") / "colours"
    folder.mkdir()
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    labels = [f"c{place}\tthe colour {name}\t{name} things" for place, name in enumerate(COLOURS)]
    for place, name in enumerate(COLOURS):
        for member in range(MEMBERS):
            split = {MEMBERS - 1: "test", MEMBERS - 2: "valid"}.get(member, "train")
            lines[split].append(f"t{place}{member:02d}\thas_colour\tc{place}")
            labels.append(f"t{place}{member:02d}\tthing {member}\tsomething {name}")
    for split, facts in lines.items():
        (folder / f"{split}.txt").write_text("\n".join(facts) + "\n", encoding="utf-8")
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return read_folder(folder)


@pytest.fixture(scope="module")
def fitted(folder: Path, graph: Graph) -> TextColumns:
    features = text_features(read_texts(folder, graph.entity_ids), seed=0)
    return fit_text(features, graph, SETTINGS, seed=0)


def test_text_tells_the_colour_of_things_that_train_lacks(
    fitted: TextColumns, graph: Graph
) -> None:
    things, _, colours = graph.test.astype(np.int64).T
    queries = fitted.queries(things, np.zeros_like(things))
    scores = queries @ fitted.columns[: len(COLOURS)].T
    np.testing.assert_array_equal(scores.argmax(axis=1), colours)


def test_the_same_seed_gives_the_same_columns(folder: Path, graph: Graph) -> None:
    texts = read_texts(folder, graph.entity_ids)
    few = Text(columns=4, epochs=1, batch=32, negatives=16)
    first, second = (fit_text(text_features(texts, seed=0), graph, few, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.columns, second.columns)
    np.testing.assert_array_equal(first.matrix, second.matrix)


def test_a_label_file_that_is_missing_is_named(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.tsv.*text columns"):
        read_texts(tmp_path, graph.entity_ids)


def test_an_entity_without_a_line_has_empty_texts(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("a\tlabel\n", encoding="utf-8")
    assert read_texts(tmp_path, ("a", "b")) == Texts(["label", ""], ["", ""])


def test_vectors_follow_the_lines_of_the_label_file(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("b\tsecond\na\tfirst\n", encoding="utf-8")
    np.save(tmp_path / "vectors.npy", np.array([[0.0, 2.0], [3.0, 0.0]]))
    found = read_texts(tmp_path, ("a", "b", "c")).vectors
    np.testing.assert_array_equal(found, [[1, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.zeros((3, 2)), r"a row for each of the 2 lines .* found float64 of shape \(3, 2\)"),
        (np.zeros(2), "found float64 of shape"),
        (np.zeros((2, 2), int), "floating-point numbers"),
        (np.full((2, 2), np.nan), "expected finite numbers"),
        (np.array([[object()]] * 2), "expected a .npy array"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    vectors: np.ndarray, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "labels.tsv").write_text("a\tfirst\nb\tsecond\n", encoding="utf-8")
    np.save(tmp_path / "vectors.npy", vectors, allow_pickle=True)
    with pytest.raises(DatasetError, match=problem):
        read_texts(tmp_path, ("a", "b"))


@pytest.mark.parametrize(
    "lines", ["", "a\t\n", "a\tone\nb\ttwo\n", "a\tsame\nb\tsame\nc\tsame\n", "a\t\U0001f600\n"]
)
def test_labels_without_anything_that_tells_entities_apart_are_refused(
    lines: str, tmp_path: Path
) -> None:
    (tmp_path / "labels.tsv").write_text(lines, encoding="utf-8")
    ids = tuple(line.partition("\t")[0] for line in lines.splitlines()) or ("a", "b")
    with pytest.raises(DatasetError, match=r"labels\.tsv.*expected labels or descriptions"):
        read_features(tmp_path, ids, seed=0)


def test_vectors_are_enough_where_labels_have_nothing_in_common(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("a\tone\nb\ttwo\n", encoding="utf-8")
    np.save(tmp_path / "vectors.npy", np.eye(2))
    assert read_features(tmp_path, ("a", "b"), seed=0).shape == (2, 2)


@pytest.mark.parametrize(
    "words", [("κόκκινο", "πράσινο"), ("красный", "зелёный"), ("赤い", "緑の"), ("أحمر", "أخضر")]
)
def test_words_of_other_scripts_tell_entities_apart(words: tuple[str, str]) -> None:
    described = [words[place % 2] for place in range(12)]
    features = text_features(Texts([f"{n}" for n in range(12)], described), seed=0)
    near = features @ features.T
    same = np.equal.outer(np.arange(12) % 2, np.arange(12) % 2)
    assert near[same].min() > near[~same].max()


def test_a_description_of_64_kib_counts_like_a_short_one(tmp_path: Path) -> None:
    long = " ".join(["red"] * (1 << 14))
    assert len(long) == (1 << 16) - 1
    texts = [long, "red", "blue", "blue"]
    lines = [f"e{place}\tthing\t{text}\n" for place, text in enumerate(texts)]
    (tmp_path / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    features = read_features(tmp_path, ("e0", "e1", "e2", "e3"), seed=0)
    near = features @ features.T
    assert near[0, 1] > 0 > near[0, 2]


def test_text_that_says_nothing_gets_no_weight() -> None:
    generator = np.random.default_rng(0)
    entity, relation = np.tile(np.arange(50), 2), np.repeat([0, 1], 50)
    target = generator.integers(0, 50, size=100)
    task = RankingTask(
        entity, relation, target, KnownFacts.build(np.zeros((0, 3), np.int32), 50, 1)
    )
    text = TextColumns(
        generator.normal(size=(50, 4)).astype(np.float32),
        np.stack([np.eye(4, dtype=np.float32)] * 2),
        np.zeros((2, 4), np.float32),
        np.ones(2, np.float32),
    )

    def scores(entity: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """Right about every query of ``task``."""
        found = np.zeros((len(entity), 50), np.float32)
        found[np.arange(len(entity)), target[50 * relation + entity]] = 9
        return found

    assert not choose_weights(scores, text, task).any()


@pytest.mark.parametrize(
    ("name", "score", "dimension"),
    [
        ("RotH", "linear", 8),
        ("RefH", "linear", 8),
        ("RESCAL", "bilinear", 6),
        ("ComplEx", "bilinear", 8),
        ("DistH", "linear", 8),
    ],
)
@pytest.mark.parametrize("columns", [3, 8])
@torch.inference_mode()
def test_onnx_gives_the_queries_of_torch(
    name: ScorerName, score: ScoreKind, dimension: int, columns: int, tmp_path: Path
) -> None:
    scorer = build_scorer(
        name, entities=20, relations=2, dimension=dimension, score=score, spread=0.3, seed=0
    )
    if isinstance(scorer, RESCAL):
        scorer.round_matrices()
    generator = np.random.default_rng(0)
    text = TextColumns(
        generator.normal(size=(20, columns)).astype(np.float32),
        generator.normal(size=(4, columns, columns)).astype(np.float16).astype(np.float32),
        generator.normal(size=(4, columns)).astype(np.float32),
        generator.uniform(1, 20, size=4).astype(np.float32),
    )
    priors = torch.from_numpy(generator.normal(size=(4, 2)).astype(np.float32))
    layout = Layout(dimension, 2 + columns, columns)
    encoder = EncoderGraph(scorer, layout, torch.ones(4), priors, text)
    write_onnx(encoder, tmp_path / "encoder.onnx")
    points, tails, heads = (
        p.double().numpy() for p in (scorer.spatial(), scorer.tail_bias, scorer.head_bias)
    )
    more = np.concatenate([np.zeros((20, 2), np.float32), text.columns], axis=1)
    table = layout.pack(points, tails, heads, "fp32", more)
    entity, relation = np.arange(8), np.arange(8) % 4
    wanted = encoder(torch.from_numpy(table[entity]), torch.from_numpy(relation))[0].numpy()
    served = ServedEncoder(tmp_path / "encoder.onnx", layout.width).encode(table[entity], relation)
    np.testing.assert_allclose(served.vector, wanted, atol=1e-5)
    own = served.vector[:, layout.text]
    np.testing.assert_allclose(own, text.queries(entity, relation), atol=1e-5)


@pytest.fixture(scope="module")
def bundle(folder: Path, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "colours"
    run.mkdir()
    (run / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    recipe = read_recipe(run / "recipe.toml")
    junior = next(stage for stage in stages(recipe, run) if stage.name == "junior")
    checkpoint = train_stage(junior, recipe, graph, torch.device("cpu"))
    out = run.parent / "colours-4"
    export(checkpoint, folder, out)
    return out


def test_a_bundle_with_text_answers_for_things_that_train_lacks(bundle: Path, graph: Graph) -> None:
    things, relations, colours = graph.test.T
    with Engine.open(bundle) as engine:
        found = engine.predict(things, relations, 1, allow=np.arange(len(COLOURS)))
    np.testing.assert_array_equal(found.rows, colours)


def test_a_bundle_says_how_much_of_it_is_text(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert (manifest.dimension, manifest.text, manifest.width) == (4, 8, 24)
    assert manifest.checks["mrr_without_text"] < manifest.checks["mrr_trained"]
    card = (bundle / "card.md").read_text(encoding="utf-8")
    assert "an entity has 4 numbers of the graph and 8 that are made of its label" in card


def test_an_entity_placed_by_facts_has_no_text_and_is_answered_for(bundle: Path) -> None:
    with Engine.open(bundle) as engine:
        layout, colours = engine.manifest.layout, engine.loaded.table.rows(np.arange(3))
        placer = Placer(engine.bundle, engine.loaded)
        placed = placer.place(colours.astype(np.float32), np.zeros(3, np.int64))
        question = engine.loaded.questions(placed.as_query[None], np.array([0]), priors=True)
        query = question.encoded().vector[0]
    assert not placed.as_answer[layout.text].any()
    assert np.isfinite(query).all()
    assert query[layout.text].any()


def test_a_quantised_table_keeps_what_text_says(bundle: Path, graph: Graph, tmp_path: Path) -> None:
    shrink(bundle, tmp_path / "small", "int8", graph)
    things, relations, colours = graph.test.T
    with Engine.open(tmp_path / "small") as engine:
        assert engine.manifest.text == 8
        found = engine.predict(things, relations, 1, allow=np.arange(len(COLOURS)))
    np.testing.assert_array_equal(found.rows, colours)
