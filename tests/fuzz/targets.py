"""All that is fuzzed, by name, over the bundle of the first format that lies in tests/golden."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import readers, requests
from tests.fuzz.readers import TryBytes
from tests.support.tiny import write_tiny_graph

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1"
TARGETS = {made.__name__: made for made in (*readers.READERS, requests.requests)}


def target(name: str, scratch: Path) -> TryBytes:
    """What tries the bytes; it may fill and empty the folder."""
    return TARGETS[name](GOLDEN, scratch)


def seeds(name: str, scratch: Path) -> list[bytes]:
    """Sound input to begin with."""
    if name == "requests":
        return requests.seeds()
    return readers.seeds(name, GOLDEN, write_tiny_graph(scratch / "graph"))
