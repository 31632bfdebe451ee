"""``--low-memory``: what a server takes beyond the floor of its process, and under a real limit."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from benchmarks.synthetic.bundle import write_synthetic_bundle
from benchmarks.synthetic.graph import SyntheticGraph
from mulde.bundle.bundle import open_bundle
from mulde.client import Client
from mulde.v1 import prediction_pb2, vocabulary_pb2
from serving.engine.engine import Engine
from tests.serving.rpc.test_mixed_load import CODES, call, callers
from tests.support.memory import MIB, floor_bytes, limited, mapped, peak_bytes, private_bytes
from tests.support.server import ROOT, environment, server
from tests.support.toy import Toy, toy_bundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")

WN18RR, WORDNET = (ROOT / "models" / name for name in ("wn18rr-32", "wordnet-32"))
_WORDNET_ENTITIES = 116_650
_LIMIT = 96 * MIB
_MOST_MIXED = 100 * MIB
_FILTERED = 30_000
"""Names of a filter: as many as fit into the largest message."""


@pytest.fixture(scope="module")
def floor() -> int:
    return floor_bytes()


@pytest.fixture(scope="module")
def as_large_as_wordnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "bundle"
    write_synthetic_bundle(SyntheticGraph(_WORDNET_ENTITIES, relations=18), folder, search=True)
    return folder


def ask(address: str, bundle: Path, *, large: int) -> None:
    """Single questions, batches, and one of ``large`` questions."""
    with Engine.open(bundle) as engine:
        names = engine.bundle.vocabulary.entities.ids
        relations = list(engine.bundle.vocabulary.relations.ids)
    with Client(address) as client:
        for turn in range(100):
            client.predict_tails([names[turn]], relations[turn % len(relations)], k=10)
        for size in (16, 64, large):
            answers = client.predict_tails(names[:size], relations[0], k=10)
            assert len(list(answers)) == size


@pytest.mark.parametrize(("which", "most"), [("wn18rr", 12), ("wordnet", 20)])
def test_the_model_takes_little_beyond_the_floor_of_the_process(
    which: str, most: int, floor: int, as_large_as_wordnet: Path, tmp_path: Path
) -> None:
    bundle = WN18RR if which == "wn18rr" else as_large_as_wordnet
    with server(bundle, "--low-memory", log=tmp_path / "log") as process:
        ask(process.address, bundle, large=1024)
        taken = private_bytes(process.process.pid) - floor
    assert 0 < taken <= most * MIB


def test_it_answers_within_a_control_group_of_96_mib(
    as_large_as_wordnet: Path, tmp_path: Path
) -> None:
    with limited(_LIMIT) as group:
        if group is None:
            pytest.skip("this process may not make a control group")
        with server(
            as_large_as_wordnet, "--low-memory", log=tmp_path / "log", enter=group.enter
        ) as process:
            ask(process.address, as_large_as_wordnet, large=256)
            assert process.process.poll() is None
            assert process.terminate() == 0
        assert 0 < group.peak_bytes <= _LIMIT


def heavy(bundle: Path) -> list[tuple[str, Message]]:
    """Calls that take as much memory as the limits allow, and small ones that fill caches."""
    vocabulary = open_bundle(bundle).vocabulary
    generator = np.random.default_rng(0)
    relation = vocabulary.relations.ids[1]

    def names(count: int) -> list[str]:
        return vocabulary.entities.ids.take(
            generator.integers(len(vocabulary.entities), size=count)
        )

    many: dict[str, Any] = {"heads": names(1024), "relations": [relation] * 1024}
    few = {name: values[:16] for name, values in many.items()}
    triples: dict[str, Any] = {
        "heads": names(100),
        "relations": [relation] * 100,
        "tails": names(100),
    }
    typed = vocabulary.entities.labels.take(generator.integers(len(vocabulary.entities), size=1024))
    filters = {"allow": {"names": names(_FILTERED)}}, {"deny": names(_FILTERED)}
    context = [
        {"head": f"new {place % 40}", "relation": relation, "tail": name}
        for place, name in enumerate(names(640))
    ]
    tails, relations, scores, similar, explain, search = (
        prediction_pb2.PredictTailsRequest,
        prediction_pb2.PredictRelationsRequest,
        prediction_pb2.ScoreTriplesRequest,
        prediction_pb2.SimilarEntitiesRequest,
        prediction_pb2.ExplainRequest,
        vocabulary_pb2.SearchEntitiesRequest,
    )
    heads: dict[str, Any] = {
        "heads": [f"new {place}" for place in range(40)],
        "relations": [relation] * 40,
    }
    small = [tails(heads=names(64), relations=[relation] * 64, options={"k": 20}) for _ in range(8)]
    return [
        ("PredictTails", tails(**many, options={"k": 1000, "exact": True})),
        ("PredictTails", tails(**many, options={"k": 30, "plausibility": True})),
        ("PredictTails", tails(**many, options={"k": 30}, filter=filters[0])),
        ("PredictTails", tails(**few, options={"k": 1000}, filter=filters[1])),
        ("PredictTails", tails(**heads, context=context, options={"k": 1000, "exact": True})),
        ("PredictRelations", relations(heads=names(1024), tails=names(1024))),
        ("ScoreTriples", scores(**many, tails=names(1024), ranks=True)),
        ("SimilarEntities", similar(entities=names(1024), k=1000)),
        ("SimilarEntities", similar(entities=names(40), k=1000, filter=filters[0])),
        ("Explain", explain(**triples, paths=20, similar=20, supporting=20)),
        (
            "/mulde.v1.VocabularyService/SearchEntities",
            search(queries=[f"{text}x" for text in typed], page_size=100),
        ),
        (
            "/mulde.v1.VocabularyService/GetMap",
            vocabulary_pb2.GetMapRequest(page_size=50_000),
        ),
        *(("PredictTails", one) for one in small),
    ]


def test_it_takes_less_than_100_mib_whatever_is_asked_at_once(tmp_path: Path) -> None:
    """24 callers, each with one kind of call after another, so that all of them overlap."""
    calls, turn = heavy(WORDNET), itertools.count()
    with server(WORDNET, "--low-memory", log=tmp_path / "log") as process:

        def step(channel: grpc.Channel, number: int) -> grpc.StatusCode:
            number = next(turn)
            code = call(channel, *calls[number % len(calls)], (0.4, 1.5, 4.0)[number % 3])
            time.sleep(0.02 if code is not grpc.StatusCode.OK else 0)
            return code

        with callers(process, 24, step) as codes:
            peak = peak_bytes(process.process.pid, 12, 0.02)
    assert set(codes) <= CODES
    assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert peak <= _MOST_MIXED


def test_the_largest_pages_of_the_map_take_less_than_100_mib(tmp_path: Path) -> None:
    path = "/mulde.v1.VocabularyService/GetMap"
    request = vocabulary_pb2.GetMapRequest(page_size=50_000)
    with (
        server(WORDNET, "--low-memory", log=tmp_path / "log") as process,
        callers(process, 4, lambda to, _: call(to, path, request, 20.0)) as codes,
    ):
        peak = peak_bytes(process.process.pid, 4, 0.01)
    assert set(codes) <= CODES
    assert codes[grpc.StatusCode.OK]
    assert peak <= _MOST_MIXED


def test_workers_share_every_page_that_they_map(as_large_as_wordnet: Path, tmp_path: Path) -> None:
    flags = ("--low-memory", "--workers", "4")
    with server(as_large_as_wordnet, *flags, log=tmp_path / "log") as process:
        ask(process.address, as_large_as_wordnet, large=64)
        maps = [mapped(worker, as_large_as_wordnet) for worker in process.children()]
    assert len(maps) == 4
    for files in maps:
        assert {"entities.faiss", "known.bin", "vocabulary.bin"} <= set(files)
        assert sum(counts["Anonymous"] for counts in files.values()) == 0
    table = [files["entities.faiss"] for files in maps]
    whole = (as_large_as_wordnet / "entities.faiss").stat().st_size
    assert min(counts["Rss"] for counts in table) >= 0.95 * whole
    # Each page is counted in parts, one for each process that has it: together, once.
    assert sum(counts["Pss"] for counts in table) <= max(counts["Rss"] for counts in table)


def test_answers_are_those_of_a_server_with_much_memory(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=3000, dimension=16)
    generator = np.random.default_rng(0)
    entities, relations = generator.integers(0, [[3000], [6]], size=(2, 300))
    much, little = Engine.open(toy.path), Engine(Engine.open(toy.path).bundle, low_memory=True)
    for k in (1, 10, 2000):
        one, other = (engine.predict(entities, relations, k) for engine in (much, little))
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.scores, other.scores)


MASKED = """
import json, sys
from numpy._core._multiarray_umath import __cpu_dispatch__ as used, __cpu_features__ as there
import faiss, numpy as np
from serving.engine.engine import Engine
engine = Engine.open(sys.argv[1])
generator = np.random.default_rng(5)
entities, relations = generator.integers(0, [[engine.num_entities], [6]], size=(2, 200))
answers = engine.predict(entities, relations, 10)
wide = [name for name in used if there[name]]
said = {"wide": wide, "faiss": faiss.get_compile_options(), "exact": bool(answers.exact.all())}
print(json.dumps({**said, "rows": answers.rows.tolist(), "scores": answers.scores.tolist()}))
"""

_WIDE = {"AVX512": ("AVX2", "Haswell"), "AVX2": ("NONE", "Nehalem")}
"""For what FAISS uses: the level below it, and a processor that has no more, by OpenBLAS's name."""


def test_answers_are_the_same_without_the_widest_instructions(tmp_path: Path) -> None:
    """Without AVX-512 where there is AVX-512, else without AVX2."""
    toy = toy_bundle(tmp_path / "toy", entities=3000, dimension=16)
    usual = answers_of(toy)
    widest = next((name for name in _WIDE if name in usual["faiss"]), None)
    if widest is None:
        pytest.skip("this machine has no such instructions to do without")
    level, processor = _WIDE[widest]
    # ONNX Runtime has no such switch; what it may lose without VNNI is tried out by the scan.
    masked = answers_of(
        toy,
        NPY_DISABLE_CPU_FEATURES=" ".join(name for name in usual["wide"] if _is_in(widest, name)),
        FAISS_SIMD_LEVEL=level,
        OPENBLAS_CORETYPE=processor,
    )
    assert not any(_is_in(widest, name) for name in masked["wide"])
    assert widest not in masked["faiss"]
    assert masked["rows"] == usual["rows"]
    assert masked["exact"]
    np.testing.assert_allclose(masked["scores"], usual["scores"], rtol=1e-13)


def _is_in(widest: str, name: str) -> bool:
    """Whether numpy's name for a group of instructions has them."""
    return "512" in name or name == "X86_V4" or (widest == "AVX2" and name in ("X86_V3", "AVX2"))


def answers_of(toy: Toy, **switches: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-c", MASKED, str(toy.path)],
        env=environment(**switches), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answers: dict[str, Any] = json.loads(run.stdout)
    return answers
