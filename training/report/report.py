"""From a bundle, its graph and its run to ``report.html``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mulde.bundle.bundle import open_bundle
from mulde.errors import BundleError, Unsupported
from mulde.graph.facts import Facts
from mulde.graph.graph import Graph, read_folder
from mulde.graph.report import Counts, report_on
from mulde.storage.atomic import new_file
from serving.local.client import LocalClient
from training.report.examples import pick_examples
from training.report.measure import measure_models, measure_test, read_curves
from training.report.page import ReportContent, render
from training.report.precisions import measure_precisions

Report = Callable[[str], None]

_NO_DATA = "Quality by relation and degree, calibration diagrams and examples need --data."
_NO_RUN = "Training curves and what each teacher is good at need --run, the run's folder."
_NO_TRIPLES = "Examples were left out, so that the page lists no triples of the graph."


def write_report(
    bundle: Path,
    out: Path,
    *,
    data: Path | None = None,
    run: Path | None = None,
    examples: bool = True,
    report: Report = lambda step: None,
) -> None:
    """Write one self-contained HTML page on a bundle; it says what it could not show.

    Args:
        bundle: its folder.
        out: the page; replaced where it exists.
        data: graph folder that it was trained on.
        run: folder of checkpoints and records.
        examples: show test questions with their explanations.
        report: is told what is being done.

    Raises:
        BundleError: if the bundle cannot be opened, or ``data`` is another graph.
    """
    content = ReportContent(open_bundle(bundle).manifest)
    graph = None if data is None else _graph_of(bundle, content, data)
    if graph is not None:
        content.graph_lines = _graph_lines(graph)
        _measure(bundle, content, graph, examples, report)
    else:
        content.missing.append(_NO_DATA)
    if run is not None and (run / "recipe.toml").is_file():
        content.curves = read_curves(run)
        if graph is not None:
            content.models, content.by_model = measure_models(run, graph, report)
    else:
        content.missing.append(_NO_RUN)
    with new_file(out) as draft:
        draft.write_text(render(content), encoding="utf-8")


def _graph_of(bundle: Path, content: ReportContent, data: Path) -> Graph:
    graph = read_folder(data)
    if graph.digest != content.manifest.dataset.sha256:
        raise BundleError(bundle, f"expected a bundle of {graph.name}, found one of another graph")
    return graph


def _measure(
    bundle: Path, content: ReportContent, graph: Graph, examples: bool, report: Report
) -> None:
    """Measure test and pick examples, with one engine."""
    client = LocalClient(bundle)
    model = client.registry.snapshot.pick("", "")
    content.quality = measure_test(model.engine, graph, report)
    content.precisions = measure_precisions(bundle, graph, report)
    if not examples:
        content.missing.append(_NO_TRIPLES)
        return
    report("explaining examples")
    try:
        content.right, content.wrong = pick_examples(client, graph, content.quality)
    except Unsupported:
        content.missing.append("Examples need known facts in the bundle (mulde rules --facts).")


def _graph_lines(graph: Graph) -> list[str]:
    """The lines of the graph's own report on train."""
    return report_on(Facts.of_train(graph), Counts(triples=len(graph.train))).text().splitlines()
