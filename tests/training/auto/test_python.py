"""``mulde.fit``: from a DataFrame to answers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import mulde


def test_a_data_frame_becomes_a_model_that_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"e{i:02}", "next", f"e{(i + 1) % 30:02}") for i in range(30)]
    rows += [(f"e{i:02}", "skip", f"e{(i + 2) % 30:02}") for i in range(30)]
    rows += [(f"e{i:02}", "jump", f"e{(i + 3) % 30:02}") for i in range(30)]
    facts = pd.DataFrame(rows, columns=["subject", "predicate", "object"])
    model = mulde.fit(facts, out=tmp_path / "ring", run=tmp_path / "run", minutes=0.05)
    answers = model.predict_tails("e00", "next", k=5, exclude_known=False)
    assert len(answers) == 5
    assert answers["probability"].between(0, 1).all()
    assert "90 facts" in capsys.readouterr().err
