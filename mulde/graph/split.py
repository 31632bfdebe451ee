"""One file of own triples -> a graph folder with train, valid and test that leaks nothing.

What is held out is only worth measuring if train neither repeats it nor lacks its names:

* all facts between the same two entities, whatever their relation and direction, go to the same
  split, so no held-out fact stands in train as its inverse, its mirror or a paraphrase;
* every entity and every relation keeps at least one fact in train.

The order in which pairs are taken depends on names and seed alone, neither on the order of the
lines nor on a library's random numbers: the same facts give the same folder, byte for byte, and a
graph that has grown a little keeps most of its held-out facts held out.

Shape letters: n facts, P pairs of entities, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.errors import ConfigError, DatasetError
from mulde.graph.graph import SPLITS, Graph, read_folder, read_text, split_fields
from mulde.storage.atomic import new_folder, publish

LABELS = "labels.tsv"
RELATION_LABELS = "relation_labels.tsv"

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Names = NDArray[np.object_]


@dataclass(frozen=True)
class Split:
    """What became of a file.

    Attributes:
        graph: the folder as training reads it.
        duplicates: repeated lines, kept once.
        added: mirrored facts of symmetric relations that the file did not have.
    """

    graph: Graph
    duplicates: int
    added: int


def split_file(
    source: Path,
    out: Path,
    *,
    valid: float = 0.05,
    test: float = 0.05,
    seed: int = 0,
    symmetric: Sequence[str] = (),
    labels: Path | None = None,
    relation_labels: Path | None = None,
    overwrite: bool = False,
) -> Split:
    """Split a file of triples into a graph folder, which appears whole or not at all.

    Args:
        source: ``head<TAB>relation<TAB>tail`` in UTF-8, ``.gz`` or plain.
        out: the folder to make.
        valid: share of the facts that it gets, above 0 and together with ``test`` below 1.
        test: likewise.
        seed: another one holds out other facts.
        symmetric: relations that hold both ways; the missing direction of their facts is added.
        labels: file of ``id<TAB>label[<TAB>description]``, put into the folder.
        relation_labels: the same for relations.
        overwrite: whether a folder that is there may be replaced.

    Raises:
        ConfigError: for shares outside their range, a relation in ``symmetric`` that the file
            does not have, or a folder that is there.
        DatasetError: for a malformed line, damaged labels, or where that much cannot be held out.
    """
    _refuse_shares(valid, test)
    _refuse_target(out, overwrite)
    heads, relations, tails = split_fields(source, read_text(source))
    entity_ids, ends = _rows(heads + tails)
    relation_ids, kinds = _rows(relations)
    lines = np.stack([ends[: len(heads)], kinds, ends[len(heads) :]], axis=1)
    facts = np.unique(lines, axis=0)
    both = _with_mirrors(facts, _find(relation_ids, symmetric, source))
    try:
        part = hold_out(both, hash_names(entity_ids.tolist(), seed), valid, test)
    except ValueError as error:
        raise DatasetError(source, str(error)) from error
    texts = {
        f"{name}.txt": _lines(both[part == number], entity_ids, relation_ids)
        for number, name in enumerate(SPLITS)
    }
    copied = {LABELS: labels, RELATION_LABELS: relation_labels}
    texts |= {name: read_text(path) for name, path in copied.items() if path is not None}
    graph = _write(texts, copied, out, overwrite)
    return Split(graph, duplicates=len(lines) - len(facts), added=len(both) - len(facts))


def hold_out(facts: Ints, hashes: Hashes, valid: float, test: float) -> NDArray[np.int8]:
    """Which split each fact goes to, as a place in ``SPLITS``.

    Pairs are taken in the order of their hashes, first for test, then for valid; the last pair of
    each entity and each relation is passed over.

    Args:
        facts: [n, 3], columns head, relation, tail; distinct.
        hashes: [E], of the entities.
        valid: share of the facts that it gets; whole pairs may overshoot it.
        test: likewise.

    Returns:
        [n], 0 for train, 1 for valid, 2 for test.

    Raises:
        ValueError: where that much cannot be held out: how much can.
    """
    ends = facts[:, [0, 2]]
    low, high = ends.min(axis=1), ends.max(axis=1)
    pairs, pair = np.unique(low * len(hashes) + high, return_inverse=True)
    first, second = np.divmod(pairs, len(hashes))
    order = np.argsort(_mix(_mix(hashes[first]) + hashes[second]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    at = place[pair]
    free = np.bincount(at, minlength=len(order))
    free[_last(ends.ravel(), np.repeat(at, 2))] = 0
    free[_last(facts[:, 1], at)] = 0
    wanted = [max(1, round(share * len(facts))) for share in (test, valid)]
    before = np.cumsum(free) - free
    for_test = (free > 0) & (before < wanted[0])
    left = np.where(for_test, 0, free)
    before = np.cumsum(left) - left
    for_valid = (left > 0) & (before < wanted[1])
    if free[for_test].sum() < wanted[0] or left[for_valid].sum() < wanted[1]:
        raise ValueError(
            f"expected {sum(wanted):,} of {len(facts):,} facts to hold out for valid and test, "
            f"found {free.sum():,} whose entities and relations other pairs have too"
        )
    return (for_valid + 2 * for_test.astype(np.int8))[at]


def hash_names(names: Sequence[str], seed: int) -> Hashes:
    """One number per name [E], from its UTF-8 bytes and the seed alone; no line ends in names."""
    text = np.frombuffer(("\n".join(names) + "\n").encode(), dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends + 1 - starts
    position = np.arange(len(text)) - np.repeat(starts, sizes)
    powers = np.cumprod(np.full(sizes.max(), 0x9E3779B97F4A7C15, dtype=np.uint64))
    sums = np.add.reduceat(text * powers[position], starts)
    return _mix(sums ^ _mix(np.full(1, seed % 2**64, dtype=np.uint64)))


def _mix(values: Hashes) -> Hashes:
    """Spread a difference in any bit over all 64 (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _last(members: Ints, places: Ints) -> Ints:
    """The highest place at which each member occurs; [n] and [n] to [members]."""
    last = np.zeros(members.max() + 1, dtype=np.int64)
    np.maximum.at(last, members, places)
    return last


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
    ours = {*(f"{name}.txt" for name in SPLITS), LABELS, RELATION_LABELS}
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else [""]
    foreign = [name for name in names if name not in ours]
    if foreign:
        expected = "a folder that holds nothing but an earlier split"
        raise ConfigError("--overwrite", expected, str(out / foreign[0]))


def _rows(names: list[str]) -> tuple[Names, Ints]:
    """Distinct names, sorted, and the row of each name."""
    distinct, rows = np.unique(np.array(names, dtype=object), return_inverse=True)
    return distinct, rows


def _find(relation_ids: Names, wanted: Sequence[str], source: Path) -> Ints:
    """Rows of the wanted relations."""
    known = relation_ids.tolist()
    for name in wanted:
        if name not in known:
            raise ConfigError("--symmetric", f"a relation of {source}", name)
    return np.array([known.index(name) for name in wanted], dtype=np.int64)


def _with_mirrors(facts: Ints, symmetric: Ints) -> Ints:
    """The facts, and (t, r, h) of each (h, r, t) with a symmetric r; distinct and sorted."""
    mirrored = facts[np.isin(facts[:, 1], symmetric)][:, ::-1]
    return np.unique(np.concatenate([facts, mirrored]), axis=0)


def _lines(facts: Ints, entity_ids: Names, relation_ids: Names) -> str:
    columns = entity_ids[facts[:, 0]], relation_ids[facts[:, 1]], entity_ids[facts[:, 2]]
    lists = (column.tolist() for column in columns)
    return "\n".join(map("\t".join, zip(*lists, strict=True))) + "\n"


def _write(
    texts: dict[str, str], copied: dict[str, Path | None], out: Path, overwrite: bool
) -> Graph:
    """Write the files, read them as training would, and only then give the folder its name.

    What is wrong with labels is said of the file that they were copied from.
    """
    try:
        with new_folder(out) as folder:
            for name, text in texts.items():
                (folder / name).write_bytes(text.encode())
            graph = read_folder(folder)
            publish(folder, out, overwrite=overwrite)
    except DatasetError as error:
        source = copied.get(error.path.name) or error.path
        raise DatasetError(source, error.problem, error.line) from error
    except OSError as error:
        raise DatasetError(out, f"cannot be written: {error.strerror}") from error
    return replace(graph, name=out.resolve().name)
