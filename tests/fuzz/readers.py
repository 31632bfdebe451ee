"""What is fuzzed: everything that reads foreign bytes, as functions of bytes alone.

Each takes a folder with a sound bundle and a scratch folder, and gives ``try_bytes``, which returns
whether the bytes were taken. An error that is not mulde's leaves it as it is: that is a find.
"""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mulde.bundle.bundle import open_bundle
from mulde.bundle.checks.faiss_header import check_table
from mulde.bundle.checks.onnx_graph import check_graph
from mulde.bundle.entities.descriptions import Descriptions
from mulde.bundle.entities.entity_map import SCALE, EntityMap
from mulde.bundle.entities.entity_types import EntityTypes
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.facts.path_rules import MOST_RULES, PathRules
from mulde.bundle.files import (
    CALIBRATION,
    DESCRIPTIONS,
    ENCODER,
    ENTITIES,
    KNOWN,
    MANIFEST,
    MAP,
    MEASURES,
    RULES,
    SEARCH,
    TYPES,
    VOCABULARY,
)
from mulde.bundle.manifest import Manifest
from mulde.bundle.table.bounds import TableBounds
from mulde.errors import BundleError, DatasetError
from mulde.evaluation.calibration import Calibration
from mulde.graph import read_graph
from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.storage.strings import StringColumn

_ASKED = 64

TryBytes = Callable[[bytes], bool]
T = TypeVar("T")

GRAPH_FILES = (*(f"{split}.txt" for split in SPLITS), "labels.tsv", "relation_labels.tsv")
TRIPLE_FILES = (
    "facts.tsv", "facts.csv", "facts.jsonl", "facts.nt", "facts.ttl", "facts.rdf", "facts.jsonld",
    "facts.parquet", "facts.tsv.gz", "neo4j.csv", "neo4j.json",
)  # fmt: skip
FRONT_CODED = Path(__file__).parents[1] / "golden" / "vocabulary-2.bin"
BETWEEN_FILES = b"\n====\n"
COLUMNS, CELLS = 16, 4
_GZIP = b"\x1f\x8b"
_SCORES = np.array([-1e300, -1.0, 0.0, 1.0, 1e300])


def bundle_file(
    name: str, scratch: Path, read: Callable[[Path], T], use: Callable[[T], None]
) -> TryBytes:
    """Reads a file of a bundle, and uses what it holds where it is taken."""
    path = scratch / name

    def try_bytes(data: bytes) -> bool:
        path.unlink(missing_ok=True)  # what was mapped before stays as it was
        path.write_bytes(data)
        try:
            content = read(path)
        except BundleError as error:
            if error.path != path:
                raise
            return False
        use(content)
        return True

    return try_bytes


def manifest(bundle: Path, scratch: Path) -> TryBytes:
    """``manifest.json``; what is taken is written and read again."""
    path = scratch / MANIFEST

    def again(found: Manifest) -> None:
        assert Manifest.from_json(path, found.to_json()) == found

    return bundle_file(
        MANIFEST, scratch, lambda file: Manifest.from_json(file, file.read_bytes()), again
    )


def vocabulary(bundle: Path, scratch: Path) -> TryBytes:
    """``vocabulary.bin``; each id and label that is taken leads to its row."""

    def look_up(found: Vocabulary) -> None:
        for names in (found.entities, found.relations):
            rows = np.arange(len(names))
            assert names.lookup(names.ids.take(rows)).tolist() == rows.tolist()
            for row, label in enumerate(names.labels):
                assert row in names.rows_of_label(label)
        found.entities.labels.take(np.arange(len(found.entities)))

    return bundle_file(VOCABULARY, scratch, Vocabulary.read, look_up)


def known(bundle: Path, scratch: Path) -> TryBytes:
    """``known.bin``; each fact that is taken names an entity."""

    def ask(found: KnownFacts) -> None:
        for entity in range(min(found.num_entities, 50)):
            tails = found.of(entity, 0)
            assert ((tails >= 0) & (tails < found.num_entities)).all()

    return bundle_file(KNOWN, scratch, KnownFacts.read, ask)


def rules(bundle: Path, scratch: Path) -> TryBytes:
    """``rules.bin``; each step that is taken is a direction."""

    def look(found: PathRules) -> None:
        assert (found.steps < 2 * found.num_relations).all()
        for relation in range(min(found.num_relations, _ASKED)):
            assert len(found.steps[found.of(relation)]) <= MOST_RULES

    return bundle_file(RULES, scratch, PathRules.read, look)


def types(bundle: Path, scratch: Path) -> TryBytes:
    """``types.bin``; each member that is taken is an entity."""

    def ask(found: EntityTypes) -> None:
        for name in found.names:
            members = found.of(name)
            assert ((members >= 0) & (members < found.num_entities)).all()

    return bundle_file(TYPES, scratch, EntityTypes.read, ask)


def search(bundle: Path, scratch: Path) -> TryBytes:
    """``search.bin``, beside the labels of the bundle."""
    labels = open_bundle(bundle).vocabulary.entities.labels

    def find(found: SearchIndex) -> None:
        found.find("thing", 5)
        found.nearest("thign 7")

    return bundle_file(SEARCH, scratch, lambda file: SearchIndex.read(file, labels), find)


def entity_map(bundle: Path, scratch: Path) -> TryBytes:
    """``map.bin``; each place is in the disk."""

    def look(found: EntityMap) -> None:
        places = np.stack([found.x, found.y]).astype(np.int64)
        assert (np.square(places).sum(0) <= SCALE**2).all()
        assert len(list(found.group_names)) < 256

    return bundle_file(MAP, scratch, EntityMap.read, look)


def descriptions(bundle: Path, scratch: Path) -> TryBytes:
    """``descriptions.bin``; each entity has a text of one line."""

    def look(found: Descriptions) -> None:
        texts = found.texts()
        assert len(texts) == found.num_entities
        assert not any("\n" in text for text in texts)

    return bundle_file(DESCRIPTIONS, scratch, Descriptions.read, look)


def calibration(bundle: Path, scratch: Path) -> TryBytes:
    """``calibration.json``; each probability is one."""

    def ask(found: Calibration | None) -> None:
        if found is not None:
            relations = np.zeros(len(_SCORES), dtype=np.int64)
            probabilities = found.probability(_SCORES, relations, priors=True)
            assert ((probabilities >= 0) & (probabilities <= 1)).all()

    return bundle_file(CALIBRATION, scratch, Calibration.read, ask)


def table(bundle: Path, scratch: Path) -> TryBytes:
    """The head of ``entities.faiss``, for as many rows and columns as the bundle has."""
    stated = open_bundle(bundle).manifest
    entities, width = stated.entities, stated.width
    return bundle_file(
        ENTITIES, scratch, lambda f: check_table(f, entities, width), lambda number: None
    )


def measures(bundle: Path, scratch: Path) -> TryBytes:
    """``measures.bin`` of a table that is cut into cells."""

    def look(found: TableBounds) -> None:
        assert found.means.shape == (COLUMNS, CELLS)
        assert np.isfinite(found.error[found.error != -np.inf]).all()

    return bundle_file(MEASURES, scratch, lambda f: TableBounds.read(f, COLUMNS, CELLS), look)


def _measured(path: Path) -> bytes:
    each = {"weights": COLUMNS, "error": COLUMNS, "reach": CELLS}
    wide = {name: np.linspace(0.5, 1.0, size) for name, size in each.items()}
    spread, means = np.ones(CELLS, np.float32), np.zeros((COLUMNS, CELLS), np.float32)
    TableBounds(2.0, 0.5, 0.1, 1.5, **wide, spread=spread, means=means).write(path)
    return path.read_bytes()


def encoder(bundle: Path, scratch: Path) -> TryBytes:
    """What is looked at in ``encoder.onnx`` before ONNX Runtime is."""
    return bundle_file(ENCODER, scratch, check_graph, lambda nothing: None)


def graph(bundle: Path, scratch: Path) -> TryBytes:
    """A graph folder: its files one after the other, plain or packed."""

    def try_bytes(data: bytes) -> bool:
        for path in scratch.iterdir():
            path.unlink()
        for name, content in zip(GRAPH_FILES, data.split(BETWEEN_FILES), strict=False):
            packed = content.startswith(_GZIP)
            (scratch / (f"{name}.gz" if packed else name)).write_bytes(content)
        try:
            found = read_folder(scratch)
        except DatasetError:
            return False
        _check_rows(found)
        return True

    return try_bytes


def triples(bundle: Path, scratch: Path) -> TryBytes:
    """A file of triples: its name up to a line end, then its content."""

    def try_bytes(data: bytes) -> bool:
        suffix, _, content = data.partition(b"\n")
        name = suffix.decode("ascii", "ignore")
        path = scratch / (name if name in TRIPLE_FILES else "facts.txt")
        path.write_bytes(content)
        try:
            found = read_graph(path)
        except DatasetError:
            return False
        entities, relations = found.facts.size
        assert (
            (found.facts.triples >= 0) & (found.facts.triples < [entities, relations, entities])
        ).all()
        assert found.report.text()
        return True

    return try_bytes


def _triple_files() -> list[bytes]:
    """One sound file of each format."""
    made = io.BytesIO()
    parquet.write_table(pa.table({"s": ["a", "b"], "p": ["r", "r"], "o": ["b", "c"]}), made)
    texts = {
        "facts.parquet": made.getvalue(),
        "facts.tsv": b"a\tr\tb\nb\tr\tc\nc\ts\td\n",
        "facts.csv": b's,p,o\na,r,"b ""x"", y"\nb,r,c\n',
        "facts.jsonl": b'{"s": "a", "p": "r", "o": "b"}\n{"s": "b", "p": "r", "o": "c"}\n',
        "neo4j.json": b'{"type": "node", "id": "0", "labels": ["P"], "properties": {"name": "A"}}\n'
        b'{"type": "relationship", "id": "0", "label": "R",'
        b' "start": {"id": "0"}, "end": {"id": "1"}}\n',
        "neo4j.csv": b'"_id","_labels","name","_start","_end","_type"\n'
        b'"0",":P","A",,,\n,,,"0","1","R"\n',
        "facts.nt": b'<http://e/a> <http://e/r> <http://e/b> .\n_:x <http://e/r> "l"@en .\n',
        "facts.ttl": b"@prefix e: <http://e/> .\ne:a e:r e:b, [ e:r e:c ] ; a e:T .\n",
        "facts.rdf": b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        b' xmlns:e="http://e/">'
        b'<rdf:Description rdf:about="http://e/a"><e:r rdf:resource="http://e/b"/></rdf:Description>'
        b"</rdf:RDF>",
        "facts.jsonld": b'{"@id": "http://e/a", "http://e/r": {"@id": "http://e/b"}}',
        "facts.tsv.gz": gzip.compress(b"a\tr\tb\n", mtime=0),
    }
    assert set(texts) <= set(TRIPLE_FILES)
    return [name.encode() + b"\n" + content for name, content in texts.items()]


def _check_rows(found: Graph) -> None:
    limits = [found.num_entities, found.num_relations, found.num_entities]
    for split in SPLITS:
        rows = found.split(split)
        assert ((rows >= 0) & (rows < limits)).all()
    found.vocabulary()


READERS = (
    manifest, vocabulary, known, rules, types, search, entity_map, descriptions, calibration,
    measures, table, encoder, graph, triples,
)  # fmt: skip


def seeds(name: str, bundle: Path, data: Path) -> list[bytes]:
    """Real content to begin with, for the reader of that name."""
    files = {
        "manifest": MANIFEST, "vocabulary": VOCABULARY, "known": KNOWN, "types": TYPES,
        "search": SEARCH, "calibration": CALIBRATION, "table": ENTITIES, "encoder": ENCODER,
    }  # fmt: skip
    if name == "entity_map":
        return [_drawn()]
    if name == "descriptions":
        return [_described()]
    if name == "rules":
        return [_ruled()]
    if name == "measures":
        return [_measured(data / MEASURES)]
    if name == "triples":
        return _triple_files()
    if name == "vocabulary":  # whole names, and front-coded ones
        return [(bundle / VOCABULARY).read_bytes(), FRONT_CODED.read_bytes()]
    if name != "graph":
        return [(bundle / files[name]).read_bytes()]
    contents = [(data / file).read_bytes() for file in GRAPH_FILES if (data / file).exists()]
    packed = [gzip.compress(content, mtime=0) for content in contents]
    return [BETWEEN_FILES.join(contents), BETWEEN_FILES.join(packed)]


def _described() -> bytes:
    """Texts of seventy entities, in two blocks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, DESCRIPTIONS)
        Descriptions.build([f"text {row}" for row in range(70)]).write(path)
        return path.read_bytes()


def _ruled() -> bytes:
    """Two rules of two relations."""
    two = np.array([1, 2], dtype=np.uint32)
    steps = np.array([[3, -1, -1], [0, 1, 2]], dtype=np.int32)
    bounds, confidence = np.array([0, 1, 2], np.uint32), np.array([0.5, 1.0], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, RULES)
        PathRules(2, bounds, steps, two, confidence, two).write(path)
        return path.read_bytes()


def _drawn() -> bytes:
    """A map of five entities in two groups."""
    one = np.arange(5, dtype=np.int16)
    groups = np.array([0, 1, 0, 1, 255], dtype=np.uint8)
    names = StringColumn.build(["animal", "plant"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, MAP)
        EntityMap(one, -one, groups, groups, names, 0.5, 0.5).write(path)
        return path.read_bytes()
