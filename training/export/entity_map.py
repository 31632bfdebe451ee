"""Draw the map of a model's entities: principal components in a tangent space.

1. The points of the hyperboloid are moved so that their centroid is the origin.
2. The logarithm at the origin takes each point to the tangent space, [E, D]: lengths there are
   distances from the centroid, and directions are kept.
3. The two principal components of the tangent vectors are the map's directions.
4. The exponential takes them to the Poincaré disk, at radius tanh(s |v| / 2); s is chosen so that
   95 % of the entities lie within ``_RIM`` of the radius.

Shape letters: E entities, D dimension, P pairs.
Source: Fletcher et al., Principal geodesic analysis, 2004; here the components are those of the
tangent vectors, without the search for geodesics that follows it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.bundle import files
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.draft import draft_bundle
from mulde.bundle.entities.entity_map import NO_GROUP, SCALE, EntityMap
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import Manifest
from mulde.bundle.table.entity_table import Layout
from mulde.storage.strings import StringColumn
from mulde.typing import Float64, Ints
from serving.engine.entity_table import EntityTable

_RIM = 0.9
_MOST_GROUPS = 11
_PAIRS = 20_000
_SEED = 0


def draw_map(spatial: Float64, types: EntityTypes | None, facts: Ints) -> EntityMap:
    """Draw the map of points.

    Args:
        spatial: [E, D], spatial coordinates of points of the unit hyperboloid.
        types: of the entities, for their groups.
        facts: [E], how many facts each entity has.
    """
    tangent = _tangent(spatial)
    _, vectors = np.linalg.eigh(tangent.T @ tangent)
    flat = tangent @ vectors[:, :-3:-1]
    if flat.shape[1] < 2:  # of a model with one dimension
        flat = np.column_stack([flat, np.zeros(len(flat))])
    total = float(np.square(tangent).sum())
    length = np.linalg.norm(flat, axis=1)
    reach = float(np.quantile(length, 0.95)) or 1.0
    radius = np.tanh(length / reach * np.arctanh(_RIM))
    disk = flat * (radius / np.where(length > 0, length, 1))[:, None]
    places = np.trunc(disk * (SCALE - 1)).astype(np.int16)
    groups, names = _groups(types, len(spatial))
    return EntityMap(
        places[:, 0].copy(),
        places[:, 1].copy(),
        groups,
        np.minimum(16 * np.log2(1 + np.asarray(facts, np.float64)), 255).astype(np.uint8),
        StringColumn.build(names),
        float(np.square(flat).sum()) / total if total else 1.0,
        _correlation(spatial, disk),
    )


def _tangent(spatial: Float64) -> Float64:
    """Logarithms [E, D] of the points at their centroid, which is moved to the origin."""
    time = np.sqrt(1 + np.square(spatial).sum(1))
    mean, mean_time = spatial.mean(0), float(time.mean())
    size = np.sqrt(max(mean_time**2 - mean @ mean, 1e-12))
    centre, centre_time = mean / size, mean_time / size
    along = spatial @ centre
    # The boost that takes the centroid to the origin.
    moved = spatial + np.outer(along / (1 + centre_time) - time, centre)
    length = np.linalg.norm(moved, axis=1)
    tangent: Float64 = moved * (np.arcsinh(length) / np.where(length > 0, length, 1))[:, None]
    tangent -= tangent.mean(0)
    return tangent


def _groups(types: EntityTypes | None, entities: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Each entity's smallest of the eleven largest types; built-in ones only without others."""
    groups = np.full(entities, NO_GROUP, dtype=np.uint8)
    if types is None:
        return groups, []
    names = list(types.names)
    own = [name for name in names if not name.startswith(("head:", "tail:"))]
    members = {name: types.of(name) for name in own or names}
    largest = sorted(members, key=lambda name: (-len(members[name]), name))[:_MOST_GROUPS]
    for place, name in enumerate(largest):  # a smaller type after a larger one, which it replaces
        groups[members[name]] = place
    return groups, largest


def _correlation(spatial: Float64, disk: Float64) -> float:
    """Rank correlation (Spearman) of P random distances, in the space and on the map."""
    generator = np.random.default_rng(_SEED)
    one, other = generator.integers(0, len(spatial), size=(2, _PAIRS))
    time = np.sqrt(1 + np.square(spatial).sum(1))
    inner = time[one] * time[other] - (spatial[one] * spatial[other]).sum(1)
    apart = np.square(disk[one] - disk[other]).sum(1)
    room = (1 - np.square(disk[one]).sum(1)) * (1 - np.square(disk[other]).sum(1))
    ranks = np.argsort(np.argsort(np.stack([inner, apart / room]), axis=1), axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.square(centred).sum(axis=1)
    return float(centred[0] @ centred[1] / np.sqrt(spread.prod()))


def map_of_bundle(bundle: Bundle) -> EntityMap:
    """Draw the map of a bundle's table; an entity's weight comes from its known facts or types."""
    manifest = bundle.manifest
    layout = Layout(manifest.dimension, manifest.traits)
    table = EntityTable(bundle.file(files.ENTITIES), manifest.entities, manifest.width)
    spatial = table.decode(0, manifest.entities)[:, layout.spatial].astype(np.float64)
    return draw_map(spatial, bundle.types, _facts_of(bundle))


def _facts_of(bundle: Bundle) -> Ints:
    """Known facts [E] of each entity; without them, how many types it has."""
    entities = bundle.manifest.entities
    counts = np.zeros(entities, dtype=np.int64)
    if bundle.known is not None:
        keys = bundle.known.keys.astype(np.int64)
        offsets, _ = bundle.known.of_many(keys % entities, keys // entities)
        np.add.at(counts, keys % entities, np.diff(offsets))
        return counts
    if bundle.types is not None:
        for name in bundle.types.names:
            counts[bundle.types.of(name)] += 1
    return counts


def add_map(source: Path, out: Path) -> Manifest:
    """Write a bundle with a map that is drawn anew; all else stays as it is.

    A bundle that the same job has published is its result.

    Raises:
        BundleError: if ``source`` cannot be opened, or ``out`` exists.
    """
    opened = open_bundle(source)
    job = job_of("map", source=source)
    made = own_result(out, job)
    if made is not None:
        return made
    with draft_bundle(out) as draft:
        for name in opened.manifest.files:
            if name != files.MAP:
                shutil.copyfile(opened.file(name), draft.path / name)
        map_of_bundle(opened).write(draft.path / files.MAP)
        sealed = draft.seal(replace(opened.manifest, files={}, job=job))
        open_bundle(draft.path)
        draft.publish()
    return sealed
