"""``update.md``, ``update.json`` and pictures from the records of ``benchmarks.update``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.record_files import write_json
from mulde.storage.printable import markdown

PREAMBLE = """# Updates of a graph that changes

ENTITY and FACT are re-splits of FB15k-237 into five snapshots that arrive one after another (LKGE,
Cui et al. 2023): ENTITY adds the same number of entities each time, FACT the same number of facts.
A RESCAL Junior of 32 dimensions is trained on the first snapshot and then updated four times
(`mulde update`), or trained from nothing on all facts. MRR is the mean over the five tests
after the last snapshot, filtered by all facts of all snapshots, both directions, realistic ties.
*Then*: a test ranks the entities that were known at its snapshot, as published figures do. *Now*:
all entities. One seed; settings were chosen on valid. Seconds are the processor's on one thread, of
training, teachers and a validation at each end; *updates* are the four together. An update
estimates the partition of its cross entropy from the batch's targets and 2,048 other entities, a
training from nothing sums over all unless its line says otherwise. Not tested on a GPU.

Published, *then*, 200-d TransE: ENTITY fine-tuning .165, LKGE .234, IncDE .253; FACT .172, .210,
.216. They are systems with other scorers: the difference is not the update's alone.
"""
COLUMNS = (
    "way", "MRR then", "MRR now", "Hits@10 then", "the five tests, then",
    "first test: before, after", "updates, s", "all, s",
)  # fmt: skip


def write_page(records: list[dict[str, Any]], into: Path) -> None:
    """Write all files."""
    write_json(into / "update.json", records)
    parts, pictures = [PREAMBLE], []
    for name in sorted({one["graph"] for one in records}):
        own = sorted((one for one in records if one["graph"] == name), key=_order)
        picture = f"update-{name}.svg"
        _draw(name, own, into / picture)
        parts.append(_section(name, own))
        pictures.append(f"![MRR and seconds against snapshot, {name}]({picture})")
        parts.append(pictures[-1] + "\n")
    parts.append(
        "Points between the first and the last snapshot are of every fifth fact. Written by "
        "`make bench-update` from `benchmarks/records/update/`; not to be edited.\n"
    )
    (into / "update.md").write_text("\n".join(parts), encoding="utf-8")


def _order(one: dict[str, Any]) -> tuple[bool, str]:
    """Updates first, then trainings from nothing."""
    return len(one["steps"]) == 1, one["way"]


def _section(name: str, own: list[dict[str, Any]]) -> str:
    last = own[0]["steps"][-1]
    every = own[0]["every"]
    facts = f"{last['entities']:,} entities after {last['snapshot'] + 1} snapshots"
    lines = [
        f"## {markdown(name.upper())}, {facts}\n",
        f"{markdown(own[0]['machine'])}, shared with other work."
        f"{'' if every == 1 else f' Of the tests one of {every} facts is ranked.'}\n",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *map(_line, own),
        "",
    ]
    return "\n".join(lines)


def mean(step: dict[str, Any], protocol: str, figure: str = "mrr") -> float:
    """Mean over the tests of all snapshots."""
    found = [quality[protocol][figure] for quality in step["quality"]]
    return float(sum(found) / len(found))


def _line(one: dict[str, Any]) -> str:
    first, last = one["steps"][0], one["steps"][-1]
    tests = " ".join(f"{quality['then']['mrr']:.3f}" for quality in last["quality"])
    updated = len(one["steps"]) > 1
    before = f"{first['quality'][0]['then']['mrr']:.3f}, " if updated else ""
    after = f"{last['quality'][0]['then']['mrr']:.3f}"
    seconds = [step["seconds"] for step in one["steps"]]
    cells = [
        one["title"],
        f"{mean(last, 'then'):.4f}",
        f"{mean(last, 'now'):.4f}",
        f"{mean(last, 'then', 'hits@10'):.4f}",
        tests,
        before + after,
        f"{sum(seconds[1:]):,.0f}" if updated else "",
        f"{sum(seconds):,.0f}",
    ]
    return "| " + " | ".join(map(markdown, cells)) + " |"


def _draw(name: str, own: list[dict[str, Any]], path: Path) -> None:
    """MRR of the first snapshot's test, of the newest one's, and seconds, against the snapshot."""
    figure = charts.figure_of(_message(name, own), 13, 4)
    panels = [
        charts.panel_of(figure, (1, 3, place), title)
        for place, title in enumerate(
            ("MRR of the first test", "MRR of the newest test", "processor seconds"), 1
        )
    ]
    colours = (charts.OURS, charts.BESIDE, charts.OTHERS)
    ends: list[tuple[str, float, str]] = []
    for one, colour in zip(own, colours, strict=False):
        steps = one["steps"]
        places = [step["snapshot"] for step in steps]
        values = (
            [step["quality"][0]["then"]["mrr"] for step in steps],
            [step["quality"][-1]["then"]["mrr"] for step in steps],
            [step["seconds"] for step in steps],
        )
        for panel, value in zip(panels, values, strict=True):
            panel.plot(places, value, marker="o", color=colour)
        title = one["title"].partition(",")[0].replace(" with ", "\nwith ")
        ends.append((title, values[-1][-1], colour))
    for panel in panels:
        panel.set(xlabel="snapshot", ylim=(0, None), xticks=range(5))
    charts.name_lines(panels[-1], ends)  # where the lines end apart from each other
    charts.save(figure, path)


def _message(name: str, own: list[dict[str, Any]]) -> str:
    """What the picture shows, in one sentence."""
    updated = next((one for one in own if len(one["steps"]) > 1), own[0])
    message = f"{name.upper()}: after four updates the mean MRR is "
    message += f"{mean(updated['steps'][-1], 'then'):.3f}"
    anew = [one for one in own if len(one["steps"]) == 1]
    if anew:
        message += f", {mean(anew[0]['steps'][-1], 'then'):.3f} when trained from nothing"
    return message
