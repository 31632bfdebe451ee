"""Several processes train the model that one trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from tests.support.runs import CPU, HARDEST_TO_RESUME, LEARNS, recipe_of, stage_of, state_of, train
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import Batch, QuerySet
from training.distributed import own_part, ranks, started_by_torchrun
from training.evaluate import scores_of
from training.recipe import Recipe
from training.recipe_file import to_toml
from training.scorers import Scorer
from training.train import load_scorer, new_scorer

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4
"""Of a weight, absolute, after the tiny graph's eight epochs: sums in another order, and Adam."""

BILINEAR: dict[str, Any] = {
    "junior": {"scorer": "RESCAL", "dimension": 4, "score": "bilinear", "spread": 0.1},
    "junior_training__loss": "cross-entropy",
    "junior_training__penalty": 0.1,
    "distillation__weight": "query",
    "distillation__soft_over": "unanswered",
}


# Shares of a batch, without processes


@pytest.fixture
def queries(graph: Graph) -> QuerySet:
    return QuerySet.of(graph.train, graph.num_relations, graph.num_entities)


def gradient(objective: HardLabels, batches: list[Batch]) -> tuple[list[torch.Tensor], float]:
    """Summed over batches that all draw the same negatives; with the summed losses."""
    total, drawn = 0.0, torch.Generator().manual_seed(5)
    shape = (objective.settings.negatives,)
    negatives = torch.randint(objective.scorer.num_entities, shape, generator=drawn)
    for batch in batches:
        loss, shares = objective(objective.step(batch, negatives), 3)
        loss.backward()
        total += float(sum(shares.values()))
    found = [weight.grad for weight in objective.parameters() if weight.grad is not None]
    return found, total


def fresh(recipe: Recipe, graph: Graph) -> Scorer:
    """The Junior before its first step."""
    return new_scorer(recipe.junior, graph, recipe.seed)


def objective_of(recipe: Recipe, graph: Graph, teacher_runs: Path) -> HardLabels:
    """What its training minimises."""
    paths = stage_of(recipe, teacher_runs.parent, "junior", teacher_runs).teachers
    teachers = [load_scorer(path, graph)[0] for path in paths]
    scorer = fresh(recipe, graph)
    return Distilled(scorer, recipe.junior_training, recipe.distillation, teachers, Path("none"))


@pytest.mark.parametrize("processes", [2, 3, 7])
@pytest.mark.parametrize(
    "changes",
    [{}, {"distillation__weight": "query"}, {"junior_training__negative_weight": 3.0}, BILINEAR],
    ids=["triple", "query", "weighted", "bilinear"],
)
def test_the_shares_of_a_batch_add_up_to_its_gradient(
    graph: Graph, teacher_runs: Path, queries: QuerySet, processes: int, changes: dict[str, Any]
) -> None:
    index = torch.tensor([40, 3, 17, 60, 8])  # fewer than seven
    shares = [next(queries.batches(index, 5, rank, processes)) for rank in range(processes)]
    recipe = recipe_of(**changes)
    whole, loss = gradient(objective_of(recipe, graph, teacher_runs), [queries.batch(index)])
    summed, also = gradient(objective_of(recipe, graph, teacher_runs), shares)
    torch.testing.assert_close(summed, whole, atol=1e-6, rtol=1e-4)
    assert also == pytest.approx(loss, rel=1e-5)
    assert max(float(part.abs().max()) for part in whole) > 1e-3


def test_the_shares_of_a_batch_hold_each_query_once(queries: QuerySet) -> None:
    index = torch.randperm(len(queries))[:10]
    shares = [next(queries.batches(index, 10, rank, 3)) for rank in range(3)]
    assert torch.cat([part.index for part in shares]).sort().values.equal(index.sort().values)
    assert sum(part.of_queries for part in shares) == pytest.approx(1)
    assert float(sum(part.of_triples for part in shares)) == pytest.approx(1)


def test_without_torchrun_nothing_is_shared(graph: Graph, queries: QuerySet) -> None:
    with started_by_torchrun(CPU, jobs=2) as device:
        assert device == CPU
    assert own_part(2500) == (0, 2500)
    scorer = objective_of(recipe_of(teachers=[]), graph, Path("none")).scorer
    task = RankingTask.of(graph, "valid")
    expected = task.ranks(scores_of(scorer))
    assert ranks(task, scores_of(scorer), CPU).tolist() == expected.tolist()


# Processes


def torchrun(*arguments: object, processes: int = 2) -> str:
    """What a module says on several processes; a failure if one of them fails."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m"]
    command = [sys.executable, *map(str, [*launch, *arguments])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def largest_difference(left: Path, right: Path) -> float:
    """Of the weights of two runs' last checkpoints."""
    one, two = (state_of(folder / "last.pt") for folder in (left, right))
    parts = [(one[key], two[key]) for key in ("model", "objective")]
    return max(float((a[name] - b[name]).abs().max()) for a, b in parts for name in a)


def learnt(folder: Path, recipe: Recipe, graph: Graph) -> float:
    """How far training moved an entity: what the tolerance has to be far below."""
    start, end = fresh(recipe, graph).state_dict(), state_of(folder / "last.pt")["model"]
    return float((end["entity"] - start["entity"]).abs().max())


def test_the_command_line_on_two_processes_trains_the_model_of_one(
    graph: Graph, graph_folder: Path, teacher_runs: Path, tmp_path: Path
) -> None:
    recipe, file = recipe_of(**LEARNS | BILINEAR), tmp_path / "tiny.toml"
    file.write_text(to_toml(recipe), encoding="utf-8")
    alone = train(recipe, graph, tmp_path / "one", teacher_runs=teacher_runs)
    both = tmp_path / "two" / "junior"
    flags = [
        "--data",
        graph_folder,
        "--teachers",
        teacher_runs,
        "--out",
        both.parent,
        "--device",
        "cpu",
    ]
    told = torchrun("mulde.cli", "train", file, *flags)
    assert told.count("models are in") == 1
    assert largest_difference(alone, both) < TOLERANCE
    assert learnt(alone, recipe, graph) > 1000 * TOLERANCE
    kept, whole = state_of(both / "best.pt"), state_of(alone / "best.pt")
    assert kept["machine"].endswith(", 2 processes")
    assert kept["valid"]["total"] == pytest.approx(whole["valid"]["total"], abs=0.02)


def test_a_run_goes_on_with_another_number_of_processes(
    graph: Graph, graph_folder: Path, teacher_runs: Path, tmp_path: Path
) -> None:
    alone = train(
        recipe_of(**HARDEST_TO_RESUME), graph, tmp_path / "one", teacher_runs=teacher_runs
    )
    stopped = torchrun("tests.training.several", graph_folder, teacher_runs, tmp_path / "two", 5)
    assert stopped.count("stopped") == 2
    torchrun("tests.training.several", graph_folder, teacher_runs, tmp_path / "two", 7, processes=3)
    both = train(recipe_of(**HARDEST_TO_RESUME), graph, tmp_path / "two", teacher_runs=teacher_runs)
    assert largest_difference(alone, both) < TOLERANCE
    lines = (both / "record.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [2, 4, 6, 8]
