"""The graph of a bundle that carries its facts: names, and all known facts as train."""

from __future__ import annotations

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.bundle.entities.vocabulary import NameTable
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.errors import BundleError
from mulde.graph.graph import Graph
from mulde.typing import Rows, Triples

_EMPTY = np.zeros((0, 3), dtype=np.int32)


def graph_of_bundle(bundle: Bundle) -> Graph:
    """Return a graph whose train split is all facts that the bundle knows.

    A bundle does not say which facts were held out for valid and test, so these splits are empty.

    Raises:
        BundleError: if it carries no facts.
    """
    if bundle.known is None:
        raise BundleError(bundle.path, "carries no facts")
    names = bundle.vocabulary
    entity_ids, entity_labels = _texts(names.entities)
    relation_ids, relation_labels = _texts(names.relations)
    return Graph(
        name=bundle.manifest.dataset.name,
        entity_ids=entity_ids,
        relation_ids=relation_ids,
        entity_labels=entity_labels,
        relation_labels=relation_labels,
        train=known_triples(bundle.known),
        valid=_EMPTY,
        test=_EMPTY,
        digest=bundle.manifest.dataset.sha256,
    )


def descriptions_of_bundle(bundle: Bundle) -> dict[str, str]:
    """Return the texts of a bundle's entities by id, of those that have one."""
    if bundle.descriptions is None:
        return {}
    pairs = zip(bundle.vocabulary.entities.ids, bundle.descriptions.texts(), strict=True)
    return {key: text for key, text in pairs if text}


def known_triples(known: KnownFacts) -> Triples:
    """All facts of a bundle, [n, 3], each once."""
    size = known.num_entities
    keys: Rows = known.keys.astype(np.int64)
    keys = keys[keys < size * known.num_relations]
    relation, head = np.divmod(keys, size)
    offsets, tails = known.of_many(head, relation)
    counts = np.diff(offsets)
    columns = np.repeat(head, counts), np.repeat(relation, counts), tails
    return np.stack(columns, axis=1).astype(np.int32).reshape(-1, 3)


def _texts(table: NameTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and labels; the same object where every label is its id."""
    rows = np.arange(len(table))
    ids = tuple(table.ids.take(rows))
    return ids, ids if table.labels is table.ids else tuple(table.labels.take(rows))
