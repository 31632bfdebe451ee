"""Train tiny PyKEEN models on a made-up graph and save them with PyKEEN's own scores.

Run with a Python that has PyKEEN: ``python scripts/foreign_models/pykeen.py tests/golden/pykeen``.
The tests of the importer compare our scores with those.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from pykeen.models import Model
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

ENTITIES, RELATIONS, SCORED = 12, 3, 60
MODELS = ("TransE", "RotatE", "DistMult", "ComplEx", "MuRE", "QuatE", "RESCAL", "TransD")


def main(target: Path) -> None:
    """Write one folder for each model, and one with inverse triples."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    rows = np.unique(draw.integers(0, [ENTITIES, RELATIONS, ENTITIES], (80, 3)), axis=0)
    triples = np.array([[f"e{h:02}", f"r{r}", f"e{t:02}"] for h, r, t in rows])
    for name in MODELS:
        write(target / name, name, triples, inverse=False)
    write(target / "ComplEx-inverse", "ComplEx", triples, inverse=True)


def write(folder: Path, name: str, triples: np.ndarray, *, inverse: bool) -> None:
    """Train, save as PyKEEN does, and keep scores of random triples."""
    factory = TriplesFactory.from_labeled_triples(triples, create_inverse_triples=inverse)
    plain = TriplesFactory.from_labeled_triples(triples)
    options = {"embedding_dim": 6} | ({"scoring_fct_norm": 2} if name == "TransE" else {})
    result = pipeline(
        training=factory,
        testing=plain,
        model=name,
        model_kwargs=options,
        training_kwargs={"num_epochs": 30, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=1,
        device="cpu",
    )
    result.save_to_directory(folder)
    scores(folder, result.model)
    for path in (folder / "training_triples" / "base.pth", folder / "metadata.json"):
        path.unlink()
    (folder / "results.json").unlink()


def scores(folder: Path, model: Model) -> None:
    """Scores of random triples by the model itself; rows are PyKEEN's ids."""
    draw = np.random.default_rng(1)
    rows = torch.from_numpy(draw.integers(0, [ENTITIES, RELATIONS, ENTITIES], (SCORED, 3)))
    found = model.score_hrt(rows).detach().numpy()[:, 0]
    np.savez(folder / "scores.npz", triples=rows.numpy(), scores=found)


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    main(Path(sys.argv[1]))
