"""What an exporter measures before it publishes: is what will be served what was trained?

Shape letters: B queries, E entities, W width of the table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.bundle.table.entity_table import Layout, Precision
from mulde.errors import BundleError
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.self_loops import without_loops
from mulde.typing import Float32
from serving.engine.engine import Engine
from training.evaluate import scores_of
from training.export.calibration.train_priors import RelationPriors
from training.export.encoder.onnx_encoder import EncoderGraph
from training.ops import hyperbolic
from training.scorers import Scorer
from training.text.columns import TINY, TextColumns

Report = Callable[[str], None]

_SAMPLE = 512
_TOP = 10
_SCORES = 1 << 24

ONNX_ERROR = 1e-4
"""Largest difference between ONNX and double precision, relative to the size of a query."""

SERVED_MRR = 5e-5
"""Largest difference of valid MRR between the engine and the same table in double precision."""

ROUNDED_MRR: dict[Precision, float] = {
    "fp16": 2e-3,
    "fp32": 5e-5,
    "int8": 4e-3,
    "int4": 2e-2,
}
"""Largest difference of valid MRR that rounding the table may make."""


def rounded_scores(
    scorer: Scorer,
    layout: Layout,
    table: NDArray[np.float32],
    weights: Float32,
    text: TextColumns,
) -> Scores:
    """Scores of the table as stored, computed by the trainer's code in double precision.

    Args:
        scorer: the trained one.
        layout: of the table.
        table: [E, W].
        weights: of the relation priors, [2R, J].
        text: whose columns follow the priors'.
    """
    exact = copy.deepcopy(scorer).double()
    points = layout.unpack(table)
    spatial, y, tail_bias, head_bias, added = (torch.from_numpy(part) for part in points)
    pulls = torch.from_numpy(weights).double()
    filled, columns = added.split([weights.shape[1], text.count], dim=1)
    matrix, shift, sizes = (
        torch.from_numpy(part).double() for part in (text.matrix, text.shift, text.scale)
    )

    @torch.inference_mode()
    def scores(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.float64]:
        rows, relations = torch.from_numpy(entity), torch.from_numpy(relation)
        scale = exact.scale(relations)
        slope = torch.ones_like(scale) if exact.kind == "distance" else scale
        point, pull, offset = exact.product(spatial[rows], relations, slope)
        score = point @ spatial.T + pull[:, None] * y + offset[:, None]
        if exact.kind == "distance":
            score = -scale[:, None] * hyperbolic.squared_distance(-score)
        own = torch.einsum("bi,bij->bj", columns[rows], matrix[relations]) + shift[relations]
        own *= (sizes[relations] / (own.square().sum(-1) + TINY).sqrt()).unsqueeze(-1)
        score = score + pulls[relations] @ filled.T + own @ columns.T
        found: NDArray[np.float64] = (head_bias[rows][:, None] + tail_bias + score).numpy()
        return found

    return scores


def measure(
    scorer: Scorer,
    encoder: EncoderGraph,
    table: NDArray[np.float32],
    engine: Engine,
    valid: RankingTask,
    priors: RelationPriors,
    text: TextColumns,
    report: Report = lambda step: None,
) -> dict[str, float]:
    """Compare trained and rounded model, and the queries and answers of the served one.

    Returns:
        onnx_error: largest difference of an encoder output from double precision, over the largest
            number of that query.
        recall@10: share of the exhaustive top 10 that the engine returns, up to ties.
        fetched_p50, fetched_p90: rows that the engine scored exactly to be certain of a top 10.
        mrr_trained, mrr_rounded: valid MRR of the checkpoint, and of the rounded table in double
            precision, self-loops left out and priors added as in what is served.
        mrr_with_self_loops, mrr_without_priors, mrr_without_text: the first without that rule or
            those columns; only where there are any.
    """
    report("comparing encoders and answers")
    checks = {"onnx_error": onnx_error(encoder, table, engine, valid), **answers(engine, valid)}
    ranked: dict[str, Scores] = {
        "trained": priors.added(text.added(scores_of(scorer))),
        "rounded": rounded_scores(scorer, engine.manifest.layout, table, priors.weights, text),
    }
    if priors.slots:
        ranked["without_priors"] = text.added(scores_of(scorer))
    if text.count:
        ranked["without_text"] = priors.added(scores_of(scorer))
    mask = engine.manifest.loopless
    served = {name: without_loops(scores, mask) for name, scores in ranked.items()}
    if mask.any():
        served["with_self_loops"] = ranked["trained"]
    for name, scores in served.items():
        report(f"ranking valid as {name.replace('_', ' ')}")
        ranks = valid.ranks(scores, batch=_batch(engine))
        checks[f"mrr_{name}"] = float(np.mean(1.0 / ranks))
    return checks


def refuse_differences(
    out: Path, checks: dict[str, float], precision: Precision, queries: int
) -> None:
    """Raise if a figure of ``measure``, or "mrr_served" of the engine, is outside its tolerance.

    On a small split, a few ties decide the MRR: half a query may change between two computations
    of the same table, and two by rounding.

    Raises:
        BundleError: with the figure, what was expected and what was found.
    """
    rounding = abs(checks["mrr_rounded"] - checks["mrr_trained"])
    serving = abs(checks["mrr_served"] - checks["mrr_rounded"])
    limits = {
        "the ONNX encoder's error": (checks["onnx_error"], ONNX_ERROR),
        "the index's miss of the top 10": (1.0 - checks["recall@10"], 0.0),
        "the MRR's change by serving": (serving, max(SERVED_MRR, 0.5 / queries)),
        "the MRR's change by rounding": (rounding, max(ROUNDED_MRR[precision], 2 / queries)),
    }
    for what, (found, limit) in limits.items():
        if not found <= limit:
            problem = f"{what}: expected at most {limit:.2g}, found {found:.3g}"
            raise BundleError(out, f"not published; {problem}")


@torch.inference_mode()
def onnx_error(
    encoder: EncoderGraph, table: NDArray[np.float32], engine: Engine, valid: RankingTask
) -> float:
    """Largest difference of served queries from double precision, relative to their size."""
    rows = sample(valid)
    entity, relation = valid.entity[rows], valid.relation[rows]
    head = torch.from_numpy(table[entity]).double()
    exact = copy.deepcopy(encoder).double()(head, torch.from_numpy(relation))
    vector, offset, bias, slope = (part.numpy() for part in exact)
    served = engine.encode(entity, relation)
    size = np.abs(vector).max(axis=1)
    scalars = ((served.offset, offset), (served.bias, bias), (served.slope, slope))
    errors = [np.abs(found - wanted) / size for found, wanted in scalars]
    errors.append(np.abs(served.vector - vector).max(axis=1) / size)
    return float(np.max(errors))


def answers(engine: Engine, valid: RankingTask) -> dict[str, float]:
    """recall@10, where an equal score is as good, and how many rows were fetched for it."""
    rows = sample(valid)
    entity, relation = valid.entity[rows], valid.relation[rows]
    top = min(_TOP, max(1, engine.num_entities - 1))  # the entity itself may be left out
    hits, fetched = 0, []
    for start in range(0, len(rows), _batch(engine)):
        part = slice(start, start + _batch(engine))
        found = engine.predict(entity[part], relation[part], top, use_priors=True)
        scores = engine.scores(entity[part], relation[part])
        least = np.partition(scores, -top, axis=1)[:, -top]
        hits += int((scores[found.owners, found.rows] >= least[found.owners]).sum())
        fetched.append(found.fetched)
    middle, most = np.percentile(np.concatenate(fetched), [50, 90]).tolist()
    recall = hits / (top * len(rows))
    return {"recall@10": recall, "fetched_p50": middle, "fetched_p90": most}


def _batch(engine: Engine) -> int:
    """Queries whose scores of all entities take some 100 MB."""
    return max(1, min(256, _SCORES // engine.num_entities))


def sample(task: RankingTask) -> NDArray[np.int64]:
    """Up to 512 queries, evenly spread over both directions."""
    count = min(_SAMPLE, len(task.target))
    return np.linspace(0, len(task.target) - 1, count).astype(np.int64)
