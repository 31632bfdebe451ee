"""A time budget: how much is left, and an end to a training that would pass it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from training.loop import Progress

Now = Callable[[], float]
"""Seconds since some moment, such as ``time.monotonic`` or ``time.process_time``."""


_FALL = 0.95
"""Share of its best valid MRR below which a training is given up, once its best is long past."""


class OutOfTime(Exception):  # noqa: N818 - a signal to the caller, not an error of the user
    """A training reached its deadline, or overfits; its best checkpoint so far is on disk."""


@dataclass(frozen=True)
class Clock:
    """A deadline.

    Attributes:
        end: seconds of ``now``.
        now: the clock that is read.
    """

    end: float
    now: Now = monotonic

    @classmethod
    def of(cls, seconds: float, now: Now = monotonic) -> Clock:
        """Return a clock that ends that many seconds from now."""
        return cls(now() + seconds, now)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.end - self.now())

    def share(self, fraction: float) -> Clock:
        """Return a clock with a fraction of what is left."""
        return Clock.of(fraction * self.left_s, self.now)

    def watch(self, report: Callable[[str, Progress], None]) -> Callable[[str, Progress], None]:
        """Return a report that raises ``OutOfTime`` once a validated training is past the end.

        It does so too where valid MRR has fallen for a third of the schedule. Warnings about
        settings are left out: they are for people who chose the settings themselves.
        """

        def watched(name: str, progress: Progress) -> None:
            report(name, replace(progress, warning=""))
            late = self.now() >= self.end or _overfits(progress)
            if late and progress.validated and progress.epoch < progress.epochs:
                raise OutOfTime

        return watched


def _overfits(progress: Progress) -> bool:
    past = progress.validated - progress.best_epoch >= progress.epochs / 3
    return past and progress.mrr < _FALL * progress.best
