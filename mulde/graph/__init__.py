"""Graphs from any source: read, report, split, write.

``read_graph(source)`` gives facts, labels, types and a report; ``split_graph`` divides the facts.
"""

from __future__ import annotations

from typing import Any

__all__ = ["read_graph", "split_graph"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import mulde.graph`` needs neither numpy nor pyarrow."""
    if name == "read_graph":
        from mulde.graph.reading.read import read_graph

        return read_graph
    if name == "split_graph":
        from mulde.graph.splitting.split import split_graph

        return split_graph
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
