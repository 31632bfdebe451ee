"""A small, dense, connected part of WordNet that a person enjoys asking about.

Legend: N synsets, L links.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mulde.typing import Mask
from scripts.wordnet.database import (
    LOCATION_FILE,
    NAMES,
    OBJECT_FILE,
    RELATIONS,
    Database,
    Links,
)

# Everything below these (their kinds and instances) may take part, as may every place and every
# object of nature, and the words that WordNet's tagged texts use most.
THEMES = (
    "mammal.n.01",
    "mammal_family.n.01",
    "mammal_genus.n.01",
    "bird.n.01",
    "bird_family.n.01",
    "bird_genus.n.01",
    "animal_order.n.01",
    "food.n.01",
    "food.n.02",
    "musical_instrument.n.01",
    "sport.n.01",
    "vehicle.n.01",
    "building.n.01",
    "clothing.n.01",
    "furniture.n.01",
    "tool.n.01",
    "geological_formation.n.01",
    "body_of_water.n.01",
)
FREQUENT_NOUN = 30
FREQUENT_WORD = 6  # verbs, adjectives, adverbs: fewer of them, each with more kinds of links

# Too rare in this part to be learnt from it.
LEFT_OUT = ("domain_usage", "participle_of", "pertainym")


def core(database: Database) -> Links:
    """The links [L, 3] of the part: two neighbours or more for each synset, all connected."""
    names = [name for name in RELATIONS.values() if name not in LEFT_OUT]
    wanted = np.isin(database.links[:, 1], [NAMES.index(name) for name in names])
    links = within(database.links[wanted], candidates(database))
    return largest_component(prune(links, len(database.names)), len(database.names))


def candidates(database: Database) -> Mask:
    """Which synsets [N] may take part."""
    places = np.isin(database.categories, [LOCATION_FILE, OBJECT_FILE])
    least = np.where(database.part("n"), FREQUENT_NOUN, FREQUENT_WORD)
    return places | (database.counts >= least) | _below(database, THEMES)


def _below(database: Database, names: tuple[str, ...]) -> Mask:
    """The named synsets [N] and all their kinds and instances, however far down."""
    down = np.isin(
        database.links[:, 1], [NAMES.index("hypernym"), NAMES.index("instance_hypernym")]
    )
    child, _, parent = database.links[down].T
    reached = np.isin(np.arange(len(database.names)), [database.row(name) for name in names])
    size = -1
    while size != (size := int(reached.sum())):
        reached[child[reached[parent]]] = True
    return reached


def within(links: Links, synsets: Mask) -> Links:
    """The links with both ends in a set [N]."""
    return links[synsets[links[:, 0]] & synsets[links[:, 2]]]


def prune(links: Links, size: int, least: int = 2) -> Links:
    """Remove synsets with fewer than ``least`` neighbours until there are none."""
    while True:
        pairs = np.unique(np.sort(links[:, [0, 2]], axis=1), axis=0)
        kept = within(links, np.bincount(pairs.ravel(), minlength=size) >= least)
        if len(kept) == len(links):
            return links
        links = kept


def largest_component(links: Links, size: int) -> Links:
    """The links of the largest connected part."""
    ends = (links[:, 0], links[:, 2])
    graph = coo_array((np.ones(len(links), dtype=np.int8), ends), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    largest = np.bincount(component[links[:, 0]]).argmax()
    kept: Links = links[component[links[:, 0]] == largest]
    return kept
