"""Save tiny DGL-KE models by DGL-KE's own code, with its own scores.

Run with a Python that has DGL-KE on its path (github.com/awslabs/dgl-ke); DGL itself is not called:
``python scripts/foreign_models/dglke.py tests/golden/dglke``. The tests of the importer compare.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from dglke.models.general_models import KEModel
from dglke.utils import save_model

ENTITIES, RELATIONS, SCORED, DIMENSION = 12, 3, 40, 4
DOUBLED = {"ComplEx": (True, True), "RotatE": (True, False)}
MODELS = ("TransE_l2", "TransE_l1", "DistMult", "ComplEx", "RESCAL", "RotatE")


def main(target: Path) -> None:
    """Write one folder for each model."""
    for name in MODELS:
        torch.manual_seed(5)
        write(target / name, name)


def write(folder: Path, name: str) -> None:
    """Make a model with random numbers, save it as dglke_train does, and keep its scores."""
    folder.mkdir(parents=True)
    entity, relation = DOUBLED.get(name, (False, False))
    settings = SimpleNamespace(
        model_name=name, dataset="toy", save_path=str(folder), hidden_dim=DIMENSION, gamma=12.0,
        has_edge_importance=False, mix_cpu_gpu=False, gpu=[-1], strict_rel_part=False,
        soft_rel_part=False, lr=0.1, num_proc=1, num_thread=1, async_update=False,
    )  # fmt: skip
    model = KEModel(
        settings, name, ENTITIES, RELATIONS, DIMENSION, 12.0,
        double_entity_emb=entity, double_relation_emb=relation,
    )  # fmt: skip
    save_model(settings, model, "entities.tsv", "relations.tsv")
    ids = {"entities": [f"e{row:02}" for row in range(ENTITIES)]}
    ids["relations"] = [f"r{row}" for row in range(RELATIONS)]
    for kind, names in ids.items():  # as KGDataset.load_entity_relation writes them
        text = "".join(f"{row}\t{one}\n" for row, one in enumerate(names))
        (folder / f"{kind}.tsv").write_text(text)
    shape = [ENTITIES, RELATIONS, ENTITIES]
    triples = np.random.default_rng(0).integers(0, shape, (SCORED, 3))
    head, between, tail = torch.tensor(triples).T
    edges = SimpleNamespace(
        src={"emb": model.entity_emb.emb[head]},
        dst={"emb": model.entity_emb.emb[tail]},
        data={"emb": model.relation_emb.emb[between]},
    )
    scores = model.score_func.edge_func(edges)["score"].numpy()
    np.savez(folder / "scores.npz", triples=triples, scores=scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
