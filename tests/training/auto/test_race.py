"""The race: what is compared, for how long, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mulde.graph.graph import read_folder
from tests.training.auto.conftest import Ticks
from training.auto.candidates import Candidate, Size, candidates
from training.auto.clock import Clock
from training.auto.race import RUNGS, SHORT_RUNGS, Race
from training.auto.result import Result, expected_s
from training.loop import Progress
from training.train import Report

SIZE = Size(40, 240, 3, 104)
ENTRANTS = candidates(SIZE, 8)
COMPLEX = [one for one in ENTRANTS if one.model.scorer == "ComplEx"]


def race(
    data: Path,
    folder: Path,
    ticks: Ticks,
    entrants: list[Candidate],
    seconds: float,
    rungs: tuple[float, ...],
) -> list[Result]:
    """Race on the ring; an epoch takes a twentieth of a second of the clock's time."""
    clock, race = Clock.of(seconds, ticks), on_the_ring(data, folder, ticks.report)
    return race.run(entrants, race.time(entrants, clock, rungs), clock, rungs)


def on_the_ring(data: Path, folder: Path, report: Report) -> Race:
    return Race(read_folder(data), SIZE, folder, torch.device("cpu"), 1, report)


def test_the_winner_of_a_race_with_time_trained_for_its_whole_schedule(
    data: Path, tmp_path: Path, ticks: Ticks
) -> None:
    found = race(data, tmp_path, ticks, COMPLEX, 14.0, RUNGS)
    assert found[0].longest >= found[0].candidate.training.epochs
    assert len(found) > 3
    assert [one.mrr for one in found] == sorted((one.mrr for one in found), reverse=True)
    assert ticks.seconds < 1.1 * 14.0


def test_the_best_candidate_is_trained_on_where_the_rungs_leave_time(
    data: Path, tmp_path: Path, ticks: Ticks
) -> None:
    found = race(data, tmp_path, ticks, COMPLEX[:2], 12.0, (0.1, 0.3))
    assert found[0].longest >= found[0].candidate.training.epochs


def test_no_epoch_over_all_entities_is_timed_that_the_race_has_no_time_for() -> None:
    """WN18RR within half an hour: the race has 396 s, of which half are for the first rung."""
    size = Size(40_943, 103_509, 11, 86_835)
    for one in candidates(size, 32):
        assert expected_s(one, SHORT_RUNGS, size) < 198
        whole = replace(one, training=replace(one.training, partition="all"))
        seconds = expected_s(whole, SHORT_RUNGS, size)
        assert (seconds > 198) == (one.model.scorer != "RotH")
    small = Size(2_034, 37_000, 42, 32_888)  # CoDEx-S within six minutes: 79 s
    for one in candidates(small, 32):
        assert expected_s(one, RUNGS, small) < 39


def test_where_only_one_candidate_can_train_long_enough_it_gets_the_whole_race(
    data: Path, tmp_path: Path, ticks: Ticks
) -> None:
    epochs = ENTRANTS[0].training.epochs
    seconds = 0.05 * epochs * 0.64  # half of it, less the timings, is no third of the epochs
    (one,) = race(data, tmp_path, ticks, ENTRANTS, seconds, SHORT_RUNGS)
    assert one.candidate.name == ENTRANTS[0].name
    assert one.epochs > 1.1 * epochs / 3


def test_a_rung_without_time_takes_nothing_from_what_an_earlier_one_reached(
    data: Path, tmp_path: Path, ticks: Ticks
) -> None:
    """Time ends soon after the second rung began, as a third one is left with a few epochs."""
    seen: dict[str, list[float]] = {}

    def report(name: str, progress: Progress) -> None:
        ticks.report(name, progress)
        seen.setdefault(name.split(": ")[1], []).append(progress.best)
        if name.startswith("race 3"):
            ticks.seconds += 0.4

    clock, race = Clock.of(8.0, ticks), on_the_ring(data, tmp_path, report)
    found = race.run(COMPLEX[:3], race.time(COMPLEX[:3], clock), clock)
    for one in found:
        assert one.mrr >= max(seen[one.candidate.name]) - 1e-9
