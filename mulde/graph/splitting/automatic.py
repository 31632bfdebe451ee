"""A split for ``mulde fit``: the shares that a graph allows, and a sentence about them."""

from __future__ import annotations

from pathlib import Path

from mulde.errors import DatasetError
from mulde.graph.graph import Graph
from mulde.graph.reading.compressed import Progress, no_progress
from mulde.graph.reading.read import GraphData
from mulde.graph.splitting.hold_out import Shortfall
from mulde.graph.splitting.split import split_graph

SMALL = 20_000
"""Facts below which a tenth each is held out for valid and test, and a twentieth from there on."""

_WAYS: tuple[Shortfall, ...] = ("refuse", "fewer", "unseen")


def held_out(facts: int) -> float:
    """Return the share of facts for valid, and for test."""
    return 0.1 if facts < SMALL else 0.05


def split_automatically(
    data: GraphData,
    out: Path,
    *,
    by: str = "random",
    seed: int = 1,
    name: str = "graph",
    progress: Progress = no_progress,
) -> str:
    """Write a graph folder whose held-out share is what the facts allow; return what was done.

    A tenth or a twentieth each is held out; where fewer facts can be, half of those for each; and
    where none can be, facts with entities that train then does not know.

    Args:
        data: of ``read_graph``.
        out: the folder; an earlier split in it is replaced.
        by: how to choose what is held out: random, time or entity.
        seed: another one holds out other facts.
        name: of the source, for errors.
        progress: told how many facts of each split are written.

    Raises:
        ConfigError: as ``split_graph``.
        DatasetError: where not even two facts can be held out.
    """
    share = held_out(len(data.facts))
    for way in _WAYS:
        try:
            made = split_graph(
                data,
                out,
                by=by,
                valid=share,
                test=share,
                seed=seed,
                overwrite=True,
                name=name,
                progress=progress,
                shortfall=way,
            )
        except DatasetError as error:
            if by == "entity" or way == _WAYS[-1]:
                raise
            refused = error
            continue
        return _told(made.graph, share, way)
    raise refused


def _told(graph: Graph, share: float, way: Shortfall) -> str:
    valid, test = len(graph.valid), len(graph.test)
    facts = len(graph.train) + valid + test
    told = f"held out: {valid:,} facts to choose a model and {test:,} to measure it, of {facts:,}"
    if way == "fewer":
        return (
            f"{told}; {share:.0%} each was wanted, but the other facts are the last ones of an "
            "entity or a relation"
        )
    if way == "unseen":
        return (
            f"{told}; every fact is the last one of an entity or a relation, so held-out facts "
            "have entities that train does not know, and quality is that of guesses by relation"
        )
    return told
