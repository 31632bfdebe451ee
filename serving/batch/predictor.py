"""One shard of a batch job: names in, a part of the result out.

Shape letters: B questions of a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mulde.bundle.bundle import Bundle
from mulde.storage.atomic import replace_file
from mulde.typing import Rows
from serving.batch.completion import Ranked, candidates, probable
from serving.batch.formats import format_of
from serving.batch.job_state import Tally, draft_of, part_path, write_record
from serving.batch.questions import Questions
from serving.batch.records import Names, Records, Writer
from serving.batch.resolver import Resolver
from serving.batch.text_files import tab_separated
from serving.engine.engine import Engine
from serving.engine.results import Results

Asked = tuple[list[str], list[str], list[str]]
"""Heads, relations and tails of questions, [B] each."""

ANSWERS, SKIPPED = "answers", "skipped"

_ASKED_AT_ONCE = 1024
_COMPLETED_AT_ONCE = 256
_ANSWERS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class JobOptions:
    """What is wanted of each question.

    Attributes:
        k: most answers; 1 to E.
        include_known: keep known facts among the answers.
        exact: certify each answer.
        skip_unknown: pass over questions with an unknown name.
        min_probability: for a completion, the least probability of an answer; in [0, 1].
        shard: most questions of a shard, which an interrupt can lose in each process.
    """

    k: int = 10
    include_known: bool = False
    exact: bool = True
    skip_unknown: bool = False
    min_probability: float = 0.5
    shard: int = 8192

    @property
    def size(self) -> int:
        """Questions of a shard: so many that its answers fit into memory."""
        return max(1, min(self.shard, _ANSWERS_AT_ONCE // self.k))


@dataclass(frozen=True)
class Heads:
    """Questions of a completion: (entity, relation, ?).

    Attributes:
        first: number of the first question, from 1.
        relation: in [0, R).
        entities: int64 [B].
    """

    first: int
    relation: int
    entities: Rows

    def __len__(self) -> int:
        """B."""
        return len(self.entities)


class Predictor:
    """Answers shards, each into parts of its own in the folder of the job."""

    def __init__(
        self, bundle: Bundle, options: JobOptions, folder: Path, answers: Path, source: Path
    ) -> None:
        """Load the model.

        Args:
            bundle: opened.
            options: for every question.
            folder: of the job.
            answers: the final file, whose ending says how parts are written.
            source: the file of questions, for messages.
        """
        layout, entities = bundle.manifest.layout, bundle.manifest.entities
        # Above this, the table in bytes in each process would cost too much memory.
        large = (layout.dimension + 4) * entities > 1 << 28
        self._engine = Engine(bundle, threads=1, low_memory=large)
        self._bundle, self._options, self._folder = bundle, options, folder
        self._format, self._source = format_of(answers), source
        self._resolver = Resolver(bundle.vocabulary)

    def __call__(self, number: int, shard: Questions | Heads) -> Tally:
        """Answer a shard and record it.

        Raises:
            DatasetError: naming the first line with an unknown name, unless they are skipped.
        """
        path = part_path(self._folder, number, ANSWERS)
        draft = draft_of(path)
        writer = self._format.part(draft)
        try:
            if isinstance(shard, Heads):
                tally = self._complete(shard, writer)
            else:
                tally = self._predict(number, shard, writer)
        finally:
            writer.close()
        replace_file(draft, path)
        write_record(self._folder, number, tally)
        return tally

    def _predict(self, number: int, shard: Questions, writer: Writer) -> Tally:
        entities, relations = self._resolver.rows(shard)
        bad = np.flatnonzero((entities < 0) | (relations < 0))
        if bad.size:
            if not self._options.skip_unknown:
                raise self._resolver.unknown(self._source, shard, int(bad[0]))
            self._write_skipped(number, shard, bad)
        good = np.flatnonzero((entities >= 0) & (relations >= 0))
        relations = relations + shard.asks_head * self._bundle.manifest.relations
        tally = Tally(skipped=len(bad))
        step = max(1, min(_ASKED_AT_ONCE, _ANSWERS_AT_ONCE // self._options.k))
        for start in range(0, len(good), step):
            part = good[start : start + step]
            answers = self._ask(entities[part], relations[part])
            ranked = self._ranked(answers, relations[part])
            asked = _asked(shard, part)
            rows = entities[part], relations[part]
            writer.write(self._records(shard.first + part, asked, ranked, *rows))
            tally += Tally(len(part), len(ranked.rows), int(ranked.exact.sum()))
        return tally

    def _ask(self, entities: Rows, relations: Rows) -> Results:
        options = self._options
        known = not options.include_known
        return self._engine.predict(
            entities, relations, options.k, exclude_known=known, exact=options.exact
        )

    def _ranked(self, answers: Results, relations: Rows) -> Ranked:
        totals, curve = answers.totals, self._bundle.calibration
        probabilities = np.full(len(totals), np.nan)
        if curve is not None:
            probabilities = curve.probability(
                totals, relations[answers.owners], priors=not self._options.include_known
            )
        return Ranked.of(answers, probabilities)

    def _complete(self, shard: Heads, writer: Writer) -> Tally:
        options, vocabulary = self._options, self._bundle.vocabulary
        allow, tally = candidates(self._bundle, shard.relation, "tail"), Tally()
        relation = vocabulary.relations.ids[shard.relation]
        for start in range(0, len(shard), _COMPLETED_AT_ONCE):
            entities = shard.entities[start : start + _COMPLETED_AT_ONCE]
            least, exact = options.min_probability, options.exact
            ranked = probable(self._engine, entities, shard.relation, least, allow, exact=exact)
            heads, count = vocabulary.entities.ids.take(entities), len(entities)
            asked = heads, [relation] * count, ["?"] * count
            numbers = shard.first + start + np.arange(count)
            relations = np.full(count, shard.relation)
            writer.write(self._records(numbers, asked, ranked, entities, relations))
            tally += Tally(count, len(ranked.rows), int(ranked.exact.sum()))
        return tally

    def _records(
        self, numbers: Rows, asked: Asked, ranked: Ranked, entities: Rows, relations: Rows
    ) -> Records:
        """Answers to questions [B] with these numbers, names and rows; r + R asks for the head."""
        owners, vocabulary = ranked.owners, self._bundle.vocabulary
        head, relation, tail = (Names(owners, names) for names in asked)
        answers, places = np.unique(ranked.rows, return_inverse=True)
        forward = relations % self._bundle.manifest.relations
        names = [vocabulary.relations.ids[row] for row in forward.tolist()]
        return Records(
            query=numbers[owners],
            head=head,
            relation=relation,
            tail=tail,
            rank=ranked.ranks,
            answer=Names(places, vocabulary.entities.ids.take(answers)),
            label=Names(places, vocabulary.entities.labels.take(answers)),
            score=ranked.scores,
            prior=ranked.priors,
            probability=ranked.probabilities,
            exact=ranked.exact[owners],
            known=ranked.known,
            entity_id=Names(owners, vocabulary.entities.ids.take(entities)),
            relation_id=Names(owners, names),
            asks_head=(relations != forward)[owners],
        )

    def _write_skipped(self, number: int, shard: Questions, bad: Rows) -> None:
        path = part_path(self._folder, number, SKIPPED)
        names = np.array([shard.heads, shard.relations, shard.tails], dtype=object)[:, bad]
        reasons = [
            self._resolver.unknown(self._source, shard, place).problem for place in bad.tolist()
        ]
        draft = draft_of(path)
        lines = list(map(str, (shard.line + bad).tolist()))
        draft.write_bytes(tab_separated([lines, *names.tolist(), reasons]))
        replace_file(draft, path)


def _asked(shard: Questions, which: Rows) -> Asked:
    """Head, relation and tail of some questions; ``?`` is what they ask for."""
    heads, relations, tails = (
        [names[place] for place in which.tolist()]
        for names in (shard.heads, shard.relations, shard.tails)
    )
    for place, asks_head in enumerate(shard.asks_head[which].tolist()):
        (heads if asks_head else tails)[place] = "?"
    return heads, relations, tails
