"""Run a notebook and store what it shows: text, tables as HTML, charts as PNG.

Usage: ``python -m scripts.run_notebook PATH.ipynb``. The cells run in one interpreter, in an empty
folder. Jupyter is not needed, and no cell may need it.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt


def run_notebook(path: Path, folder: Path) -> None:
    """Run all code cells in a folder and write their outputs into the notebook."""
    notebook = json.loads(path.read_text("utf-8"))
    path, names = path.resolve(), {"__name__": "__main__"}
    os.chdir(folder)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"] = number
        cell["outputs"] = _run("".join(cell["source"]), names, number)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _run(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The outputs of one cell; the value of a last expression is shown."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    charts = [_shown({"image/png": _png(figure)}) for figure in plt.get_fignums()]
    plt.close("all")
    if value is not None and not charts:
        outputs.append(_shown(_formats(value)))
    return [*outputs, *charts]


def _shown(data: dict[str, str]) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _formats(value: Any) -> dict[str, str]:
    """A value as text, and as HTML if it has that."""
    html = getattr(value, "_repr_html_", None)
    return {"text/plain": repr(value), **({"text/html": html()} if html else {})}


def _png(number: int) -> str:
    """A figure, in base64."""
    content = io.BytesIO()
    plt.figure(number).savefig(content, dpi=90, metadata={"Software": None})
    return base64.b64encode(content.getvalue()).decode("ascii")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        run_notebook(Path(sys.argv[1]), Path(scratch))
