"""Facts -> a graph with train, valid and test, where train gives no held-out fact away.

Three ways to choose what is held out:

* ``random``: pairs of entities in a random order. All facts between the same two entities,
  whatever their relation and direction, go to the same split; so no held-out fact stands in train
  as its inverse, its mirror or with a near-duplicate relation. Every entity and every relation
  keeps a fact in train.
* ``time``: the latest facts are held out, test after valid. A pair of entities with an earlier
  fact stays in train with all its facts, for the same reason. So does a relation's first pair.
* ``entity``: all facts of some entities are held out, so that train does not know them. Every
  relation keeps a fact in train.

The order of pairs and entities depends on names and seed alone, neither on the order of the lines
nor on a library's random numbers: the same facts give the same folder, byte for byte, and a graph
that has grown a little keeps most of its held-out facts held out.

Shape letters: n facts, P pairs of entities, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mulde.errors import ConfigError, DatasetError
from mulde.graph.folder import LABELS, RELATION_LABELS, TYPES, write_folder
from mulde.graph.graph import SPLITS, Graph, keys_of, triples_of
from mulde.graph.reading.compressed import Progress, no_progress
from mulde.graph.reading.read import GraphData
from mulde.graph.splitting.hold_out import (
    Hashes,
    Places,
    Shortfall,
    hash_names,
    hold_out,
    hold_out_entities,
    hold_out_latest,
)
from mulde.typing import Rows, Triples

WAYS = ("random", "time", "entity")


@dataclass(frozen=True)
class Split:
    """What became of a source.

    Attributes:
        graph: as training reads the folder.
        data: the source as it was read.
        added: mirrored facts of symmetric relations that the source did not have.
    """

    graph: Graph
    data: GraphData
    added: int


def split_graph(
    data: GraphData,
    out: Path | None = None,
    *,
    by: str = "random",
    valid: float = 0.05,
    test: float = 0.05,
    seed: int = 0,
    symmetric: Sequence[str] = (),
    overwrite: bool = False,
    name: str = "graph",
    progress: Progress = no_progress,
    shortfall: Shortfall = "refuse",
) -> Split:
    """Split facts, in memory or into a graph folder that appears whole or not at all.

    Args:
        data: of ``read_graph``.
        out: the folder to make; None for none.
        by: how to choose what is held out.
        valid: share of the facts that it gets, above 0 and together with ``test`` below 1.
        test: likewise.
        seed: another one holds out other facts.
        symmetric: relations that hold both ways; the missing direction of their facts is added.
        overwrite: whether a folder that is there may be replaced.
        name: of the source, for errors.
        progress: told how many facts of each split are written.
        shortfall: what becomes of a graph of which too few facts can be held out.

    Raises:
        ConfigError: for shares outside their range, a relation in ``symmetric`` that there is
            not, a split by time without times, or a folder that is there.
        DatasetError: where that much cannot be held out, or the folder cannot be written.
    """
    check_split(by, out, valid, test, overwrite)
    facts = data.facts
    triples, times, added = _with_mirrors(data, _rows_of(facts.relation_ids, symmetric, name))
    hashes = hash_names(facts.entity_ids, seed)
    try:
        part = _hold_out(by, triples, times, hashes, (valid, test), shortfall)
    except ValueError as error:
        raise DatasetError(name, str(error)) from error
    del hashes
    splits = {one: triples[part == place] for place, one in enumerate(SPLITS)}
    del triples, part
    title = "graph" if out is None else out.resolve().name
    graph = write_folder(data, splits, out, title, overwrite, progress)
    return Split(graph, data, added)


def _hold_out(
    by: str,
    triples: Triples,
    times: Rows | None,
    hashes: Hashes,
    shares: tuple[float, float],
    shortfall: Shortfall,
) -> Places:
    if by == "entity":
        return hold_out_entities(triples, hashes, *shares)
    if by == "time":
        if times is None:
            raise ConfigError("--by time", "a column with times, named by --time", None)
        return hold_out_latest(triples, times, len(hashes), *shares, shortfall)
    return hold_out(triples, hashes, *shares, shortfall)


def _rows_of(relation_ids: Any, wanted: Sequence[str], source: str) -> Rows:
    """Rows of the wanted relations."""
    known = relation_ids.to_pylist() if wanted else []
    for name in wanted:
        if name not in known:
            raise ConfigError("--symmetric", f"a relation of {source}", name)
    return np.array([known.index(name) for name in wanted], dtype=np.int64)


def _with_mirrors(data: GraphData, symmetric: Rows) -> tuple[Triples, Rows | None, int]:
    """The facts with (t, r, h) of each (h, r, t) with a symmetric r; times; how many are new."""
    triples, times = data.facts.triples, data.facts.times
    if not len(symmetric):
        return triples, times, 0
    mirrored = np.isin(triples[:, 1], symmetric)
    keys = np.concatenate([
        keys_of(triples, *data.facts.size), keys_of(triples[mirrored][:, ::-1], *data.facts.size),
    ])  # fmt: skip
    if times is not None:
        times = np.concatenate([times, times[mirrored]])
    both, first = np.unique(keys, return_index=True)
    found = triples_of(both, *data.facts.size)
    return found, None if times is None else times[first], len(found) - len(triples)


def check_split(by: str, out: Path | None, valid: float, test: float, overwrite: bool) -> None:
    """Refuse options that cannot be, before anything is read; see ``split_graph``."""
    if by not in WAYS:
        raise ConfigError("--by", f"one of {', '.join(WAYS)}", by)
    _refuse_shares(valid, test)
    if out is not None:
        _refuse_target(out, overwrite)


def _refuse_shares(valid: float, test: float) -> None:
    for name, share in (("valid", valid), ("test", test)):
        if not 0 < share < 1:
            raise ConfigError(f"--{name}", "a share above 0 and below 1", share)
    if valid + test >= 1:
        raise ConfigError(
            "--valid and --test", "shares that leave something to train", valid + test
        )


def _refuse_target(out: Path, overwrite: bool) -> None:
    """Replace nothing unasked, and never what an earlier split did not write."""
    if not (out.exists() or out.is_symlink()):
        return
    if not overwrite:
        raise ConfigError("--out", "a folder that does not exist, or --overwrite", str(out))
    ours = {*(f"{name}.txt" for name in SPLITS), LABELS, RELATION_LABELS, TYPES}
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else [""]
    foreign = [name for name in names if name not in ours]
    if foreign:
        expected = "a folder that holds nothing but an earlier split"
        raise ConfigError("--overwrite", expected, str(out / foreign[0]))
