"""Add facts to a split graph and remove facts from it; write the changed graph folder.

Facts of the old splits stay in their split. A share of the added facts is held out for valid and
test, as ``mulde data split`` does it, so that the changed graph has held-out facts that no model
has seen.

Shape letters: n facts, E entities, R relations.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mulde.errors import DatasetError, shorten
from mulde.graph.facts import Facts
from mulde.graph.folder import LABELS, RELATION_LABELS, TYPES, write_folder
from mulde.graph.graph import SPLITS, Graph, keys_of, triples_of
from mulde.graph.labels import read_types
from mulde.graph.reading.arrow import arrow_names, numpy_of
from mulde.graph.reading.read import GraphData
from mulde.graph.report import GraphReport
from mulde.graph.splitting.hold_out import hash_names, hold_out
from mulde.storage.atomic import new_file
from mulde.typing import Rows, Triples

_LEAST_HELD = 4
"""New facts of which one each can be held out for valid and test."""
_EMPTY = np.zeros((0, 3), dtype=np.int32)


@dataclass(frozen=True)
class ChangedGraph:
    """The splits of a changed graph, in rows of all ids that the old graph or a change names.

    Attributes:
        entity_ids, relation_ids: Arrow strings [E] and [R], sorted.
        splits: triples by split.
        added: facts that were not known before.
        known: facts to add that were known already.
        removed: facts that are gone.
    """

    entity_ids: Any
    relation_ids: Any
    splits: dict[str, Triples]
    added: int
    known: int
    removed: int

    @property
    def digest(self) -> str:
        """SHA-256 of names and splits."""
        found = hashlib.sha256()
        for ids in (self.entity_ids, self.relation_ids):
            found.update("\n".join(ids.to_pylist()).encode() + b"\0")
        for triples in self.splits.values():
            found.update(triples.tobytes() + b"\0")
        return found.hexdigest()


def changed(
    old: Graph,
    add: Facts | None,
    remove: Facts | None,
    *,
    absent: bool = False,
    hold: float = 0.05,
    seed: int = 0,
) -> ChangedGraph:
    """Return the splits of ``old`` with facts added and removed.

    Args:
        old: the graph; its valid and test splits may be empty.
        add: facts to add; those that the graph has are passed over.
        remove: facts to remove, from whatever split has them.
        absent: pass over removals that the graph does not have, instead of refusing them.
        hold: share of the new facts that valid gets, and test.
        seed: another one holds out other facts.

    Raises:
        DatasetError: for a fact that is both added and removed, a removal that the graph does not
            have, facts that share no entity with the graph, nothing that changes, or a graph
            without valid or test facts.
    """
    given = [one for one in (add, remove) if one is not None]
    entities = _union([arrow_names(old.entity_ids), *(one.entity_ids for one in given)])
    relations = _union([arrow_names(old.relation_ids), *(one.relation_ids for one in given)])
    size = len(entities), len(relations)
    names = arrow_names(old.entity_ids), arrow_names(old.relation_ids)
    rows = {s: _renamed(old.split(s), *names, entities, relations) for s in SPLITS}
    keys = {split: keys_of(part, *size) for split, part in rows.items()}
    before = np.concatenate([*keys.values()])
    new, gone = (_keys(one, entities, relations) for one in (add, remove))

    def fact(key: np.int64) -> str:
        head, relation, tail = triples_of(np.array([key]), *size)[0].tolist()
        found = (entities[head], relations[relation], entities[tail])
        return shorten(tuple(name.as_py() for name in found))

    _refuse_contradictions(new, gone, fact)
    if not absent:
        _refuse_absent(gone, before, fact)
    gone = gone[np.isin(gone, before)]
    fresh = new[~np.isin(new, before)]
    if not len(fresh) and not len(gone):
        raise DatasetError("changes", "expected a fact that the graph lacks or one to remove")
    _refuse_foreign(triples_of(fresh, *size), rows, size[0])
    kept = {split: part[~np.isin(keys[split], gone)] for split, part in rows.items()}
    part = _hold(triples_of(fresh, *size), entities, hold, seed, kept)
    splits = {s: np.concatenate([kept[s], part.get(s, _EMPTY)]) for s in SPLITS}
    return ChangedGraph(
        entities, relations, _with_train(splits), len(fresh), len(new) - len(fresh), len(gone)
    )


def write_changed(
    found: ChangedGraph,
    old: Graph,
    out: Path,
    data: tuple[GraphData, ...],
    source: Path | None,
    descriptions: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a changed graph's folder; after an interrupt, write it again.

    Args:
        found: the splits.
        old: the graph before, for its labels.
        out: the folder; one that is there is replaced.
        data: what was added, for its labels and types.
        source: the folder of the old graph; its descriptions, types and licence are copied.
        descriptions: of the old graph by id, where it has no folder.
    """
    labels = _different(old.entity_ids, old.entity_labels)
    labels |= _different(old.relation_ids, old.relation_labels)
    told: dict[str, str] = {}
    for one in data:
        labels = one.labels | labels
        told |= one.descriptions
    told |= descriptions
    types = [pair for one in data for pair in one.types]
    if source is not None and (source / TYPES).is_file():
        types += read_types(source / TYPES)
    facts = Facts(found.splits["train"], found.entity_ids, found.relation_ids)
    written = GraphData(facts, labels, types, GraphReport((), 0, 0, 0, 0, {}, (), ()), told)
    write_folder(written, found.splits, out, out.name, True)
    if source is not None:
        try:
            _copy_rest(source, out)
        except OSError as error:
            raise DatasetError(out, f"cannot be written: {error.strerror}") from error


def _copy_rest(source: Path, out: Path) -> None:
    """Licence and descriptions of the old graph's folder."""
    for path in source.glob("LICEN[CS]E*"):
        shutil.copyfile(path, out / path.name)
    for name in (LABELS, RELATION_LABELS):
        if (source / name).is_file():
            _keep_descriptions(source / name, out / name)


def _union(parts: list[Any]) -> Any:
    """All names, sorted by their bytes."""
    whole = pa.chunked_array([part.cast(pa.large_string()) for part in parts])
    names = pc.unique(whole)
    return names.take(pc.sort_indices(names))


def _renamed(triples: Triples, old: Any, old_relations: Any, new: Any, relations: Any) -> Triples:
    """Triples in rows of the union of names."""
    entity, relation = (
        numpy_of(pc.index_in(before.cast(pa.large_string()), value_set=after))
        for before, after in ((old, new), (old_relations, relations))
    )
    columns = entity[triples[:, 0]], relation[triples[:, 1]], entity[triples[:, 2]]
    return np.stack(columns, axis=1).astype(np.int32).reshape(-1, 3)


def _keys(facts: Facts | None, entities: Any, relations: Any) -> Rows:
    """One number for each distinct fact, in rows of the union of names."""
    if facts is None:
        return np.zeros(0, dtype=np.int64)
    moved = _renamed(facts.triples, facts.entity_ids, facts.relation_ids, entities, relations)
    return keys_of(moved, len(entities), len(relations))


def _refuse_contradictions(new: Rows, gone: Rows, fact: Any) -> None:
    both = np.intersect1d(new, gone)
    if len(both):
        problem = f"{fact(both[0])} is both added and removed"
        raise DatasetError("changes", f"{problem} ({len(both):,} such facts); leave one out")


def _refuse_absent(gone: Rows, before: Rows, fact: Any) -> None:
    absent = gone[~np.isin(gone, before)]
    if len(absent):
        problem = f"{fact(absent[0])} is to be removed, but the graph does not have it"
        raise DatasetError("changes", f"{problem} ({len(absent):,} such facts)")


def _refuse_foreign(fresh: Triples, rows: dict[str, Triples], entities: int) -> None:
    """Refuse facts of another vocabulary: none of them has an entity of the graph."""
    there = np.zeros(entities, dtype=bool)
    for part in rows.values():
        there[part[:, [0, 2]]] = True
    if len(fresh) and not there[fresh[:, [0, 2]]].any():
        problem = f"none of {len(fresh):,} facts to add has an entity of the graph"
        raise DatasetError("changes", f"{problem}; are they of another vocabulary?")


def _hold(
    fresh: Triples, entities: Any, share: float, seed: int, kept: dict[str, Triples]
) -> dict[str, Triples]:
    """The new facts by split; all go to train where they are few, or too few can be held out.

    Raises:
        DatasetError: if valid or test would have no facts, or train none of the new ones.
    """
    complete = all(len(kept[split]) for split in SPLITS)
    if complete and share * len(fresh) < 1:
        return {"train": fresh}
    if 0 < len(fresh) < _LEAST_HELD:
        problem = f"expected at least {_LEAST_HELD} new facts, of which valid and test get one each"
        raise DatasetError(
            "changes", f"{problem}, found {len(fresh)}; name the graph's folder with --data"
        )
    try:
        hashes, trained = hash_names(entities, seed), kept["train"]
        place = np.zeros(len(fresh), np.int8)
        if len(fresh):
            place = hold_out(fresh, hashes, share, share, trained=trained)
    except ValueError as error:
        if complete:
            return {"train": fresh}
        raise DatasetError("changes", f"{error}; name the graph's folder with --data") from error
    if not all(len(kept[s]) or (place == n).any() for n, s in enumerate(SPLITS)):
        problem = "expected facts of valid and test, found none"
        raise DatasetError("changes", f"{problem}; name the graph's folder with --data")
    return {split: fresh[place == number] for number, split in enumerate(SPLITS)}


def _with_train(splits: dict[str, Triples]) -> dict[str, Triples]:
    """Held-out facts of a relation that train has lost go to train: no model can answer it else."""
    known = np.unique(splits["train"][:, 1])
    stay = {split: np.isin(splits[split][:, 1], known) for split in ("valid", "test")}
    moved = [splits[split][~mask] for split, mask in stay.items()]
    kept = {split: splits[split][mask] for split, mask in stay.items()}
    return {"train": np.concatenate([splits["train"], *moved]), **kept}


def _different(ids: tuple[str, ...], labels: tuple[str, ...]) -> dict[str, str]:
    """Labels that are not the id."""
    if ids is labels:
        return {}
    return {key: label for key, label in zip(ids, labels, strict=True) if key != label}


def _keep_descriptions(before: Path, after: Path) -> None:
    """Lines of the old label file replace those of the new one that say less."""
    lines = before.read_text(encoding="utf-8").splitlines(keepends=True)
    known = {line.split("\t", 1)[0] for line in lines}
    new = after.read_text(encoding="utf-8").splitlines(keepends=True) if after.is_file() else []
    more = [line for line in new if line.split("\t", 1)[0] not in known]
    with new_file(after) as draft:
        draft.write_text("".join([*lines, *more]), encoding="utf-8")
