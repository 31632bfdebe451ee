"""The map of entities: known cases, its file, its call, and what damage does."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.entities.entity_map import NO_GROUP, SCALE, EntityMap
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.errors import BundleError
from mulde.typing import Float64
from mulde.v1 import vocabulary_pb2, vocabulary_pb2_grpc
from tests.support.server import server
from tests.support.toy import toy_bundle
from training.export.entity_map import add_map, draw_map


def disk(drawn: EntityMap) -> Float64:
    places: Float64 = np.stack([drawn.x, drawn.y], axis=1) / SCALE
    return places


def test_points_of_a_plane_lose_nothing() -> None:
    """All variance is shown, and distances keep their order but for the curvature."""
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(400, 2)) * [0.5, 0.2]
    turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    drawn = draw_map(flat @ turn[:2], None, np.ones(400, np.int64))
    assert drawn.variance > 0.999
    assert drawn.correlation > 0.95


def test_the_map_does_not_depend_on_where_the_cloud_lies() -> None:
    """A boost along an axis moves all points and keeps all distances."""
    spatial = np.random.default_rng(1).normal(size=(300, 4)) * 0.5
    far = spatial.copy()
    time = np.sqrt(1 + np.square(spatial).sum(1))
    far[:, 0] = np.cosh(1.0) * spatial[:, 0] + np.sinh(1.0) * time
    ones = np.ones(300, np.int64)
    here, there = (disk(draw_map(points, None, ones)) for points in (spatial, far))
    apart = [np.linalg.norm(one[:, None] - one[None], axis=2) for one in (here, there)]
    assert np.abs(apart[0] - apart[1]).max() < 1e-3


def test_an_entity_takes_the_smallest_of_its_types() -> None:
    types = EntityTypes.build({"animal": np.arange(6), "lion": np.array([2])}, 8)
    drawn = draw_map(np.random.default_rng(2).normal(size=(8, 3)), types, np.arange(8))
    assert list(drawn.group_names) == ["animal", "lion"]
    assert drawn.groups.tolist() == [0, 0, 1, 0, 0, 0, NO_GROUP, NO_GROUP]
    assert drawn.weights.tolist() == [0, 16, 25, 32, 37, 41, 44, 48]


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    toy = toy_bundle(folder / "toy", entities=300)
    add_map(toy.path, folder / "mapped")
    return folder / "mapped"


def test_only_the_map_is_added_to_a_bundle(mapped: Path) -> None:
    before = open_bundle(mapped.parent / "toy").manifest.files
    after = dict(open_bundle(mapped).manifest.files)
    del after["map.bin"]
    assert after == before


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [("x", SCALE, "outside the disk"), ("groups", 200, "outside 6 groups")],
)
def test_a_damaged_map_is_refused(
    mapped: Path, tmp_path: Path, section: str, value: int, words: str
) -> None:
    drawn = open_bundle(mapped).map
    assert drawn is not None
    x, y, groups = drawn.x.copy(), drawn.y.copy(), drawn.groups.copy()
    if section == "x":
        x[:] = y[:] = value
    else:
        groups[:] = value
    quality = drawn.variance, drawn.correlation
    damaged = EntityMap(x, y, groups, drawn.weights, drawn.group_names, *quality)
    damaged.write(tmp_path / "map.bin")
    with pytest.raises(BundleError, match=words):
        EntityMap.read(tmp_path / "map.bin")


def test_pages_of_the_served_map_are_the_whole_map(mapped: Path, tmp_path: Path) -> None:
    drawn = open_bundle(mapped).map
    assert drawn is not None
    x: list[int] = []
    ids: list[str] = []
    request = vocabulary_pb2.GetMapRequest(page_size=130)
    with server(mapped, log=tmp_path / "log") as one, grpc.insecure_channel(one.address) as wire:
        stub = vocabulary_pb2_grpc.VocabularyServiceStub(wire)
        while True:
            page = stub.GetMap(request)
            assert page.first_row == len(x)
            x += page.x
            ids += page.ids
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    assert x == drawn.x.tolist()
    assert ids == [f"Q{row:07d}" for row in range(300)]
    assert page.total == 300


def test_a_bundle_without_a_map_says_so(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    with server(toy.path, log=tmp_path / "log") as one, grpc.insecure_channel(one.address) as wire:
        stub = vocabulary_pb2_grpc.VocabularyServiceStub(wire)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetMap(vocabulary_pb2.GetMapRequest())
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
