"""A model that was trained elsewhere, converted to a checkpoint of this package.

The checkpoint opens like any other: it is exported and served as it is, or it teaches a Junior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mulde.errors import CheckpointError
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from training.checkpoint import write_checkpoint
from training.evaluate import scores_of
from training.recipe import Recipe, ScorerSettings, Training, decisive
from training.scorers import Scorer
from training.train import new_scorer

_NAMED = 3


@dataclass(frozen=True)
class ForeignModel:
    """Tensors of another package's model, in the layout of our scorers.

    Attributes:
        scorer: name of our scorer.
        dimension: D of it.
        entity_ids: id of each row of the entity tensors.
        relation_ids: id of each forward relation.
        entity: name -> [E, ...], rows in the order of ``entity_ids``.
        relation: name -> [R, ...] or [2R, ...], forward relations first.
        origin: package and class, for messages and the card.
    """

    scorer: str
    dimension: int
    entity_ids: Sequence[str]
    relation_ids: Sequence[str]
    entity: dict[str, Tensor]
    relation: dict[str, Tensor]
    origin: str
    notes: tuple[str, ...] = field(default_factory=tuple)


def convert(foreign: ForeignModel, graph: Graph, source: Path) -> Scorer:
    """Return our scorer with the foreign model's numbers, rows in the graph's order.

    Args:
        foreign: the tensors.
        graph: whose entities and relations the model must know.
        source: to name in errors.

    Raises:
        CheckpointError: if an entity or relation of the graph is not in the model.
    """
    entities = _rows(source, "entities", foreign.entity_ids, graph.entity_ids)
    relations = _rows(source, "relations", foreign.relation_ids, graph.relation_ids)
    model = ScorerSettings(foreign.scorer, foreign.dimension, "bilinear")  # type: ignore[arg-type]
    scorer = new_scorer(model, graph, 0)
    size = len(foreign.relation_ids)
    both = torch.cat([relations, relations + size])
    state = {name: value[entities] for name, value in foreign.entity.items()}
    for name, value in foreign.relation.items():
        state[name] = value[both if len(value) == 2 * size else relations]
    missing = scorer.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    assert not missing.unexpected_keys, missing
    scorer.freeze()
    return scorer


def _rows(source: Path, what: str, found: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Place in ``found`` of each id in ``wanted``."""
    places = {name: row for row, name in enumerate(found)}
    absent = [name for name in wanted if name not in places]
    if absent:
        named = ", ".join(absent[:_NAMED])
        count = f"{len(wanted) - len(absent):,}"
        more = ", ..." if len(absent) > _NAMED else ""
        problem = (
            f"expected all {len(wanted):,} {what} of the graph, found {count}; "
            f"absent: {named}{more}"
        )
        raise CheckpointError(source, problem)
    return torch.tensor([places[name] for name in wanted])


def write_imported(foreign: ForeignModel, graph: Graph, source: Path, path: Path) -> float:
    """Write the model as a checkpoint and return its MRR on valid.

    Args:
        foreign: the tensors.
        graph: that the model was trained on.
        source: to name in errors.
        path: of the checkpoint, ``.../NAME/best.pt``.
    """
    scorer = convert(foreign, graph, source)
    valid = RankingTask.of(graph, "valid")
    quality = valid.quality(scores_of(scorer)) if len(valid.target) else {"total": {"mrr": 0.0}}
    model = ScorerSettings(foreign.scorer, foreign.dimension, "bilinear")  # type: ignore[arg-type]
    mrr = quality["total"]["mrr"]
    state = {
        "identity": {
            "graph": graph.digest,
            "model": decisive(model),
            "training": {"imported": foreign.origin},
            "seed": 0,
        },
        "progress": {"epoch": 0, "epochs": 0, "seconds": 0.0, "mrr": mrr, "best": mrr},
        "machine": None,
        "model": scorer.state_dict(),
        "objective": {},
        "valid": quality,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, state)
    return mrr


def imported_recipe(foreign: ForeignModel, data: str) -> Recipe:
    """Return the recipe of an imported model: what it is, not how it was trained."""
    model = ScorerSettings(foreign.scorer, foreign.dimension, "bilinear")  # type: ignore[arg-type]
    name = f"imported-{foreign.scorer.lower()}-{foreign.dimension}"
    notes = f"Imported: {foreign.origin}. How it was trained is not known here."
    return Recipe(
        name=name, data=data, junior=model, junior_training=Training(epochs=1), notes=notes
    )
