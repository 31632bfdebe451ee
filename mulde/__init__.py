"""Link prediction small enough for the edge.

    model = mulde.fit("facts.csv")                    # or a DataFrame, a graph, triples
    model.predict_tails("Metallica", "genre")         # a DataFrame
    model.save("bundles/own"); mulde.load("bundles/own")

``fit`` needs the extra ``training``; ``load`` needs ``serving`` and pandas. Both are imported on
first use, so ``import mulde`` loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "load"]


_LAZY = {"fit": ("training.auto.python", "fit"), "load": ("serving.local.model", "LocalModel")}


def __getattr__(name: str) -> Any:
    """Import on first use; by name, since mulde itself depends on neither package."""
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
