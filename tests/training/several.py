"""What torchrun starts for test_parallel.py: a Junior on the tiny graph, perhaps stopped midway.

    torchrun ... -m tests.training.several GRAPH SHELF OUT EPOCH

EPOCH is that after which it stops.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from mulde.graph.graph import read_folder
from tests.support.runs import HARDEST_TO_RESUME, recipe_of, train
from training.distributed import started_by_torchrun
from training.loop import Progress


class Stop(Exception):  # noqa: N818 - what it does to a run
    """Ends a run from its report."""


def main() -> None:
    graph, teacher_runs, out, epoch = sys.argv[1:]
    torch.set_num_threads(1)

    def report(name: str, progress: Progress) -> None:
        if progress.epoch == int(epoch):
            raise Stop

    with started_by_torchrun(torch.device("cpu")):
        recipe = recipe_of(**HARDEST_TO_RESUME)
        try:
            train(
                recipe,
                read_folder(graph),
                Path(out),
                teacher_runs=Path(teacher_runs),
                report=report,
            )
        except Stop:
            print("stopped")


if __name__ == "__main__":
    main()
