"""Progress on stderr: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mulde.graph.reading.compressed import Progress as Report
from mulde.storage.printable import printable, printable_lines

_LINE_AFTER_S = 2.0
_LINE_EVERY_S = 10.0


def say(text: str, style: str | None = None) -> None:
    """A sentence or more on stderr, never wrapped: a path in it can be copied and searched."""
    console = Console(stderr=True)
    shown = printable_lines(text)
    console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def file_progress(verb: str) -> Iterator[Report]:
    """A function to call with a file's name, bytes done and bytes in all."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(verb, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(printable(name), total=total)
            bars.update(tasks[name], completed=done)

        yield report


def _lines(verb: str, console: Console) -> Report:
    due = time.monotonic() + _LINE_AFTER_S

    def report(name: str, done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due and total:
            due = time.monotonic() + _LINE_EVERY_S
            line = f"{verb} {printable(name)}: {done / total:.0%} of {total:,}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return report
