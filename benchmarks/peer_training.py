"""PyKEEN trains RotatE and TransE, for `benchmarks/training_speed.py`; prints JSON.

    PYTHON -m benchmarks.peer_training DATA DIMENSION TRIPLES NEGATIVES SECONDS

PYTHON has the dependency group ``peers`` and the same torch. Of mulde it takes how a graph is read
and what a rank is. Both directions of each triple are trained, as reciprocal relations; the loss
is that of RotatE's paper (self-adversarial, margin 9), the optimiser Adam; neither is tuned.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph, read_folder

RATE = 0.005


def main(data: str, dimension: int, batch: int, negatives: int, seconds: float) -> None:
    """Train both for so many processor seconds, validating after each epoch."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    graph = read_folder(data)
    found = [
        trained(graph, name, numbers, dimension, batch, negatives, seconds)
        for name, numbers in (("RotatE", dimension // 2), ("TransE", dimension))
    ]
    print(json.dumps(found))


def trained(
    graph: Graph, name: str, width: int, dimension: int, batch: int, negatives: int, seconds: float
) -> dict[str, Any]:
    """One model; ``width`` is its own word for ``dimension`` real numbers."""
    from pykeen.losses import NSSALoss
    from pykeen.models import RotatE, TransE
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import TriplesFactory

    factory = TriplesFactory(
        torch.from_numpy(graph.train.astype(np.int64)),
        entity_to_id={name: row for row, name in enumerate(graph.entity_ids)},
        relation_to_id={name: row for row, name in enumerate(graph.relation_ids)},
        create_inverse_triples=True,
    )
    family = {"RotatE": RotatE, "TransE": TransE}[name]
    loss = NSSALoss(margin=9.0, adversarial_temperature=1.0)
    model = family(triples_factory=factory, embedding_dim=width, loss=loss, random_seed=1)
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=torch.optim.Adam(model.parameters(), lr=RATE),
        negative_sampler_kwargs={"num_negs_per_pos": negatives},
    )
    task, spent = RankingTask.of(graph, "valid"), 0.0
    curve: list[tuple[float, float]] = []
    while spent < seconds:
        begin = process_time()
        loop.train(
            factory,
            num_epochs=len(curve) + 1,
            batch_size=batch,
            continue_training=bool(curve),
            use_tqdm=False,
        )
        spent += process_time() - begin
        quality = task.quality(lambda entity, relation: scores(model, graph, entity, relation))
        curve.append((spent, quality["total"]["mrr"]))
    epochs = np.diff([0.0, *(second for second, _ in curve)])
    return {
        "name": f"PyKEEN {version('pykeen')}",
        "model": f"{name}-{dimension}",
        "batch": f"{batch} triples",
        "negatives": negatives,
        "triples_per_s": 2 * len(graph.train) / float(np.median(epochs)),
        "curve": curve,
    }


@torch.inference_mode()
def scores(
    model: Any, graph: Graph, entity: NDArray[np.int64], relation: NDArray[np.int64]
) -> NDArray[np.float32]:
    """[B, E]: tails of (entity, relation), heads where the relation is a reciprocal one."""
    found = np.empty((len(entity), graph.num_entities), np.float32)
    forward = relation < graph.num_relations
    if forward.any():
        pairs = torch.from_numpy(np.stack([entity[forward], relation[forward]], 1))
        found[forward] = model.predict_t(pairs).numpy()
    if not forward.all():
        back = ~forward
        turned = np.stack([relation[back] - graph.num_relations, entity[back]], 1)
        found[back] = model.predict_h(torch.from_numpy(turned)).numpy()
    return found


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[2:5]]
    main(sys.argv[1], sizes[0], sizes[1], sizes[2], float(sys.argv[5]))
