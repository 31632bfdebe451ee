"""PyKEEN, TorchKGE and hnswlib asked for the ten best tails; prints JSON.

    PYTHON benchmarks/peers.py ENTITIES RELATIONS DIMENSION SECONDS [FOLDER]

PYTHON has the dependency group ``peers`` and the same torch; nothing of mulde is imported. DistMult
is the least that a model can cost: its prediction is one product with the table. MuRE is the
nearest to what mulde serves: a squared distance and two biases. The vectors of both are random: the
time does not depend on them. hnswlib is asked where there is a FOLDER with ``table.npy`` [E, W],
``queries.npy`` [B, W] and ``best.npy`` [B, 10], the rows of the greatest products; its graph,
which takes minutes to build, is kept there as ``hnsw.bin``.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

K = 10
BATCH = 256
SMALL_BATCH = 16
"""For MuRE, which holds [B, E, D] numbers at once."""

_LINKS, _BUILD_WIDTH = 16, 100
_WIDTHS = (20, 40, 80, 160, 320, 640)
_RECALL = 0.99

Found = dict[str, Any]


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


def pykeen(entities: int, relations: int, dimension: int, seconds: float) -> list[Found]:
    """``predict_target`` takes one query at a time; ``predict_t`` is the model's own batch."""
    from pykeen.models import DistMult, MuRE
    from pykeen.predict import predict_target
    from pykeen.triples import TriplesFactory

    heads = np.arange(entities)
    triples = np.stack([heads, heads % relations, np.roll(heads, 1)], axis=1)
    factory = TriplesFactory(
        torch.as_tensor(triples),
        entity_to_id={f"e{row}": row for row in range(entities)},
        relation_to_id={f"r{row}": row for row in range(relations)},
    )
    found = []
    for kind, size in ((DistMult, BATCH), (MuRE, SMALL_BATCH)):
        model: Any = kind(triples_factory=factory, embedding_dim=dimension, random_seed=0).eval()
        asked = torch.stack([torch.arange(size), torch.arange(size) % relations], dim=1)

        def ask(model: Any = model) -> Any:
            return predict_target(model, head="e7", relation="r1", triples_factory=factory)

        def best(ask: Callable[[], Any] = ask) -> object:
            return ask().df.nlargest(K, "score")

        def unknown(ask: Callable[[], Any] = ask) -> object:
            return ask().filter_triples(factory).df.nlargest(K, "score")

        def together(size: int, model: Any = model, asked: Any = asked) -> object:
            return model.predict_t(asked[:size]).topk(K)

        whose = f"{kind.__name__}: "
        calls = {"predict_target, nlargest": best}
        calls["predict_target, filter_triples, nlargest"] = unknown
        for name, one in calls.items():
            found.append(_of("pykeen", "PyKEEN", whose + name, timed(one, seconds)))
        alone, batch = timed(partial(together, 1), seconds), timed(partial(together, size), seconds)
        call = f"{whose}predict_t of 1 and of {size}, topk"
        found.append(_of("pykeen", "PyKEEN", call, alone, size / batch))
    return found


def torchkge(entities: int, relations: int, dimension: int, seconds: float) -> list[Found]:
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

    alone, batch = timed(lambda: ask(1), seconds), timed(lambda: ask(BATCH), seconds)
    call = "DistMult: EntityInference's steps"
    return [_of("torchkge", "TorchKGE", call, alone, BATCH / batch)]


def hnsw(folder: Path, seconds: float) -> list[Found]:
    """The narrowest search that finds 99 % of the ten greatest products, or the widest tried."""
    import hnswlib

    table, queries, best = (np.load(folder / f"{n}.npy") for n in ("table", "queries", "best"))
    index: Any = hnswlib.Index(space="ip", dim=table.shape[1])
    path = folder / "hnsw.bin"
    if path.exists():
        index.load_index(str(path), max_elements=len(table))
    else:
        index.init_index(len(table), M=_LINKS, ef_construction=_BUILD_WIDTH)
        index.add_items(table)
        index.save_index(str(path))
    index.set_num_threads(1)
    for width in _WIDTHS:
        index.set_ef(width)
        rows = index.knn_query(queries, K)[0]
        same = [len(np.intersect1d(*pair)) for pair in zip(rows, best, strict=True)]
        recall = sum(same) / best.size
        if recall >= _RECALL:
            break
    place = iter(np.resize(np.arange(len(queries)), 1 << 20).tolist())
    alone = timed(lambda: index.knn_query(queries[next(place)], K), seconds)
    batch = timed(lambda: index.knn_query(queries[:BATCH], K), seconds)
    call = f"knn_query, M {_LINKS}, built with ef {_BUILD_WIDTH}, searched with {width}"
    rate = min(BATCH, len(queries)) / batch
    return [{**_of("hnswlib", "hnswlib", call, alone, rate), "recall": recall}]


def _of(package: str, name: str, call: str, alone: float, rate: float | None = None) -> Found:
    found: Found = {"name": name, "version": version(package), "call": call}
    found["alone_ms"] = alone * 1e3
    if rate is not None:
        found["queries_per_s"] = rate
    return found


def main(sizes: tuple[int, int, int], seconds: float, folder: Path | None) -> None:
    """Measure all on one thread."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with torch.inference_mode():
        found = [*pykeen(*sizes, seconds), *torchkge(*sizes, seconds)]
    if folder is not None:
        found += hnsw(folder, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main(
        (int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])),
        float(sys.argv[4]),
        Path(sys.argv[5]) if len(sys.argv) > 5 else None,
    )
