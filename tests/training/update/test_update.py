"""`mulde update`: the next version of a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.bundle.bundle import open_bundle
from mulde.bundle.manifest import Manifest
from mulde.commands.learning.update import stored_changes
from mulde.errors import BundleError, CheckpointError, ConfigError
from mulde.graph.graph import read_folder
from mulde.graph.reading.read import read_graph
from mulde.storage.fact_store import FactStore
from serving.engine.engine import Engine
from tests.training.update.conftest import NEW, Model
from training.checkpoint import alone, read_checkpoint, write_checkpoint
from training.train import load_scorer
from training.update.continued import UpdateSettings
from training.update.known_graph import graph_of_bundle
from training.update.recover import recover_checkpoint
from training.update.update import LOCK, GraphChanges, update

SETTINGS = UpdateSettings(epochs=2, candidates=8)
CPU = torch.device("cpu")


def updated(
    model: Model, changes: GraphChanges, folder: Path, checkpoint: bool = True, data: bool = True
) -> Manifest:
    return update(
        model.bundle,
        changes,
        folder / "next",
        folder / "run",
        data=model.data if data else None,
        checkpoint=model.checkpoint if checkpoint else None,
        settings=SETTINGS,
        device=CPU,
    )


def test_the_next_version_knows_what_was_added_and_not_what_was_removed(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    manifest = updated(model, changes, tmp_path)
    assert (manifest.name, manifest.version) == ("tiny", "2")
    bundle = open_bundle(tmp_path / "next")
    assert bundle.known is not None
    names = bundle.vocabulary
    assert changes.remove is not None
    facts = changes.remove.facts
    gone = [
        (facts.entity_ids[h].as_py(), facts.relation_ids[r].as_py(), facts.entity_ids[t].as_py())
        for h, r, t in facts.triples.tolist()
    ]
    for expected, rows in ((True, NEW), (False, gone)):
        heads, relations, tails = zip(*rows, strict=True)
        known = bundle.known.contains(
            names.entities.rows(heads), names.relations.rows(relations), names.entities.rows(tails)
        )
        assert known.tolist() == [expected] * len(rows)


def test_the_card_says_what_changed(model: Model, changes: GraphChanges, tmp_path: Path) -> None:
    updated(model, changes, tmp_path)
    card = (tmp_path / "next" / "card.md").read_text()
    section = card.split("## What changed since version 1")[1].split("##")[0]
    assert "4 train facts added, 1 removed" in section
    assert "1 new entities, 1 new relations" in section


def test_teachers_are_updated_and_teach(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    updated(model, changes, tmp_path)
    names = read_checkpoint(model.checkpoint)["identity"]["teachers"]
    graph = read_folder(tmp_path / "run" / "graph")
    for name in names:
        scorer, _ = load_scorer(tmp_path / "run" / "teachers" / name / "best.pt", graph)
        assert scorer.num_entities == model.graph.num_entities + 1
    assert read_checkpoint(tmp_path / "run" / "junior" / "best.pt")["identity"]["teachers"] == names


def test_a_second_update_starts_from_the_run_of_the_first(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    updated(model, changes, tmp_path)
    later = GraphChanges(read_graph([("later", "next", "fresh")]), None)
    second = Model(tmp_path / "run" / "graph", tmp_path / "run", tmp_path / "next")
    (tmp_path / "2").mkdir()
    assert updated(second, later, tmp_path / "2").version == "3"


def test_the_same_command_again_gives_the_same_weights(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        updated(model, changes, tmp_path / name)
        state = read_checkpoint(tmp_path / name / "run" / "junior" / "best.pt")
        found.append(state["model"])
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key])


def test_a_bundle_alone_is_enough_to_continue_from(model: Model, tmp_path: Path) -> None:
    """It answers as the checkpoint does, up to the rounding of its table."""
    bundle = open_bundle(model.bundle)
    graph = graph_of_bundle(bundle)
    made, _ = load_scorer(recover_checkpoint(bundle, graph, tmp_path / "a" / "best.pt"), graph)
    entity = torch.arange(graph.num_entities).repeat(2 * graph.num_relations)
    relation = torch.arange(2 * graph.num_relations).repeat_interleave(graph.num_entities)
    with torch.inference_mode():
        found = made.score_shared(made.query(entity, relation)).numpy()
    with Engine.open(model.bundle) as engine:
        served = engine.scores(entity.numpy(), relation.numpy(), use_priors=False)
    assert np.abs(found - served).max() < 1e-3 * np.abs(served).max()


def test_without_data_the_held_out_facts_are_of_those_added(model: Model, tmp_path: Path) -> None:
    new = [(f"new{number}", "next", f"e{row:02d}") for number in range(6) for row in range(8)]
    updated(model, GraphChanges(read_graph(new), None), tmp_path, checkpoint=False, data=False)
    graph = read_folder(tmp_path / "run" / "graph")
    for split in ("valid", "test"):
        heads = {graph.entity_ids[row] for row in graph.split(split)[:, 0].tolist()}
        assert heads
        assert heads <= {f"new{number}" for number in range(6)}


def test_the_changes_of_a_store_are_those_of_its_server(tmp_path: Path) -> None:
    store = FactStore(tmp_path / "tiny.facts.sqlite")
    store.change([("e00", "next", "e05"), ("e01", "next", "e06")], removed=False)
    store.change([("e01", "next", "e06")], removed=True)
    store.close()
    add, remove = stored_changes(tmp_path / "tiny.facts.sqlite")
    assert add is not None
    assert remove is not None
    assert add.facts.entity_ids.to_pylist() == ["e00", "e05"]
    assert remove.facts.entity_ids.to_pylist() == ["e01", "e06"]
    with pytest.raises(ConfigError, match="--store"):
        stored_changes(tmp_path / "none.sqlite")


def test_a_run_folder_in_use_or_of_other_changes_is_refused(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    with alone(tmp_path / "run" / LOCK), pytest.raises(CheckpointError, match="another process"):
        updated(model, changes, tmp_path)
    updated(model, changes, tmp_path)
    other = GraphChanges(read_graph([("e00", "next", "e17")]), None)
    with pytest.raises(BundleError, match="exists"):
        updated(model, other, tmp_path)
    (tmp_path / "next").rename(tmp_path / "kept")
    before = (tmp_path / "run" / "graph" / "train.txt").read_bytes()
    with pytest.raises(CheckpointError, match="an update of other facts"):
        updated(model, other, tmp_path)
    assert (tmp_path / "run" / "graph" / "train.txt").read_bytes() == before


def test_an_update_that_has_published_finds_its_own_result(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    first = updated(model, changes, tmp_path)
    assert updated(model, changes, tmp_path) == first


def test_a_model_that_was_trained_elsewhere_is_refused(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    state = read_checkpoint(model.checkpoint)
    state["identity"]["training"] = {"imported": "PyKEEN"}
    write_checkpoint(tmp_path / "foreign" / "junior" / "best.pt", state)
    foreign = Model(model.data, tmp_path / "foreign", model.bundle)
    shutil.copytree(model.run / "teachers", tmp_path / "foreign" / "teachers")
    with pytest.raises(CheckpointError, match="trained elsewhere"):
        updated(foreign, changes, tmp_path)


def test_without_a_changed_query_and_without_replay_there_is_nothing_to_train(
    model: Model, tmp_path: Path
) -> None:
    """The fact is the only answer of both of its queries, so its removal leaves none of them."""
    gone = ("e02", "next", "e03")
    ids, names = model.graph.entity_ids, model.graph.relation_ids
    facts = {(ids[h], names[r], ids[t]) for h, r, t in model.graph.train.tolist()}
    assert gone in facts
    with pytest.raises(ConfigError, match="--replay"):
        update(
            model.bundle,
            GraphChanges(None, read_graph([gone])),
            tmp_path / "next",
            tmp_path / "run",
            data=model.data,
            settings=UpdateSettings(replay=0.0),
            device=CPU,
        )


def test_data_of_another_graph_is_refused(
    model: Model, changes: GraphChanges, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in model.data.iterdir():
        (other / path.name).write_text(path.read_text() + "e00\tnext\te19\n")
    with pytest.raises(BundleError, match="another graph"):
        updated(Model(other, model.run, model.bundle), changes, tmp_path)
