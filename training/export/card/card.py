"""``card.md``: what a bundle is, how good, how it was made, and what rounding cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mulde.bundle.manifest import Manifest, describe
from mulde.storage.printable import markdown
from training.export.card.paper_differences import Departure
from training.hardware import GPU
from training.scorers import HYPERBOLIC


@dataclass(frozen=True)
class Provenance:
    """What the manifest does not say about how a model came to be.

    Attributes:
        trained_on: machine of the training; None where it was not recorded.
        exported_on: machine of the export.
        seconds: of training up to this checkpoint, teachers not included.
        epoch: of the checkpoint.
        seed: of the training.
        teachers: names of those that taught it; empty for a direct training.
        notes: of the recipe.
        licence: a sentence about the data's licence.
        departures: settings that differ from the paper's.
        self_loops: relations that keep the query's entity among their answers; None: all.
        priors: the slots of the relation priors, as (?, relation, ..) or (.., relation, ?).
        update: what an update changed and how it trained; empty for a first version.
    """

    trained_on: str | None
    exported_on: str
    seconds: float
    epoch: int
    seed: int
    teachers: tuple[str, ...]
    notes: str
    licence: str
    departures: tuple[Departure, ...] = ()
    self_loops: tuple[str, ...] | None = None
    priors: tuple[str, ...] = ()
    update: Mapping[str, Any] = field(default_factory=dict)


def card(manifest: Manifest, provenance: Provenance) -> str:
    """Text of ``card.md``."""
    parts = [
        f"# {manifest.name}, version {manifest.version}",
        _summary(manifest),
        "## Quality",
        quality(manifest),
        *_self_loops(manifest, provenance),
        *_priors(manifest, provenance),
        *_text(manifest),
        "## What rounding cost",
        _rounding(manifest),
        *_index(manifest),
        "## Probabilities",
        probabilities(manifest),
        "## How it was made",
        _making(manifest, provenance),
        *_update(provenance.update),
        *_departures(provenance),
        "## Data",
        _data(manifest, provenance),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: Manifest) -> str:
    kind = "linear in the answer's row"
    if manifest.score.kind == "distance":
        kind = "minus the squared distance"
    space = f", curvature -{manifest.score.curvature:.4g}" if manifest.family in HYPERBOLIC else ""
    graph = markdown(manifest.dataset.name)
    return (
        f"A {manifest.family} model of {manifest.dimension} dimensions on {graph}: "
        f"{manifest.entities:,} entities, {manifest.relations:,} relations, score {kind}{space}; "
        f"table in {manifest.precision}, {manifest.width} numbers a row."
    )


def quality(manifest: Manifest) -> str:
    """The figures of the scorer alone, comparable with papers, and those of ranking new facts."""
    text = (
        "Filtered by train, valid and test; both directions, all triples, realistic ties; measured "
        "on the table as stored, through the engine that serves it. *Scorer alone* ranks every "
        "entity by the score and compares with published figures. *New facts* is what is served by "
        "default: self-loops left out, relation priors added."
    )
    names = " | ".join(("MRR", "Hits@1", "Hits@3", "Hits@10"))
    lines = [
        f"| split | direction | scorer alone: {names} | new facts: {names} |",
        "|---" * 10 + "|",
    ]
    for split, figures in manifest.quality.items():
        alone = manifest.scorer_quality.get(split, {})
        lines += [
            f"| {split} | {direction} | {_figures(alone.get(direction))} | {_figures(row)} |"
            for direction, row in figures.items()
        ]
    return "\n".join([text, "", *lines])


def _figures(row: dict[str, float] | None) -> str:
    keys = ("mrr", "hits@1", "hits@3", "hits@10")
    return " | ".join("" if row is None else f"{row[key]:.4f}" for key in keys)


def _self_loops(manifest: Manifest, provenance: Provenance) -> list[str]:
    """The self-loop rule and what it changes; nothing where all relations keep self-loops."""
    if provenance.self_loops is None or "mrr_with_self_loops" not in manifest.checks:
        return []
    return [self_loops(manifest, provenance.self_loops, manifest.checks["mrr_trained"])]


def self_loops(manifest: Manifest, relations: Iterable[str], mrr: float) -> str:
    """The self-loop rule, the relations without it, and what it does for valid MRR."""
    named = ", ".join(map(markdown, relations))
    kept = f" Relations that keep it: {named}." if named else ""
    return (
        "For relations with few or no self-loops in train, the query's entity is left out of its "
        f"own answers. Without this rule valid MRR would be "
        f"{manifest.checks['mrr_with_self_loops']:.4f} instead of {mrr:.4f}.{kept}"
    )


def _priors(manifest: Manifest, provenance: Provenance) -> list[str]:
    """The relation priors and what they change; nothing where there are none."""
    return [priors(manifest, provenance.priors)] if provenance.priors else []


def priors(manifest: Manifest, slots: Iterable[str]) -> str:
    """The relation priors and what they do for valid MRR."""
    named = " and ".join(map(markdown, slots))
    return (
        "Relation priors: the ranking also uses whether train gives the candidate as an answer to "
        f"{named}, with a weight for each relation that was chosen on valid. Without them valid "
        f"MRR would be {manifest.checks['mrr_without_priors']:.4f}."
    )


def _text(manifest: Manifest) -> list[str]:
    """The text columns and what they change; nothing where there are none."""
    if not manifest.text:
        return []
    return [
        f"With text: an entity has {manifest.dimension} numbers of the graph and {manifest.text} "
        "that are made of its label and description alone, with a weight for each relation that "
        "was chosen on valid. Compare these figures with models that read text; without the text "
        f"columns valid MRR would be {manifest.checks['mrr_without_text']:.4f}."
    ]


def _rounding(manifest: Manifest) -> str:
    checks = manifest.checks
    return (
        f"Valid MRR is {checks['mrr_trained']:.5f} as trained, {checks['mrr_rounded']:.5f} after "
        f"rounding to {manifest.precision} (in double precision), and "
        f"{checks['mrr_served']:.5f} as served. The ONNX encoder differs from the trained one by "
        f"at most {checks['onnx_error']:.1e} of a query's size; the index finds "
        f"{checks['recall@10']:.4f} of the exhaustive top 10."
    )


def _index(manifest: Manifest) -> list[str]:
    """How the index was chosen; nothing where there was no choice."""
    if not manifest.index.trials:
        return []
    lines = [
        "| index | table and codes | more in each process | recall@10 | certain | one query | "
        "one, exact | batch of 256, exact |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {describe(trial)} | {trial.bytes / 1e6:.2f} MB "
            f"| {trial.private_bytes / 1e6:.2f} MB "
            f"| {trial.recall:.4f} | {trial.certified:.3f} | {trial.single_us:.0f} µs | "
            f"{trial.exact_us:.0f} µs | {trial.batch_us:.1f} µs a query |"
            for trial in manifest.index.trials
        ),
    ]
    text = (
        f"It is of kind {manifest.index.kind}. What was tried, on the machine of the export; "
        "times without the encoder, certain means certified without asking for exactness."
    )
    return ["## The index", text, "\n".join(lines)]


def probabilities(manifest: Manifest) -> str:
    """What the two calibrated numbers mean, and how well they hold."""
    checks = manifest.checks
    lines = [
        "The probability of a ranked candidate is the chance that it is a held-out fact of the "
        "query. The plausibility of a triple is the chance that it is true rather than the same "
        "triple with another tail of its relation, if half of such triples are true. Both are "
        "fitted on valid alone (docs/explanation/what-a-probability-means.md).",
    ]
    if "plausibility_auc" in checks:
        lines += [
            "",
            "| number, measured on test | expected calibration error |",
            "|---|---|",
            f"| probability, new facts | {checks['calibration_error_new_facts']:.4f} |",
            f"| probability, known facts kept | {checks['calibration_error_all_facts']:.4f} |",
            f"| plausibility | {checks['calibration_error_triples']:.4f} |",
            "",
            f"AUC of the plausibility: {checks['plausibility_auc']:.4f}.",
        ]
    return "\n".join(lines)


def _making(manifest: Manifest, provenance: Provenance) -> str:
    taught = ", ".join(map(markdown, provenance.teachers)) or "none, trained directly"
    trained_on = markdown(provenance.trained_on or "a machine that was not recorded")
    recipe = f"recipe {markdown(manifest.recipe.name)} ({manifest.recipe.sha256[:12]})"
    lines = [
        f"- {recipe}, seed {provenance.seed}",
        f"- teachers: {taught}",
        f"- {provenance.seconds:,.0f} s up to epoch {provenance.epoch}, the best of its "
        f"validations, on {trained_on}; teachers not included",
        f"- exported on {markdown(provenance.exported_on)}, {manifest.created}",
    ]
    if provenance.notes:
        lines.append(f"- {markdown(provenance.notes)}")
    if f", {GPU} " not in trained_on:
        lines.append("- not tested on a GPU")
    libraries = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
    lines.append(f"- {markdown(libraries)}")
    return "\n".join(lines)


def _update(update: Mapping[str, Any]) -> list[str]:
    """What an update changed; nothing for a first version."""
    if not update:
        return []
    lines = [
        f"- {update['facts_added']:,} train facts added, {update['facts_removed']:,} removed",
        f"- {update['new_entities']:,} new entities, {update['new_relations']:,} new relations",
        f"- {update['epochs']} epochs of the changed queries and {update['replay']:.0%} of the "
        "others, drawn anew in each epoch",
    ]
    if "test_mrr" in update:
        lines.append(
            f"- the version before had MRR {update['test_mrr']:.4f} on its own test facts, as new "
            "facts; figures of two versions compare only on the same facts"
        )
    before = f" {markdown(str(update['version']))}" if "version" in update else ""
    return [f"## What changed since version{before}", "\n".join(lines)]


def _departures(provenance: Provenance) -> list[str]:
    """The settings that differ from the paper's."""
    if not provenance.departures:
        return []
    lines = ["| setting | the paper's | here |", "|---|---|---|"]
    for one in provenance.departures:
        lines.append("| " + " | ".join(map(markdown, (one.key, one.paper, one.here))) + " |")
    text = (
        "docs/explanation/method.md says what always differs, docs/explanation/experiments.md what "
        "was tried."
    )
    return ["## What differs from the paper", text, "\n".join(lines)]


def _data(manifest: Manifest, provenance: Provenance) -> str:
    counts = ", ".join(f"{split} {n:,}" for split, n in manifest.dataset.counts.items())
    facts = "carries its known facts" if "known.bin" in manifest.files else "carries no facts"
    return (
        f"{markdown(manifest.dataset.name)} ({manifest.dataset.sha256[:12]}): {counts}. "
        f"The bundle {facts}. {markdown(provenance.licence)}"
    )
