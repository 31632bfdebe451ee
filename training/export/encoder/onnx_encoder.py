"""From a trained scorer to ``encoder.onnx``: (head row of the table, relation) -> query.

Shape letters: B queries, W width of the table, D dimension, R relations, Q queries of a split.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mulde.bundle.table.entity_table import Layout
from mulde.errors import BundleError
from mulde.evaluation.metrics import RankingTask
from training.export.encoder.folded_encoder import folded
from training.scorers import HyperbolicScorer, Scorer
from training.text.columns import TextColumns
from training.text.query import TextQuery

OPSET = 18
_TYPICAL_PLACE = 10
_QUERIES_PER_RELATION = 64
_SCORES = 1 << 24


class EncoderGraph(nn.Module):
    """A scorer's queries in the columns of the entity table.

    ``<query, row_t> + offset = b_t - slope u``, with u = cosh(sqrt(c) d) - 1 between query point
    and candidate, or for a bilinear scorer its score
    (docs/explanation/bundle-format.md, "encoder.onnx").

    Args:
        scorer: gives the query point.
        layout: of the table.
        slopes: [2R], above 0; what multiplies u for each relation (``choose_slopes``).
        priors: [2R, J], weights of the relation priors; None for zeros.
        text: the text columns that follow the priors; None for none.
    """

    def __init__(
        self,
        scorer: Scorer,
        layout: Layout,
        slopes: Tensor,
        priors: Tensor | None = None,
        text: TextColumns | None = None,
    ) -> None:
        super().__init__()
        self.scorer, self.layout = scorer, layout
        self.slopes: Tensor
        self.rest: Tensor
        self.register_buffer("slopes", slopes)
        rest = torch.zeros(len(slopes), layout.width - layout.head_bias.start)
        if priors is not None:
            rest[:, 2 : 2 + priors.shape[1]] = priors
        self.register_buffer("rest", rest)
        self.text = TextQuery(text, layout) if text is not None and text.count else None

    def forward(self, head: Tensor, relation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries of head rows [B, W] and relations [B].

        Returns:
            query [B, W], offset [B], bias [B] and slope [B].
        """
        layout = self.layout
        slope = self.slopes[relation]
        point, pull, offset = self.scorer.product(head[:, layout.spatial], relation, slope)
        pulls = pull.unsqueeze(-1).expand(-1, 2)
        ones = torch.ones_like(head[:, layout.tail_bias])
        rest = self.rest[relation]
        if self.text is not None:
            first = self.text.start - layout.head_bias.start
            rest = torch.cat([rest[:, :first], self.text(head, relation)], -1)
        query = torch.cat([point, pulls, ones, rest], -1)
        return query, offset, head[:, layout.head_bias].sum(-1), slope


@torch.inference_mode()
def choose_slopes(scorer: Scorer, valid: RankingTask) -> Tensor:
    """What multiplies u in the product that retrieves candidates, for each relation.

    A linear score has its own scale, 2 sigma_r / c, and a bilinear one 1. A distance score is
    retrieved by the tangent of acosh(1 + u)^2 / c at u*, the median over valid queries of the
    relation of the u of their tenth answer: there the fetched answers are told apart from the
    others. A relation without valid queries takes the median over all.

    Returns:
        [2R], above 0.
    """
    relations = torch.arange(2 * scorer.num_relations)
    if not isinstance(scorer, HyperbolicScorer) or scorer.kind == "linear":
        return scorer.scale(relations)
    chosen = _some_of_each(valid.relation, _QUERIES_PER_RELATION)
    step = max(1, _SCORES // scorer.num_entities)
    parts = (chosen[start : start + step] for start in range(0, len(chosen), step))
    u = np.concatenate([_typical_u(scorer, valid, part) for part in parts])
    relation = valid.relation[chosen]
    typical = np.full(len(relations), np.median(u))
    for row in np.unique(relation):
        typical[row] = np.median(u[relation == row])
    at = torch.from_numpy(np.maximum(typical, 1e-6))
    slope = 2 * torch.acosh(1 + at) / torch.sqrt(at * (at + 2))
    return (slope / scorer.curvature()).to(torch.float32)


def _typical_u(
    scorer: HyperbolicScorer, valid: RankingTask, chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The u of the tenth-best candidate by score, for some valid queries."""
    entity, relation = (torch.from_numpy(a[chosen]) for a in (valid.entity, valid.relation))
    query = scorer.query(entity, relation)
    scores = scorer.score_shared(query)
    place = min(_TYPICAL_PLACE, scorer.num_entities)
    value, row = scores.topk(place, dim=1)
    penalty = query.bias + scorer.tail_bias[row[:, -1]] - value[:, -1]
    distance = torch.sqrt((penalty / query.scale).clamp_min(0).double())
    found: NDArray[np.float64] = (torch.cosh(distance) - 1).numpy()
    return found


def _some_of_each(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions of up to ``count`` members of each group, evenly spread, in ascending order."""
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(groups[order], return_index=True, return_counts=True)
    place = np.arange(len(groups)) - np.repeat(start, size)
    step = np.repeat(-(-size // count), size)
    return np.sort(order[place % step == 0])


def write_onnx(encoder: EncoderGraph, path: Path) -> None:
    """Write ``encoder.onnx``: standard operators, weights inside, any batch size.

    A scorer with a short form (``folded_encoder``) is exported in it. Equal encoders give equal
    bytes.

    Raises:
        BundleError: for a scorer that cannot be exported, naming what is wrong with it.
    """
    try:
        short = folded(encoder.scorer, encoder.slopes, encoder.layout, encoder.rest, encoder.text)
    except ValueError as error:
        raise BundleError(path, f"not published; {error}") from error
    model = _exported(short or encoder, encoder.layout.width)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _exported(encoder: nn.Module, width: int) -> onnx.ModelProto:
    """The graph that torch's exporter makes.

    What it notes about source files, this machine and itself is taken out.
    """
    example = torch.zeros(2, width), torch.zeros(2, dtype=torch.int64)
    batch = torch.export.Dim("batch")
    shapes = {"head": {0: batch}, "relation": {0: batch}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's exporter warns about its own use of its own parts.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        exported = torch.export.export(encoder.eval(), example, dynamic_shapes=shapes)
        _gather_rows(exported)
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=["head", "relation"],
            output_names=["query", "offset", "bias", "slope"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _anonymise(model)
    return model


def _gather_rows(program: torch.export.ExportedProgram) -> None:
    """Say ``table[relation]`` as index_select: one Gather instead of five operators."""
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.target is aten.index.Tensor and len(node.args[1]) == 1:
            table, (rows,) = node.args
            node.target, node.args = aten.index_select.default, (table, 0, rows)


def _anonymise(model: onnx.ModelProto) -> None:
    """Remove stack traces, paths and versions of tools."""
    model.doc_string, model.producer_name, model.producer_version = "", "mulde", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    parts: list[Any] = [*graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
