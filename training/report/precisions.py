"""What a bundle would be worth with a coarser table: bytes of the table, and MRR on test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import draft_bundle
from mulde.bundle.table.entity_table import NUMBER_BITS
from mulde.bundle.table.quantised_table import BITS
from mulde.graph.graph import Graph
from serving.engine.engine import Engine
from training.export.served import Served
from training.export.table.shrink import write_shrunk
from training.report.measure import sample_test

Report = Callable[[str], None]


@dataclass(frozen=True)
class PrecisionQuality:
    """A way to store the table: bits of a number, bytes, and MRR on the test triples looked at."""

    name: str
    bytes: int
    mrr: float


def measure_precisions(bundle: Path, graph: Graph, report: Report) -> list[PrecisionQuality]:
    """Return the bundle as it is, and with each coarser table; nothing is kept."""
    opened = open_bundle(bundle)
    own = opened.manifest.precision
    found = [_measure(bundle, own, graph, report)]
    for precision, bits in BITS.items():
        if bits >= NUMBER_BITS[own]:
            continue
        with TemporaryDirectory() as folder, draft_bundle(Path(folder, precision)) as draft:
            write_shrunk(draft, opened, precision, name=opened.manifest.name)
            found.append(_measure(draft.path, precision, graph, report))
    return found


def _measure(bundle: Path, name: str, graph: Graph, report: Report) -> PrecisionQuality:
    report(f"ranking test with the table in {name}")
    with Engine.open(bundle) as engine:
        ranks = sample_test(graph)[1].ranks(Served(engine).new_facts)
    size = (bundle / files.ENTITIES).stat().st_size
    return PrecisionQuality(name, size, float((1 / ranks).mean()))
