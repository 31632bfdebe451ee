"""``mulde calibrate``: probabilities and figures of quality of a bundle, measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mulde.commands.asking.client_options import shown
from mulde.graph.graph import read_folder

_CHECKS = {
    "calibration_error_new_facts": "calibration error of the probability, new facts",
    "calibration_error_all_facts": "calibration error of the probability, known facts kept",
    "calibration_error_triples": "calibration error of the plausibility",
    "plausibility_auc": "AUC of the plausibility",
}


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(calibrate)


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[Path, typer.Option(help="Graph folder that it was trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")],
    choose_priors: Annotated[
        bool,
        typer.Option(help="Choose relation priors and self-loop exclusion again on valid."),
    ] = False,
) -> None:
    """Fit a bundle's probabilities again, for one that an older release wrote.

    Needs no checkpoint (but the training extra). Table and encoder stay as they are, but for the
    numbers of the relation priors with --choose-priors; the card says what was chosen.
    """
    from training.export.calibration.recalibrate import recalibrate

    console = Console(stderr=True)
    manifest = recalibrate(
        bundle,
        out,
        read_folder(data),
        priors=choose_priors,
        report=lambda step: console.print(step, highlight=False),
    )
    table = Table("measured on test", "", title=shown(str(out)))
    for name, text in _CHECKS.items():
        table.add_row(text, f"{manifest.checks[name]:.4f}")
    table.add_row("MRR, scorer alone", f"{manifest.scorer_quality['test']['total']['mrr']:.4f}")
    table.add_row("MRR, new facts", f"{manifest.quality['test']['total']['mrr']:.4f}")
    Console().print(table)
