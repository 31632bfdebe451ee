"""How a training shows itself: progress bars on stderr, TensorBoard scalars where asked for."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from training.loop import Progress as TrainingProgress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_BARS = 8
"""Of the latest models; more do not fit into a terminal, and rich would hide the latest ones."""


class TrainingReport:
    """A bar per model; call it with a model's name and progress. A context manager.

    Args:
        console: where the bars go; a console that is no terminal gets a line per validation.
        folder: a run's folder to write TensorBoard scalars into, or None.
    """

    def __init__(self, console: Console, folder: Path | None = None) -> None:
        self._console, self._folder = console, folder
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._writers: dict[str, SummaryWriter] = {}

    def __enter__(self) -> TrainingReport:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing and close the scalars' files."""
        self._bars.stop()
        for writer in self._writers.values():
            writer.close()

    def __call__(self, name: str, progress: TrainingProgress) -> None:
        """Show that ``name`` has finished another epoch."""
        if name not in self._tasks:
            if len(self._tasks) >= _BARS:
                self._bars.update([*self._tasks.values()][-_BARS], visible=False)
            self._tasks[name] = self._bars.add_task(name, total=progress.epochs, note="")
        error = f" ± {progress.error:.4f}" if progress.error else ""
        figures = f"valid MRR {progress.mrr:.4f}{error} (best {progress.best:.4f})"
        note = figures if progress.validated else ""
        self._bars.update(self._tasks[name], completed=progress.epoch, note=note)
        if progress.validated == progress.epoch and not self._console.is_terminal:
            text = f"{name}: epoch {progress.epoch}/{progress.epochs}, {note}"
            self._console.print(
                f"{text}, {progress.seconds:.0f} s", highlight=False, soft_wrap=True
            )
        if progress.warning and progress.epoch == progress.epochs:
            self._console.print(
                f"{name}: {progress.warning}", highlight=False, markup=False, soft_wrap=True
            )
        if self._folder is not None:
            self._write_scalars(name, progress)

    def _write_scalars(self, name: str, progress: TrainingProgress) -> None:
        if name not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            folder = Path(str(self._folder)) / "tensorboard" / name.replace(" ", "-")
            self._writers[name] = SummaryWriter(str(folder))
        writer = self._writers[name]
        for part, value in progress.loss.items():
            writer.add_scalar(f"loss/{part}", value, progress.epoch)
        if progress.validated == progress.epoch:
            writer.add_scalar("valid/mrr", progress.mrr, progress.epoch)
