"""A trained model in Python: questions in, DataFrames out.

    model = mulde.load("bundles/own")
    model.predict_tails("Metallica", "genre")

The same engine answers as in the server (``LocalClient``).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mulde.client.answers import Answers
from mulde.client.explanations import Explanations
from mulde.client.keywords import Names
from mulde.errors import BundleError
from mulde.storage.atomic import new_folder, publish
from serving.local.client import LocalClient

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = {
    "scores": "score",
    "priors": "prior",
    "probabilities": "probability",
    "known": "known",
}
"""Arrays of answers -> columns of a frame."""


class LocalModel:
    """A bundle, opened and verified.

    Attributes:
        path: the bundle's folder.
        client: the typed client over it: arrays instead of DataFrames.
    """

    def __init__(self, path: Path | str, *, low_memory: bool = False) -> None:
        """Open a bundle.

        Raises:
            BundleError: if it is missing or damaged.
        """
        self.path = Path(path)
        self.client = LocalClient(self.path, low_memory=low_memory)

    def __repr__(self) -> str:
        """Name, size and quality."""
        manifest = self.bundle.manifest
        quality = manifest.quality.get("test", {}).get("total", {})
        mrr = f", test MRR {quality['mrr']:.3f}" if quality else ""
        size = f"{manifest.entities:,} entities, {manifest.relations:,} relations"
        return f"<mulde.LocalModel {manifest.name}/{manifest.version}: {size}{mrr}>"

    @property
    def bundle(self) -> Any:
        """The opened bundle: manifest, vocabulary, known facts."""
        return self.client.registry.snapshot.pick("", "").bundle

    def predict_tails(self, heads: Names, relations: Names, **given: Any) -> DataFrame:
        """Return the best tails of (head, relation, ?), one row for each answer.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            **given: ``k``, ``exclude_known``, ``allow``, ``deny``, ``types``, ``exact`` and others
                of ``mulde.client.keywords.PredictionKeywords``.

        Raises:
            MuldeError: the first query's that failed, such as an unknown entity.
        """
        answers = self.client.predict_tails(heads, relations, **given)
        return _frame(answers, {"head": heads, "relation": relations}, "tail")

    def predict_heads(self, relations: Names, tails: Names, **given: Any) -> DataFrame:
        """Return the best heads of (?, relation, tail); see ``predict_tails``."""
        answers = self.client.predict_heads(relations, tails, **given)
        return _frame(answers, {"relation": relations, "tail": tails}, "head")

    def predict_relations(self, heads: Names, tails: Names, **given: Any) -> DataFrame:
        """Return the best relations of (head, ?, tail); see ``predict_tails``."""
        answers = self.client.predict_relations(heads, tails, **given)
        return _frame(answers, {"head": heads, "tail": tails}, "relation")

    def similar(self, entities: Names, **given: Any) -> DataFrame:
        """Return the nearest entities; see ``predict_tails``."""
        answers = self.client.similar(entities, **given)
        return _frame(answers, {"entity": entities}, "similar")

    def score(self, heads: Names, relations: Names, tails: Names, **given: Any) -> DataFrame:
        """Return one row for each triple: score, calibrated number, whether it is known.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            tails: likewise.
            **given: ``ranks=True`` adds filtered ranks.

        Raises:
            MuldeError: the first triple's that failed.
        """
        from pandas import DataFrame

        scores = self.client.score(heads, relations, tails, **given)
        for error in scores.errors.values():
            raise error
        columns = {"head": heads, "relation": relations, "tail": tails}
        frame = DataFrame({name: _spread(part, len(scores)) for name, part in columns.items()})
        for name in vars(scores):
            values = getattr(scores, name)
            if isinstance(values, np.ndarray) and len(values) == len(scores):
                frame[name] = values
        return frame

    def explain(self, heads: Names, relations: Names, tails: Names, **given: Any) -> Explanations:
        """Return what speaks for and against triples; ``.sentences()`` says it in words.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            tails: likewise.
            **given: ``paths`` and ``similar``, how many of each.

        Raises:
            Unsupported: if the bundle has no known facts.
        """
        return self.client.explain(heads, relations, tails, **given)

    def search(self, text: str, count: int = 10) -> DataFrame:
        """Return entities whose label or id begins with, or is spelled nearly like, the text."""
        from pandas import DataFrame

        found = self.client.search(text, page_size=count)[0]
        return DataFrame(found, columns=["id", "label"])

    def relations(self) -> DataFrame:
        """Return ids and labels of all relations."""
        from pandas import DataFrame

        return DataFrame(list(self.client.relations()), columns=["id", "label"])

    def vectors(self) -> DataFrame:
        """Return the coordinates of every entity, one row each, indexed by id."""
        from pandas import DataFrame

        model = self.client.registry.snapshot.pick("", "")
        bundle, layout = model.bundle, model.bundle.manifest.layout
        rows = np.arange(bundle.manifest.entities)
        table = model.engine.loaded.table.rows(rows)[:, layout.spatial]
        return DataFrame(table, index=list(bundle.vocabulary.entities.ids))

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Copy the bundle, whole or not at all, and return the new folder.

        Raises:
            BundleError: if something is there and may not be replaced.
        """
        target = Path(path)
        try:
            with new_folder(target) as draft:
                shutil.copytree(self.path, draft, dirs_exist_ok=True)
                publish(draft, target, overwrite=overwrite)
        except FileExistsError as error:
            raise BundleError(target, "exists; overwrite=True replaces it") from error
        return target


def _frame(answers: Answers, asked: dict[str, Names], answer: str) -> DataFrame:
    """One row for each answer, the query's columns first."""
    from pandas import DataFrame

    for error in answers.errors.values():
        raise error
    counts = np.diff(answers.offsets)
    owners = np.repeat(np.arange(len(answers)), counts)
    frame = DataFrame(
        {
            name: np.array(_spread(part, len(answers)), object)[owners]
            for name, part in asked.items()
        }
    )
    frame["rank"] = np.arange(len(owners)) - answers.offsets[owners] + 1
    frame[answer] = answers.ids
    frame["label"] = answers.labels
    for name, short in _COLUMNS.items():
        values = getattr(answers, name)
        if values is not None:
            frame[short] = values
    frame["exact"] = answers.exact[owners]
    return frame


def _spread(names: Names, count: int) -> Sequence[str]:
    """One name for each query."""
    return [names] * count if isinstance(names, str) else list(names)
