"""The card's figures per relation are those of the evaluation, split by relation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from tests.support.runs import recipe_of, train
from training.evaluate import scores_of
from training.export.teacher_report import lessons
from training.train import load_scorer


@pytest.fixture(scope="module")
def junior(graph: Graph, shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a distilled Junior."""
    return train(recipe_of(), graph, tmp_path_factory.mktemp("run"), shelf=shelf) / "best.pt"


def test_the_relations_share_out_the_quality_of_the_whole(
    graph: Graph, shelf: Path, junior: Path
) -> None:
    scorer, state = load_scorer(junior, graph)
    valid = RankingTask.of(graph, "valid")
    found = lessons(scorer, state, graph, valid, shelf, recipe_of())
    total = sum(one.count for one in found)
    assert total == len(valid.target)
    assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)
    names = state["identity"]["teachers"]
    for place, name in enumerate([None, *names]):
        asked = scorer if name is None else load_scorer(shelf / name / "best.pt", graph)[0]
        whole = valid.quality(scores_of(asked))["total"]["mrr"]
        parts = [one.junior if name is None else one.teachers[place - 1] for one in found]
        mean = sum(part * one.count for part, one in zip(parts, found, strict=True)) / total
        assert mean == pytest.approx(whole)


def test_trust_is_what_w_learnt(graph: Graph, shelf: Path, junior: Path) -> None:
    scorer, state = load_scorer(junior, graph)
    valid = RankingTask.of(graph, "valid")
    found = lessons(scorer, state, graph, valid, shelf, recipe_of())
    weight = torch.sigmoid(state["objective"]["senior.weight"])
    for one in found:
        row = graph.relation_ids.index(one.relation) + one.reciprocal * graph.num_relations
        assert one.trust == pytest.approx(weight[row].tolist())
    assert any(one.trust != found[0].trust for one in found)
    without = lessons(
        scorer, state, graph, valid, shelf, recipe_of(distillation={"scaling": False})
    )
    assert {one.trust for one in without} == {None}


def test_teachers_that_are_not_at_hand_leave_the_card_without_figures(
    graph: Graph, junior: Path, tmp_path: Path
) -> None:
    scorer, state = load_scorer(junior, graph)
    assert (
        lessons(scorer, state, graph, RankingTask.of(graph, "valid"), tmp_path, recipe_of()) == []
    )
