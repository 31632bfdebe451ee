"""A toy bundle whose manifest says that it was trained on a graph that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.graph.graph import read_folder
from tests.support.tiny import write_split
from tests.support.toy import toy_bundle


def write_graph_and_bundle(folder: Path) -> None:
    """``folder/data``, a ring of 60 entities; ``folder/bundle``, a toy of this graph."""
    toy = toy_bundle(folder / "toy", entities=60)
    opened = open_bundle(toy.path)
    ids, relations = opened.vocabulary.entities.ids, opened.vocabulary.relations.ids
    facts = [(ids[n], relations[n % len(relations)], ids[(n + 1) % 60]) for n in range(60)]
    (folder / "data").mkdir()
    for name, part in (("train", facts), ("valid", facts[::3]), ("test", facts[::5])):
        write_split(folder / "data", name, part)
    dataset = replace(opened.manifest.dataset, sha256=read_folder(folder / "data").digest)
    parts = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(folder / "bundle", replace(opened.manifest, dataset=dataset), parts)
