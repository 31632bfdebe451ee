"""Train tiny LibKGE models on a made-up graph and save them with LibKGE's own scores.

Run in an empty folder, with a Python that has LibKGE's code on its path (github.com/uma-pi1/kge):
``python libkge.py``. The tests of the importer compare our scores with those.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from kge import Config, Dataset
from kge.job import Job
from kge.util.package import package_model

ENTITIES, RELATIONS, SCORED = 12, 3, 40
RECIPROCAL = "reciprocal_relations_model"
MODELS: dict[str, dict[str, object]] = {
    "complex": {"model": "complex"},
    "distmult": {"model": "distmult"},
    "rescal": {"model": "rescal"},
    "transe": {"model": "transe", "transe.l_norm": 2.0},
    "rotate": {"model": "rotate", "rotate.l_norm": 2.0},
    "transe-l1": {"model": "transe", "transe.l_norm": 1.0},
    "complex-reciprocal": {"model": RECIPROCAL, f"{RECIPROCAL}.base_model.type": "complex"},
}


def main() -> None:
    """Write one folder for each model: LibKGE's package, or a checkpoint and ids."""
    torch.set_num_threads(1)
    load = torch.load  # LibKGE is older than torch's default of weights_only
    torch.load = lambda *given, **named: load(*given, **{**named, "weights_only": False})
    data = Path("toy")
    write_dataset(data)
    for name, options in MODELS.items():
        train(Path(name), data, options)


def write_dataset(folder: Path) -> None:
    """Write a made-up graph as LibKGE keeps one."""
    folder.mkdir()
    rows = np.random.default_rng(3).integers(0, [ENTITIES, RELATIONS, ENTITIES], (80, 3))
    rows = np.unique(rows, axis=0)
    lines = ["dataset:", "  name: toy", f"  num_entities: {ENTITIES}"]
    lines.append(f"  num_relations: {RELATIONS}")
    for split, part in (("train", rows[10:]), ("valid", rows[:5]), ("test", rows[5:10])):
        np.savetxt(folder / f"{split}.del", part, "%d", "\t")
        lines += [f"  files.{split}.filename: {split}.del", f"  files.{split}.type: triples"]
    ids = {
        "entity": [f"e{row:02}" for row in range(ENTITIES)],
        "relation": [f"r{row}" for row in range(RELATIONS)],
    }
    for kind, names in ids.items():
        text = "".join(f"{row}\t{name}\n" for row, name in enumerate(names))
        (folder / f"{kind}_ids.del").write_text(text)
        lines.append(f"  files.{kind}_ids.filename: {kind}_ids.del")
        lines.append(f"  files.{kind}_ids.type: map")
    (folder / "dataset.yaml").write_text("\n".join(lines) + "\n")


def train(folder: Path, data: Path, options: dict[str, object]) -> None:
    """Train three epochs, package or keep the checkpoint, and keep scores of random triples."""
    config = Config()
    config.folder = str(folder)
    for model in {options["model"], options.get(f"{RECIPROCAL}.base_model.type")} - {None}:
        config._import(model)
    plain = {"job.type": "train", "dataset.name": "toy", "job.device": "cpu"}
    small = {"train.max_epochs": 3, "lookup_embedder.dim": 8, "random_seed.default": 7}
    for key, value in {**plain, **small, **options}.items():
        config.set(key, value, create=True)
    run = Path("run") / folder
    run.mkdir(parents=True)
    config.folder = str(run)
    dataset = Dataset.create(config, folder=str(data))
    job = Job.create(config, dataset)
    job.run()
    folder.mkdir()
    if options["model"] == RECIPROCAL:
        shutil.copy(run / "checkpoint_best.pt", folder)
        for kind in ("entity", "relation"):
            shutil.copy(data / f"{kind}_ids.del", folder)
    else:
        last = SimpleNamespace(checkpoint=str(run / "checkpoint_00003.pt"), file=None)
        last.file = str(folder / "model.pt")
        package_model(last, dataset=dataset)
    shape = [ENTITIES, RELATIONS, ENTITIES]
    triples = torch.tensor(np.random.default_rng(0).integers(0, shape, (SCORED, 3)))
    job.model.eval()
    with torch.no_grad():
        tails, heads = (job.model.score_spo(*triples.T, side).view(-1).numpy() for side in "os")
    np.savez(folder / "scores.npz", triples=triples.numpy(), scores=tails, head_scores=heads)


if __name__ == "__main__":
    main()
