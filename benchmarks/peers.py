"""PyKEEN and TorchKGE asked for the ten best tails, for `benchmarks/serving.py`; prints JSON.

    PYTHON benchmarks/peers.py ENTITIES RELATIONS DIMENSION SECONDS

PYTHON has the dependency group ``peers`` and the same torch; nothing of mulde is imported. Both use
DistMult, whose prediction is one product with the table, the least that a model can cost. Their
vectors are random: the time does not depend on them.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from time import perf_counter

import numpy as np
import torch

K = 10
BATCH = 256


def timed(run: Callable[[], object], seconds: float) -> float:
    """Median seconds of a run, of those that fit in the time; at least three."""
    run()
    taken: list[float] = []
    end = perf_counter() + seconds
    while len(taken) < 3 or perf_counter() < end:
        begin = perf_counter()
        run()
        taken.append(perf_counter() - begin)
    return median(taken)


def pykeen(entities: int, relations: int, dimension: int, seconds: float) -> dict[str, object]:
    """``predict_target``, which takes one query at a time."""
    from pykeen.models import DistMult
    from pykeen.predict import predict_target
    from pykeen.triples import TriplesFactory

    heads = np.arange(entities)
    triples = np.stack([heads, heads % relations, np.roll(heads, 1)], axis=1)
    factory = TriplesFactory(
        torch.as_tensor(triples),
        entity_to_id={f"e{row}": row for row in range(entities)},
        relation_to_id={f"r{row}": row for row in range(relations)},
    )
    model = DistMult(triples_factory=factory, embedding_dim=dimension, random_seed=0).eval()

    def ask() -> object:
        found = predict_target(model, head=7, relation=1, triples_factory=factory)
        return found.df.nlargest(K, "score")

    alone = timed(ask, seconds)
    what = "predict_target, then nlargest"
    return {"name": "PyKEEN", "version": version("pykeen"), "call": what, "alone_ms": alone * 1e3}


def torchkge(entities: int, relations: int, dimension: int, seconds: float) -> dict[str, object]:
    """The steps of ``EntityInference.evaluate``, which itself fails in 0.17.7 (a wrong index)."""
    from torchkge.models import DistMultModel

    model = DistMultModel(dimension, entities, relations)
    none = torch.tensor([]).long()

    def ask(size: int) -> object:
        rows = torch.arange(size)
        head, _, kind, candidates = model.inference_prepare_candidates(
            rows, none, rows % relations, entities=True
        )
        scores = model.inference_scoring_function(head, candidates, kind)
        ranked, indices = scores.sort(descending=True)
        return ranked[:, :K], indices[:, :K]

    found = {"name": "TorchKGE", "version": version("torchkge"), "call": "EntityInference's steps"}
    alone, batch = timed(lambda: ask(1), seconds), timed(lambda: ask(BATCH), seconds)
    return {**found, "alone_ms": alone * 1e3, "queries_per_s": BATCH / batch}


def main(entities: int, relations: int, dimension: int, seconds: float) -> None:
    """Measure both on one thread."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with torch.inference_mode():
        found = [run(entities, relations, dimension, seconds) for run in (pykeen, torchkge)]
    print(json.dumps(found))


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:4]]
    main(sizes[0], sizes[1], sizes[2], float(sys.argv[4]))
