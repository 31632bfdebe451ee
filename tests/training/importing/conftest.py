"""The graph of twelve entities that the golden models know."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.graph.graph import Graph, read_folder


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("graph")
    draw = np.random.default_rng(3)
    rows = draw.integers(0, [12, 3, 12], (80, 3)).tolist()
    lines = [f"e{h:02}\tr{r}\te{t:02}" for h, r, t in rows]
    lines += [f"e{e:02}\tr{e % 3}\te{(e + 1) % 12:02}" for e in range(12)]
    lines = sorted(set(lines))
    for split, part in (("train", lines[10:]), ("valid", lines[:5]), ("test", lines[5:10])):
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n")
    return read_folder(folder)
