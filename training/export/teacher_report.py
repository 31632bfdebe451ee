"""What the teachers know and what the Senior made of it, relation by relation, for the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.self_loops import loopless, without_loops
from mulde.graph.graph import Graph
from training.evaluate import loops_of, scores_of
from training.recipe import Recipe
from training.scorers import Scorer
from training.train import load_scorer

MOST = 12


@dataclass(frozen=True)
class Lesson:
    """One relation in one direction, on valid.

    Attributes:
        relation: its label.
        reciprocal: whether heads were asked for.
        count: queries of valid.
        teachers: MRR of each teacher.
        junior: MRR of the Junior; loops are left out of both as the recipe says.
        trust: sigmoid(W[r, i]) of each teacher; ``None`` where W was not trained.
    """

    relation: str
    reciprocal: bool
    count: int
    teachers: tuple[float, ...]
    junior: float
    trust: tuple[float, ...] | None


def lessons(
    scorer: Scorer,
    state: Mapping[str, Any],
    graph: Graph,
    valid: RankingTask,
    shelf: Path,
    recipe: Recipe,
) -> list[Lesson]:
    """The relations that valid asks about most, most frequent first.

    Args:
        scorer: the Junior.
        state: its checkpoint, which names its teachers and holds W.
        graph: what all were trained on.
        valid: the task of its valid split.
        shelf: folder of the teachers' folders.
        recipe: whether W was trained, and which loops are left out.

    Returns:
        At most ``MOST``; none for a model without teachers, or where one is not on the shelf.
    """
    paths = [shelf / name / "best.pt" for name in state["identity"].get("teachers", ())]
    if not paths or not all(path.is_file() for path in paths):
        return []
    asked = [scorer, *(load_scorer(path, graph)[0] for path in paths)]
    mask = loopless(loops_of(graph, recipe), graph.num_relations)
    mrr = [1 / valid.ranks(without_loops(scores_of(one), mask)) for one in asked]
    weight = (
        torch.sigmoid(state["objective"]["senior.weight"]).numpy()
        if recipe.distillation.scaling
        else None
    )
    relations, counts = np.unique(valid.relation, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST]
    found = []
    for row, count in zip(relations[order].tolist(), counts[order].tolist(), strict=True):
        junior, *teachers = (float(one[valid.relation == row].mean()) for one in mrr)
        name = graph.relation_ids[row % graph.num_relations]
        trust = None if weight is None else tuple(weight[row].tolist())
        reciprocal = row >= graph.num_relations
        found.append(Lesson(name, reciprocal, count, tuple(teachers), junior, trust))
    return found
