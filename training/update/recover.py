"""A checkpoint from a bundle alone: entities from its table, relations from its encoder.

A bundle holds all that a model has learnt: its table has the entities, in half precision or
coarser, and its encoder maps any point to a query. The relations' numbers are those whose encoder
gives the same queries at random points, found by least squares (L-BFGS).

Shape letters: E entities, R relations, D dimension, P probes of each relation, W table width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from mulde.bundle import files
from mulde.bundle.bundle import Bundle
from mulde.errors import BundleError
from mulde.graph.graph import Graph
from mulde.typing import Float32
from serving.engine.entity_table import EntityTable
from training.checkpoint import write_checkpoint
from training.ops import hyperbolic
from training.recipe import decisive
from training.recipe_file import read_recipe
from training.scorers import HyperbolicScorer, Scorer
from training.train import new_scorer
from training.update.grow import ENTITY_TABLES

TOLERANCE = 1e-2
"""Largest difference of a recovered query from the bundle's, relative to the largest number."""
_PROBES_BEYOND, _SIZE, _STEPS = 16, 0.5, 200


def recover_checkpoint(bundle: Bundle, graph: Graph, path: Path) -> Path:
    """Write a ``best.pt`` of a bundle's model, unless it is there.

    Raises:
        BundleError: if its encoder is not that of the recipe's Junior.
    """
    if path.is_file():
        return path
    recipe = read_recipe(bundle.file(files.RECIPE))
    imported = recipe.name.startswith("imported-")
    scorer = new_scorer(recipe.junior, graph, recipe.seed)
    table = EntityTable(bundle.file(files.ENTITIES), graph.num_entities, bundle.manifest.width)
    _set_entities(scorer, bundle, table.decode(0, graph.num_entities))
    error = _set_relations(scorer, bundle, recipe.seed)
    if not error <= TOLERANCE:
        problem = f"its encoder could not be recovered: expected queries within {TOLERANCE}"
        raise BundleError(bundle.path, f"{problem}, found {error:.2g}; give its --checkpoint")
    identity = {
        "graph": graph.digest,
        "model": decisive(recipe.junior),
        "training": {"imported": recipe.notes} if imported else decisive(recipe.junior_training),
        "seed": recipe.seed,
    }
    weights = dict(scorer.state_dict())
    write_checkpoint(path, {"identity": identity, "model": weights})
    return path


@torch.no_grad()
def _set_entities(scorer: Scorer, bundle: Bundle, table: Float32) -> None:
    """Copy points and biases of a table [E, W]; the curvature too."""
    points = bundle.manifest.layout.unpack(table)
    spatial, tail, head = (
        torch.from_numpy(part).float()
        for part in (points.spatial, points.tail_bias, points.head_bias)
    )
    if isinstance(scorer, HyperbolicScorer):
        curvature = torch.tensor(bundle.manifest.score.curvature)
        scorer.raw_curvature.copy_(torch.log(torch.expm1(curvature)))
        spatial = hyperbolic.logmap0(spatial, curvature)
    scorer.get_parameter("entity").copy_(spatial)
    scorer.tail_bias.copy_(tail)
    scorer.head_bias.copy_(head)


def _set_relations(scorer: Scorer, bundle: Bundle, seed: int) -> float:
    """Fit the relations' numbers to the encoder; returns the error that is left."""
    probes, relation = _probes(scorer, seed)
    wanted, slope = _answers(bundle, probes, relation)
    if isinstance(scorer, HyperbolicScorer) and scorer.kind == "linear":
        with torch.no_grad():
            scale = slope.view(2 * scorer.num_relations, -1)[:, 0] * scorer.curvature() / 2
            scorer.raw_scale.copy_(torch.log(torch.expm1(scale)))
    fitted = [
        weight
        for name, weight in scorer.named_parameters()
        if name not in (*ENTITY_TABLES, "raw_curvature", "raw_scale")
    ]
    optimiser = torch.optim.LBFGS(fitted, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = (scorer.product(probes, relation, slope)[0] - wanted).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        missed = scorer.product(probes, relation, slope)[0] - wanted
    return float(missed.abs().max() / wanted.abs().max())


def _probes(scorer: Scorer, seed: int) -> tuple[Tensor, Tensor]:
    """Random points [2R P, D], and the relation of each."""
    count = scorer.dimension + _PROBES_BEYOND
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(2 * scorer.num_relations * count, scorer.dimension, generator=generator)
    relation = torch.arange(2 * scorer.num_relations).repeat_interleave(count)
    size = _SIZE if isinstance(scorer, HyperbolicScorer) else 1.0
    return nn.functional.normalize(points) * size * scorer.dimension**0.5 / 2, relation


def _answers(bundle: Bundle, probes: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    """The encoder's query points [n, D] and slopes [n] of probes."""
    layout, points = bundle.manifest.layout, probes.numpy()
    none = np.zeros(len(points))
    head = layout.pack(points, none, none, "fp32")
    session = onnxruntime.InferenceSession(str(bundle.file(files.ENCODER)))
    given = {"head": head, "relation": relation.numpy()}
    query, slope = session.run(["query", "slope"], given)
    return torch.from_numpy(query[:, layout.spatial]), torch.from_numpy(slope)
