"""The report's page: sections of plain HTML with styles and charts inside, no outside requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isnan

from mulde.bundle.manifest import Manifest
from mulde.evaluation.reliability import Reliability
from mulde.storage.printable import printable
from training.report.charts import bars, lines, reliability_diagram
from training.report.examples import Example
from training.report.measure import GroupQuality, ModelCurve, TestQuality
from training.report.precisions import PrecisionQuality

MOST_RELATIONS = 30

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --grid: #d0d7de;
  --panel: #f6f8fa; --first: #0b5fa5; --second: #b4480a; --third: #1a7f37; --fourth: #8250df; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --ink: #e6edf3; --soft: #9da7b3;
  --grid: #3d444d; --panel: #161b22; --first: #79b8ff; --second: #ffa657; --third: #56d364;
  --fourth: #d2a8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.5rem; font-size: 1.25rem; }
p, caption, li { max-width: 46rem; } .soft, caption { color: var(--soft); }
caption { text-align: left; padding-bottom: .3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--grid);
  font-variant-numeric: tabular-nums; font-weight: normal; }
th:first-child { text-align: left; } thead th { color: var(--soft); vertical-align: bottom; }
.wide th, .wide td { overflow-wrap: normal; } .wide th:first-child { min-width: 8rem; }
.bars .bar { width: 50%; padding-right: 0; } .bars .bar span { display: block; height: .8rem;
  background: var(--first); border-radius: 2px; min-width: 1px; }
svg { width: 100%; max-width: 36rem; height: auto; font-size: 15px; fill: var(--soft); }
figure { margin: 1rem 0; } figcaption span { margin-right: .8rem; white-space: nowrap; }
.example { background: var(--panel); padding: .6rem 1rem; border-radius: 6px; margin: .8rem 0; }
.example h3 { margin: 0; font-size: 1rem; } .example ul { margin: .3rem 0; padding-left: 1.2rem; }
.example li { font-size: .92rem; }
"""


@dataclass
class ReportContent:
    """What a report shows; what is None or empty has no section, and ``missing`` says why.

    Attributes:
        manifest: of the bundle.
        card: the bundle's card, Markdown.
        graph_lines: what the graph holds and what looks odd in it.
        curves: of the run's models.
        models: names of the run's models.
        by_model: per relation each model's MRR on valid.
        quality: on test.
        precisions: what the table is worth as it is stored, and stored coarser.
        right, wrong: examples.
        missing: sentences on what is not shown.
    """

    manifest: Manifest
    card: str = ""
    graph_lines: list[str] = field(default_factory=list)
    curves: list[ModelCurve] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    by_model: list[tuple[str, list[float]]] = field(default_factory=list)
    quality: TestQuality | None = None
    precisions: list[PrecisionQuality] = field(default_factory=list)
    right: list[Example] = field(default_factory=list)
    wrong: list[Example] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def render(content: ReportContent) -> str:
    """Return the whole page."""
    manifest = content.manifest
    title = f"{manifest.name}/{manifest.version}"
    sections = [
        _quality(manifest),
        _curves(content.curves),
        _models(content.models, content.by_model),
        _split_up(content.quality),
        _probabilities(content.quality),
        _sizes(manifest, content.precisions),
        _examples("Right answers", content.right),
        _examples("Wrong answers", content.wrong),
        _graph(content.graph_lines, manifest),
    ]
    missing = "".join(f"<li>{_text(one)}</li>" for one in content.missing)
    left_out = f"<h2>Not shown</h2><ul>{missing}</ul>" if missing else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Report on {_text(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>Report on {_text(title)}</h1><p>{_summary(manifest)}</p>"
        f"{''.join(sections)}{left_out}</main></body></html>\n"
    )


def _text(value: object) -> str:
    """Text of unknown origin, never as markup or as an order to a terminal."""
    return escape(printable(str(value)))


def _summary(manifest: Manifest) -> str:
    counts = manifest.dataset.counts
    total = sum(stamp.bytes for stamp in manifest.files.values())
    return (
        f"{_text(manifest.family)}, {manifest.dimension} numbers per entity, "
        f"{manifest.entities:,} entities, {manifest.relations:,} relations; trained on "
        f"{counts.get('train', 0):,} facts of {_text(manifest.dataset.name)}; "
        f"{total / 1e6:.1f} MB; exported {_text(manifest.created)}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table that scrolls where it is wider than the screen; cells are escaped here."""
    names = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    told = f'<p class="soft">{_text(caption)}</p>' if caption else ""
    return (
        f'{told}<div class="wide" tabindex="0"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _quality(manifest: Manifest) -> str:
    rows = []
    for name, figures in (
        ("new facts", manifest.quality),
        ("scorer alone", manifest.scorer_quality),
    ):
        for split, sides in figures.items():
            for side, one in sides.items():
                values = (one[key] for key in ("mrr", "hits@1", "hits@3", "hits@10"))
                rows.append((f"{name}, {split}, {side}", *(f"{value:.4f}" for value in values)))
    head = ("", "MRR", "Hits@1", "Hits@3", "Hits@10")
    caption = "Filtered, both directions, realistic ties. New facts are ranked by score + prior."
    return "<h2>Quality</h2>" + _table(head, rows, caption)


def _curves(curves: Sequence[ModelCurve]) -> str:
    if not curves:
        return ""
    drawn = [(curve.name, curve.minutes, curve.mrr) for curve in curves]
    chart = lines(drawn, "minutes of training", "valid MRR")
    rows = [
        (curve.name, f"{max(curve.mrr, default=0):.4f}", f"{curve.minutes[-1]:.1f}")
        for curve in curves
        if curve.minutes
    ]
    table = _table(("model", "best valid MRR", "minutes"), rows)
    return f"<h2>Training</h2>{chart}{table}"


def _models(names: Sequence[str], by_model: Sequence[tuple[str, list[float]]]) -> str:
    if not by_model:
        return ""
    rows = [
        (relation, *(f"{value:.3f}" for value in values), _best(names, values))
        for relation, values in by_model
    ]
    caption = (
        "MRR on valid by relation, scorer alone, both directions; the most frequent relations."
    )
    return "<h2>What each model is good at</h2>" + _table(
        ("relation", *names, "best"), rows, caption
    )


def _best(names: Sequence[str], values: Sequence[float]) -> str:
    """The model with the largest value; nothing where several have it."""
    largest = [name for name, value in zip(names, values, strict=True) if value == max(values)]
    return largest[0] if len(largest) == 1 else ""


def _split_up(quality: TestQuality | None) -> str:
    if quality is None:
        return ""
    shown = quality.by_relation[:MOST_RELATIONS]
    more = len(quality.by_relation) - len(shown)
    note = f'<p class="soft">{more:,} rarer relations are not shown.</p>' if more else ""
    head = ("", "test facts", "MRR of tails", "MRR of heads")
    caption = f"{len(quality.triples):,} test facts, as new facts are ranked."
    return (
        "<h2>Quality by relation</h2>"
        + _table(head, map(_row, shown), caption)
        + note
        + "<h2>Quality by degree of the answer</h2>"
        + _table(head, map(_row, quality.by_degree), "How many train facts the right answer has.")
    )


def _row(group: GroupQuality) -> tuple[str, ...]:
    figures = ("–" if isnan(value) else f"{value:.3f}" for value in (group.tail, group.head))
    return (group.name, f"{group.count:,}", *figures)


def _probabilities(quality: TestQuality | None) -> str:
    if quality is None:
        return ""
    named = (("probability", quality.probability), ("plausibility", quality.plausibility))
    found: list[tuple[str, Reliability]] = [(name, one) for name, one in named if one is not None]
    if not found:
        return "<h2>Probabilities</h2><p>The bundle has no calibration.</p>"
    drawn = [(name, one.predicted.tolist(), one.observed.tolist()) for name, one in found]
    errors = "; ".join(f"{name} {one.error:.4f}" for name, one in found)
    chart = reliability_diagram(drawn, "predicted", "observed share of true")
    return (
        f"<h2>Probabilities</h2><p>Expected calibration error on test: {errors}. "
        "On the dashed line predictions are right.</p>"
        f"{chart}"
    )


def _sizes(manifest: Manifest, precisions: Sequence[PrecisionQuality]) -> str:
    files = sorted(manifest.files.items(), key=lambda item: -item[1].bytes)
    total = sum(stamp.bytes for _, stamp in files)
    shares = [(f"{name}, {one.bytes / 1e3:,.0f} kB", one.bytes / total) for name, one in files]
    checks = manifest.checks
    steps = (
        ("as trained", checks.get("mrr_trained")),
        (f"rounded to {manifest.precision}", checks.get("mrr_rounded")),
        (f"served by index {manifest.index.kind}", checks.get("mrr_served")),
    )
    rows = [(name, f"{value:.4f}") for name, value in steps if value is not None]
    trials = [
        (one.kind, f"{one.bytes / 1e6:.2f}", f"{one.recall:.4f}", f"{one.single_us:.0f}")
        for one in manifest.index.trials
    ]
    table = _table(("", "valid MRR"), rows, "What storing the numbers costs.") if rows else ""
    tried = _table(("index", "MB", "recall@10", "µs a query"), trials) if trials else ""
    return (
        "<h2>Size and accuracy</h2>"
        + _by_precision(precisions)
        + bars(shares, "Share of the bundle's bytes.")
        + table
        + tried
    )


def _by_precision(precisions: Sequence[PrecisionQuality]) -> str:
    if not precisions:
        return ""
    rows = [(f"{one.name}, {one.bytes / 1e6:.2f} MB", one.mrr) for one in precisions]
    text = "Test MRR by how the table of entities is stored: as it is, then coarser (mulde shrink)."
    return bars(rows, text)


def _examples(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    return f"<h2>{title}</h2>" + "".join(map(_example, examples))


def _example(one: Example) -> str:
    listed = "".join(f"<li>{_text(sentence)}</li>" for sentence in one.sentences)
    first = f"; ranked first: {_text(one.first)}" if one.first else ""
    return (
        f'<div class="example"><h3>{_text(one.question)}</h3>'
        f"<p>Right: {_text(one.answer)}, rank {one.rank:g}{first}</p><ul>{listed}</ul></div>"
    )


def _graph(graph_lines: Sequence[str], manifest: Manifest) -> str:
    counts = [(split, f"{count:,}") for split, count in manifest.dataset.counts.items()]
    listed = "".join(f"<li>{_text(line)}</li>" for line in graph_lines)
    found = f"<ul>{listed}</ul>" if listed else ""
    return "<h2>The graph</h2>" + _table(("split", "facts"), counts) + found
