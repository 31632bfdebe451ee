"""Export: the published bundle answers as the trained model does, or it is not published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mulde.bundle.bundle import open_bundle
from mulde.errors import BundleError, CheckpointError, ConfigError
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.self_loops import without_loops
from mulde.graph.graph import read_folder
from serving.engine.engine import Engine
from training.checkpoint import read_checkpoint, write_checkpoint
from training.evaluate import as_served, scores_of, self_loop_relations
from training.export.calibration import train_priors
from training.export.checks import refuse_differences
from training.export.export import export
from training.export.table.shrink import shrink
from training.recipe_file import read_recipe
from training.train import load_scorer, stages, train_stage

ENTITIES = 60
RECIPE = """
self_loops_below = 0.0
relation_priors = 0
name = "ring"
data = "ring"
notes = "A toy."
[junior]
scorer = "{scorer}"
dimension = 8
score = "{score}"
spread = 0.1
[junior_training]
epochs = 30
batch = 16
negatives = 32
rate = 0.05
validate_every = 10
"""
LABELS = "e00\tstart\ne01\tnear start\twhere the first step leads\n"
MODELS = [("RotH", "linear"), ("DistH", "linear"), ("RotH", "distance")]


def write_ring(folder: Path) -> None:
    """Entities on a ring, with steps of 1 and 5 as relations."""
    generator = np.random.default_rng(0)
    lines = [
        f"e{i:02d}\tstep{n}\te{(i + n) % ENTITIES:02d}" for n in (1, 5) for i in range(ENTITIES)
    ]
    order = generator.permutation(len(lines))
    folder.mkdir()
    for name, part in (("valid", order[:10]), ("test", order[10:20]), ("train", order[20:])):
        text = "\n".join(lines[i] for i in part) + "\n"
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    (folder / "labels.tsv").write_text(LABELS, encoding="utf-8")
    (folder / "types.tsv").write_text("e00\teven\ne02\teven\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ring"
    write_ring(folder)
    return folder


def train(data: Path, run: Path, scorer: str, score: str, text: str = RECIPE) -> Path:
    run.mkdir()
    (run / "recipe.toml").write_text(text.format(scorer=scorer, score=score), encoding="utf-8")
    recipe = read_recipe(run / "recipe.toml")
    junior = next(stage for stage in stages(recipe, run) if stage.name == "junior")
    return train_stage(junior, recipe, read_folder(data), torch.device("cpu"))


@pytest.fixture(scope="module", params=MODELS, ids=["-".join(pair) for pair in MODELS])
def checkpoint(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return train(data, tmp_path_factory.mktemp("run") / "ring", *request.param)


@pytest.fixture(scope="module")
def linear(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("linear") / "ring", "RotH", "linear")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "ring-8"
    export(checkpoint, data, out)
    return out


@pytest.fixture
def engine(bundle: Path) -> Iterator[Engine]:
    with Engine.open(bundle) as opened:
        yield opened


def test_the_served_quality_is_what_the_checkpoint_had(bundle: Path, checkpoint: Path) -> None:
    manifest = open_bundle(bundle).manifest
    trained = read_checkpoint(checkpoint)["valid"]["total"]["mrr"]
    assert trained > 0.2
    assert manifest.quality["valid"]["total"]["mrr"] == pytest.approx(trained, abs=0.1)
    assert manifest.checks["mrr_trained"] == pytest.approx(trained, abs=1e-6)
    assert manifest.checks["mrr_served"] == manifest.quality["valid"]["total"]["mrr"]
    assert manifest.checks["recall@10"] == 1.0
    assert 0 < manifest.checks["onnx_error"] < 1e-5


def test_the_engine_ranks_the_test_split_as_the_manifest_says(engine: Engine, data: Path) -> None:
    task = RankingTask.of(read_folder(data), "test")
    assert task.quality(engine.scores) == engine.manifest.quality["test"]


def test_the_manifest_says_where_the_model_comes_from(bundle: Path, data: Path) -> None:
    manifest, graph = open_bundle(bundle).manifest, read_folder(data)
    assert (manifest.name, manifest.version, manifest.dimension) == ("ring-8", "1", 8)
    assert (manifest.entities, manifest.relations) == (ENTITIES, 2)
    assert manifest.dataset.sha256 == graph.digest
    assert manifest.dataset.counts == {"train": 100, "valid": 10, "test": 10}
    assert manifest.recipe.name == "ring"
    assert manifest.libraries["torch"].startswith("2.")


def test_the_bundle_carries_names_types_and_known_facts(bundle: Path, data: Path) -> None:
    opened, graph = open_bundle(bundle), read_folder(data)
    assert opened.vocabulary.entities.row("near start") == 1
    assert opened.known is not None
    assert opened.known.contains(*graph.test.T).all()
    assert opened.types is not None
    assert opened.types.of("even").tolist() == [0, 2]
    assert set(opened.types.of("head:step1")) == set(graph.train[graph.train[:, 1] == 0, 0])


def test_descriptions_come_from_the_label_file_and_stay_in_a_smaller_bundle(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    opened = open_bundle(bundle)
    assert opened.descriptions is not None
    assert opened.descriptions.of(1) == "where the first step leads"
    assert opened.descriptions.of(0) == ""
    shrink(bundle, tmp_path / "small", "int8", read_folder(data))
    assert "descriptions.bin" in open_bundle(tmp_path / "small").manifest.files
    shrink(bundle, tmp_path / "bare", "int8", read_folder(data), without=["descriptions"])
    assert open_bundle(tmp_path / "bare").descriptions is None


def test_the_card_states_quality_rounding_recipe_and_time(bundle: Path) -> None:
    text = (bundle / "card.md").read_text(encoding="utf-8")
    mrr = open_bundle(bundle).manifest.quality["test"]["total"]["mrr"]
    for part in (f"{mrr:.4f}", "rounding to fp16", "recipe ring", "seed 0", "A toy.", " s up to"):
        assert part in text


def test_the_encoder_names_no_path_and_uses_standard_operators_alone(bundle: Path) -> None:
    raw = (bundle / "encoder.onnx").read_bytes()
    model = onnx.load_from_string(raw)
    assert str(Path.cwd()).encode() not in raw
    assert b".py" not in raw
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert all(node.domain == "" for node in model.graph.node)
    assert all(not tensor.external_data for tensor in model.graph.initializer)


def test_exporting_again_gives_the_same_files(linear: Path, data: Path, tmp_path: Path) -> None:
    manifests = [export(linear, data, tmp_path / name / "ring-8") for name in ("a", "b")]
    one, other = (replace(m, created="2026-01-01", files={}) for m in manifests)
    assert one == other
    for name in ("encoder.onnx", "entities.faiss", "vocabulary.bin", "known.bin", "types.bin"):
        assert manifests[0].files[name] == manifests[1].files[name]


def test_an_fp32_table_serves_the_trained_model_itself(
    linear: Path, data: Path, tmp_path: Path
) -> None:
    checks = export(linear, data, tmp_path / "wide", precision="fp32").checks
    assert checks["mrr_rounded"] == pytest.approx(checks["mrr_trained"], abs=1e-6)


def test_a_bundle_can_leave_the_facts_out(linear: Path, data: Path, tmp_path: Path) -> None:
    export(linear, data, tmp_path / "bare", known=False)
    assert open_bundle(tmp_path / "bare").known is None
    assert "carries no facts" in (tmp_path / "bare" / "card.md").read_text(encoding="utf-8")


def test_name_and_version_can_be_chosen(linear: Path, data: Path, tmp_path: Path) -> None:
    manifest = export(linear, data, tmp_path / "7", name="ring", version="7")
    assert (manifest.name, manifest.version) == ("ring", "7")


def test_an_existing_bundle_is_kept(bundle: Path, checkpoint: Path, data: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="exists"):
        export(checkpoint, data, bundle, version="2")
    assert (bundle / "manifest.json").read_bytes() == before


def test_an_export_that_was_killed_after_it_published_finds_its_own_bundle(
    bundle: Path, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    before = open_bundle(bundle).manifest
    assert export(checkpoint, data, bundle) == before
    other = Path(shutil.copytree(data, tmp_path / "ring"))
    (other / "types.tsv").write_text("e00\todd\n", encoding="utf-8")
    with pytest.raises(BundleError, match="exists"):
        export(checkpoint, other, bundle)


def test_nothing_is_published_when_the_table_cannot_hold_the_model(
    linear: Path, data: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(linear.parent.parent, tmp_path / "run"))
    state = read_checkpoint(run / "junior" / "best.pt")
    state["model"]["tail_bias"][7] = 1e6
    write_checkpoint(run / "junior" / "best.pt", state)
    out = tmp_path / "models" / "ring"
    with pytest.raises(BundleError, match="row 7 of the entity table is not finite in fp16"):
        export(run / "junior" / "best.pt", data, out)
    assert list(out.parent.iterdir()) == []


SOUND = {
    "onnx_error": 1e-6,
    "recall@10": 1.0,
    "mrr_trained": 0.4,
    "mrr_rounded": 0.4,
    "mrr_served": 0.4,
}


@pytest.mark.parametrize(
    ("figure", "value", "words"),
    [
        ("onnx_error", 1e-3, "ONNX encoder's error"),
        ("onnx_error", float("nan"), "ONNX encoder's error"),
        ("recall@10", 0.999, "miss of the top 10"),
        ("mrr_trained", 0.41, "change by rounding"),
        ("mrr_served", 0.401, "change by serving"),
    ],
)
def test_a_difference_is_refused_with_its_figure(figure: str, value: float, words: str) -> None:
    refuse_differences(Path("out"), SOUND, "fp16", 5000)
    with pytest.raises(BundleError, match=f"not published; .*{words}.* expected at most"):
        refuse_differences(Path("out"), {**SOUND, figure: value}, "fp16", 5000)


def test_a_checkpoint_of_another_graph_is_refused(linear: Path, tmp_path: Path) -> None:
    write_ring(tmp_path / "other")
    with (tmp_path / "other" / "train.txt").open("a", encoding="utf-8") as file:
        file.write("e00\tstep1\te09\n")
    with pytest.raises(CheckpointError, match="another graph"):
        export(linear, tmp_path / "other", tmp_path / "out")


def test_impossible_wishes_are_refused_before_any_work(
    linear: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"precision: expected fp16, .* found .fp8."):
        export(linear, data, tmp_path / "out", precision="fp8")
    with pytest.raises(ConfigError, match="name: expected"):
        export(linear, data, tmp_path / "out", name="../up")
    with pytest.raises(ConfigError, match="recipe: expected"):
        export(linear, data, tmp_path / "out", recipe=tmp_path / "none.toml")


def test_loops_are_left_out_where_the_recipe_says_so(
    linear: Path, data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    text = RECIPE.format(scorer="RotH", score="linear")
    recipe.write_text(text.replace("below = 0.0", "below = 0.5"), encoding="utf-8")
    graph = read_folder(data)
    step1, step5 = (np.flatnonzero(graph.train[:, 1] == row) for row in (0, 1))
    looped = graph.train.copy()
    looped[step1, 2] = looped[step1, 0]
    looped[step5[0], 2] = looped[step5[0], 0]
    assert self_loop_relations(replace(graph, train=looped), read_recipe(recipe)) == (0,)
    manifest = export(linear, data, tmp_path / "bundle", recipe=recipe)
    assert manifest.loops == self_loop_relations(graph, read_recipe(recipe)) == ()
    scores = scores_of(load_scorer(linear, graph)[0])
    valid, mask = RankingTask.of(graph, "valid"), manifest.loopless
    expected = valid.quality(without_loops(scores, mask))["total"]["mrr"]
    assert manifest.checks["mrr_trained"] == pytest.approx(expected)
    plain = valid.quality(scores)["total"]["mrr"]
    assert manifest.checks["mrr_with_self_loops"] == pytest.approx(plain)
    assert f"{manifest.checks['mrr_with_self_loops']:.4f} instead of" in (
        tmp_path / "bundle" / "card.md"
    ).read_text(encoding="utf-8")
    with Engine.open(tmp_path / "bundle") as engine:
        answers = engine.predict(np.arange(ENTITIES), np.arange(ENTITIES) % 4, ENTITIES)
    assert len(answers.rows) == ENTITIES * (ENTITIES - 1)
    assert not (answers.rows == answers.owners).any()


def test_relation_priors_are_in_what_is_served(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_priors, "FEWEST", 1)
    text = RECIPE.replace("epochs = 30", "epochs = 5").replace("every = 10", "every = 5")
    linear = train(data, tmp_path / "ring", "RotH", "linear", text)  # has not learned it all
    recipe = tmp_path / "recipe.toml"
    text = text.format(scorer="RotH", score="linear")
    text = text.replace("below = 0.0", "below = 0.5").replace("priors = 0", "priors = 2")
    recipe.write_text(text, encoding="utf-8")
    manifest = export(linear, data, tmp_path / "bundle", recipe=recipe)
    assert 1 <= manifest.traits <= 2
    graph, read = read_folder(data), read_recipe(recipe)
    valid, scorer = RankingTask.of(graph, "valid"), load_scorer(linear, graph)[0]
    served = valid.quality(as_served(scorer, graph, read, valid))["total"]["mrr"]
    assert manifest.checks["mrr_trained"] == pytest.approx(served)
    assert manifest.checks["mrr_served"] == pytest.approx(served, abs=0.05)
    assert manifest.checks["mrr_without_priors"] < served
    assert manifest.checks["recall@10"] == 1.0
    assert "as an answer to" in (tmp_path / "bundle" / "card.md").read_text(encoding="utf-8")
    with Engine.open(tmp_path / "bundle") as engine:
        assert valid.quality(engine.scores) == engine.manifest.quality["valid"]
    small = shrink(tmp_path / "bundle", tmp_path / "small", "int8", graph)
    assert small.traits == manifest.traits
    mrr = small.quality["valid"]["total"]["mrr"]
    assert mrr == pytest.approx(manifest.quality["valid"]["total"]["mrr"], abs=0.05)
