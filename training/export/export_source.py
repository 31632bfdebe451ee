"""What a bundle is made from, and what its card says of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulde.bundle import files
from mulde.errors import ConfigError
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.self_loops import loopless, without_loops
from mulde.graph.graph import Graph, read_folder
from training.evaluate import scores_of, self_loop_relations
from training.export.calibration.train_priors import RelationPriors
from training.export.card.card import Provenance
from training.export.card.paper_differences import departures
from training.hardware import describe_machine
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.scorers import RESCAL, Scorer
from training.text.columns import TextColumns, choose_weights
from training.text.features import read_features
from training.text.fit import fit_text
from training.train import load_scorer

Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportSource:
    """What a bundle is made from: a graph and its folder, a model, its checkpoint and recipe."""

    graph: Graph
    folder: Path
    scorer: Scorer
    state: Mapping[str, Any]
    recipe: Recipe
    recipe_path: Path

    @classmethod
    def read(cls, checkpoint: Path, data: Path, recipe: Path | None) -> ExportSource:
        """Read them; without ``recipe``, the one in the run's folder is taken."""
        path = recipe or checkpoint.resolve().parent.parent / files.RECIPE
        if not path.is_file():
            expected = "a recipe file, such as the run's recipe.toml"
            raise ConfigError("recipe", expected, str(path))
        graph = read_folder(data)
        scorer, state = load_scorer(checkpoint, graph)
        if isinstance(scorer, RESCAL):
            scorer.round_matrices()
        return cls(graph, data, scorer, state, read_recipe(path), path)


def served_text(source: ExportSource, valid: RankingTask, report: Report) -> TextColumns:
    """Fit the recipe's text columns and choose their weights on valid, self-loops left out."""
    graph, settings = source.graph, source.recipe.text
    if settings is None:
        return TextColumns.none(graph.num_entities, graph.num_relations)
    report("reading labels and descriptions")
    features = read_features(source.folder, graph.entity_ids, source.recipe.seed)
    fitted = fit_text(features, graph, settings, source.recipe.seed, report)
    mask = loopless(self_loop_relations(graph, source.recipe), graph.num_relations)
    scores = without_loops(scores_of(source.scorer), mask)
    return fitted.weighted(choose_weights(scores, fitted, valid, report))


def provenance_of(source: ExportSource, licence: str, priors: RelationPriors) -> Provenance:
    """Return what the card says of a source and its priors."""
    identity, progress = source.state["identity"], source.state["progress"]
    kept = self_loop_relations(source.graph, source.recipe)
    return Provenance(
        trained_on=source.state.get("machine"),
        exported_on=describe_machine(),
        seconds=progress["seconds"],
        epoch=progress["epoch"],
        seed=identity["seed"],
        teachers=tuple(identity.get("teachers", ())),
        notes=source.recipe.notes,
        licence=licence or _licence(source.folder),
        departures=tuple(departures(source.recipe)),
        self_loops=None if kept is None else tuple(source.graph.relation_ids[r] for r in kept),
        priors=tuple(slots_of(source.graph, group) for group in priors.slots),
        update=identity.get("update", {}),
    )


def slots_of(graph: Graph, group: tuple[int, ...]) -> str:
    """A group of relation rows as a reader writes them: (.., r, ?) or (?, r, ..)."""
    return " or ".join(_slot(graph, row) for row in group)


def _slot(graph: Graph, row: int) -> str:
    relation = graph.relation_ids[row % graph.num_relations]
    return f"(.., {relation}, ?)" if row < graph.num_relations else f"(?, {relation}, ..)"


def _licence(folder: Path) -> str:
    """Where to read under which terms names and facts may be passed on."""
    found = sorted(path.name for path in folder.glob("LICEN[CS]E*"))
    where = f"file {', '.join(found)}" if found else "source"
    return f"The names and facts in this bundle are the data's; its licence: see its {where}."
