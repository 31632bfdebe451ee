"""Choose the relation priors and the self-loop exclusion of a bundle again, as an export does.

The scorer stays the same. The table gets other columns of priors, the encoder other weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mulde.bundle import files
from mulde.bundle.manifest import Manifest
from mulde.bundle.table.entity_table import PRECISIONS, Layout
from mulde.errors import BundleError
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.self_loops import loopless, without_loops
from mulde.graph.graph import Graph
from mulde.typing import Float32
from serving.engine.engine import Engine
from serving.engine.entity_table import EntityTable
from training.evaluate import self_loop_relations, served_priors
from training.export.calibration.train_priors import RelationPriors
from training.export.encoder.prior_weights import change_prior_weights
from training.export.served import Served
from training.export.table.entity_table import write_table
from training.recipe import Recipe
from training.recipe_file import read_recipe

Report = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        manifest: of the bundle with it.
        slots: of the relation priors, groups of relation rows in [0, 2R).
    """

    manifest: Manifest
    slots: tuple[tuple[int, ...], ...]


def choose_again(folder: Path, manifest: Manifest, graph: Graph, report: Report) -> Choice:
    """Choose on valid, and change table and encoder in a draft's folder.

    Args:
        folder: the draft, sealed; it has to be sealed again.
        manifest: as sealed.
        graph: that it was trained on.
        report: is told what is being done.

    Raises:
        BundleError: for a table of bytes, stored bounds of inverted lists or a missing recipe.
    """
    _refuse_unfit(folder, manifest)
    recipe, valid = read_recipe(folder / files.RECIPE), RankingTask.of(graph, "valid")
    layout = manifest.layout
    with Engine.open(folder) as engine:
        alone = Served(engine).all_facts
        priors = served_priors(alone, graph, _within(recipe, layout), valid, report)
        loops = self_loop_relations(graph, recipe)
        mask = loopless(loops, graph.num_relations)
        report("ranking valid without each rule")
        ranked = {"without_priors": without_loops(alone, mask)} if priors.slots else {}
        if mask.any():
            ranked["with_self_loops"] = priors.added(alone)
        measured = {
            f"mrr_{name}": float(np.mean(1 / valid.ranks(scores)))
            for name, scores in ranked.items()
        }
    kept = {name: one for name, one in manifest.checks.items() if name not in _REPLACED}
    count = layout.prior_count if layout.text_count else len(priors.slots)
    changed = replace(
        manifest, loops=loops, traits=count + layout.text_count, checks={**kept, **measured}
    )
    _change(folder, layout, changed, priors)
    return Choice(changed, priors.slots)


_REPLACED = ("mrr_with_self_loops", "mrr_without_priors", "mrr_with_loops", "mrr_without_traits")
"""Checks of the former choice; the last two are their former names."""


def _refuse_unfit(folder: Path, manifest: Manifest) -> None:
    if manifest.precision not in PRECISIONS:
        expected = "a table of fp16 or fp32; choose before mulde shrink"
        raise BundleError(folder, f"expected {expected}, found {manifest.precision}")
    if files.MEASURES in manifest.files:
        raise BundleError(folder, "expected no inverted lists, whose bounds would change")
    if files.RECIPE not in manifest.files:
        raise BundleError(folder, "expected recipe.toml, which says what may be chosen")


def _within(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe with as many priors as there are columns for."""
    return replace(recipe, relation_priors=min(recipe.most_priors, _columns(layout)))


def _columns(layout: Layout) -> int:
    """How many priors the table has room for; text columns stay in their places."""
    return layout.prior_count if layout.text_count else layout.width - layout.traits.start


def _change(folder: Path, layout: Layout, manifest: Manifest, priors: RelationPriors) -> None:
    """Write the table's columns and the encoder's weights."""
    start = layout.traits.start
    columns = slice(start, start + _columns(layout))
    if columns.start == columns.stop:
        return
    stored = EntityTable(folder / files.ENTITIES, manifest.entities, manifest.width)
    table: Float32 = stored.decode(0, manifest.entities)
    del stored  # its file is written anew
    heads = table[np.arange(2 * manifest.relations) % manifest.entities]
    change_prior_weights(folder / files.ENCODER, columns, priors.weights, heads)
    table[:, columns] = 0
    table[:, start : start + priors.filled.shape[1]] = priors.filled
    path = folder / files.ENTITIES
    path.unlink()
    write_table(path, table, manifest.precision)
