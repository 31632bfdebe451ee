"""Why triples are answers, as values and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mulde.client.failures import error_of
from mulde.errors import MuldeError
from mulde.v1 import prediction_pb2


@dataclass(frozen=True)
class NamedItem:
    """An entity or relation: its id, and its label, which is the id where it has none."""

    id: str
    label: str

    @classmethod
    def of(cls, message: prediction_pb2.NamedItem) -> NamedItem:
        """Unpack a message."""
        return cls(message.id, message.label)


@dataclass(frozen=True)
class KnownFact:
    """A fact that the model's graph holds; ``text`` shows it by its labels."""

    head: NamedItem
    relation: NamedItem
    tail: NamedItem

    @property
    def text(self) -> str:
        """Such as "lion → hypernym → big cat"."""
        return f"{self.head.label} → {self.relation.label} → {self.tail.label}"


@dataclass(frozen=True)
class SupportingPath:
    """Known facts that connect head and tail.

    Attributes:
        facts: one to three, from the head to the tail.
        confidence: of the entities that such a path reaches from heads of the relation, the share
            that train gives as tails.
        support: train facts of the relation that such a path connects.
        sampled: train facts of the relation that were looked at.
        walks: how many such paths connect head and tail; ``facts`` is one of them.
    """

    facts: tuple[KnownFact, ...]
    confidence: float
    support: int
    sampled: int
    walks: int

    @property
    def text(self) -> str:
        """The facts, and how often such a path means the relation."""
        facts = ", ".join(fact.text for fact in self.facts)
        more = "" if self.walks == 1 else f"; {self.walks:,} such paths here"
        share = f"right in {self.confidence:.0%} of cases"
        return f"{facts} ({share}, connects {self.support:,} of {self.sampled:,} facts{more})"


@dataclass(frozen=True)
class Explanation:
    """What speaks for and against one triple.

    Attributes:
        head, relation, tail: of the triple.
        tail_score, head_score: of tail and head as answers, by the scorer alone.
        tail_prior, head_prior: relation priors, added to them when new facts are ranked.
        plausibility: at a base rate of .5; None where the model has no calibration.
        known: whether the triple is a known fact; it is then explained as if it were not.
        known_tails, known_heads: other known facts (head, relation, ?) and (?, relation, tail).
        self_loop: head and tail are one entity of a relation without self-loops.
        paths: the most confident first.
        paths_cut: whether there were too many facts around to look at all walks.
        similar: known facts of the same relation with near entities, and their distances.
        supporting: known facts of head and tail that the score rests on, and their support.
    """

    head: NamedItem
    relation: NamedItem
    tail: NamedItem
    tail_score: float
    head_score: float
    tail_prior: float
    head_prior: float
    plausibility: float | None
    known: bool
    known_tails: int
    known_heads: int
    self_loop: bool
    paths: tuple[SupportingPath, ...]
    paths_cut: bool
    similar: tuple[tuple[KnownFact, float], ...]
    supporting: tuple[tuple[KnownFact, float], ...]

    @classmethod
    def of(cls, message: prediction_pb2.Explanation) -> Explanation:
        """Unpack a message."""
        relation = NamedItem.of(message.relation)
        head = NamedItem.of(message.head)
        return cls(
            head=head,
            relation=relation,
            tail=NamedItem.of(message.tail),
            tail_score=message.tail_score,
            head_score=message.head_score,
            tail_prior=message.tail_prior,
            head_prior=message.head_prior,
            plausibility=message.plausibility if message.HasField("plausibility") else None,
            known=message.known,
            known_tails=message.known_tails,
            known_heads=message.known_heads,
            self_loop=message.self_loop,
            paths=tuple(_path(head, one) for one in message.paths),
            paths_cut=message.paths_cut,
            similar=tuple(_similar(relation, one) for one in message.similar_facts),
            supporting=tuple(_supporting(one) for one in message.supporting_facts),
        )

    @property
    def text(self) -> str:
        """The triple by its labels."""
        return KnownFact(self.head, self.relation, self.tail).text

    def sentences(self) -> list[str]:
        """What speaks for and against the triple, one sentence each; the verdict first."""
        return [
            self._verdict(),
            *(f"Rests on: {fact.text} (support {share:.2f})." for fact, share in self.supporting),
            *(f"Path: {path.text}." for path in self.paths),
            *self._missing_paths(),
            *(f"Similar fact: {fact.text} (distance {far:.2f})." for fact, far in self.similar),
            *self._priors(),
        ]

    def _verdict(self) -> str:
        known = "it is a known fact" if self.known else "it is not a known fact"
        chance = "" if self.plausibility is None else f"plausibility {self.plausibility:.0%}, "
        scores = f"score {self.tail_score:.2f} for the tail, {self.head_score:.2f} for the head"
        loop = "; the relation has no self-loops" if self.self_loop else ""
        return f"{self.text}: {chance}{scores}; {known}{loop}."

    def _missing_paths(self) -> list[str]:
        if self.paths_cut:
            return ["There are more walks between head and tail than are looked at."]
        return [] if self.paths else ["No path of known facts supports it."]

    def _priors(self) -> list[str]:
        head, relation, tail = self.head.label, self.relation.label, self.tail.label
        slots = (
            (f"({head}, {relation}, ?)", self.known_tails, self.head_prior, head),
            (f"(?, {relation}, {tail})", self.known_heads, self.tail_prior, tail),
        )
        return [
            f"The graph holds {count:,} other facts {slot}; the prior of {name} is {prior:+.2f}."
            for slot, count, prior, name in slots
        ]


@dataclass(frozen=True)
class Explanations(Sequence[Explanation]):
    """Explanations of a batch of triples.

    Attributes:
        model: "name/version" that answered.
        has_rules: whether the bundle has rules; without them there are no paths.
        explained: one for each triple.
        errors: triple -> why it failed.
    """

    model: str
    has_rules: bool
    explained: tuple[Explanation, ...]
    errors: dict[int, MuldeError]

    @classmethod
    def of(cls, message: prediction_pb2.ExplainResponse) -> Explanations:
        """Unpack a response."""
        return cls(
            model=f"{message.model.name}/{message.model.version}",
            has_rules=message.has_rules,
            explained=tuple(Explanation.of(one) for one in message.explanations),
            errors={error.query: error_of(error.status) for error in message.errors},
        )

    def __len__(self) -> int:
        """How many triples."""
        return len(self.explained)

    def __getitem__(self, triple: int) -> Explanation:  # type: ignore[override]
        """The explanation of one triple.

        Raises:
            MuldeError: if that triple failed: why.
        """
        place = range(len(self))[triple]
        if place in self.errors:
            raise self.errors[place]
        return self.explained[place]

    def __iter__(self) -> Iterator[Explanation]:
        """The explanations in order; the first that failed raises."""
        return (self[place] for place in range(len(self)))


def _path(head: NamedItem, message: prediction_pb2.ExplanationPath) -> SupportingPath:
    facts, at = [], head
    for step in message.steps:
        relation, there = NamedItem.of(step.relation), NamedItem.of(step.entity)
        ends = (there, at) if step.backwards else (at, there)
        facts.append(KnownFact(ends[0], relation, ends[1]))
        at = there
    return SupportingPath(
        tuple(facts), message.confidence, message.support, message.sampled, message.walks
    )


def _similar(relation: NamedItem, message: prediction_pb2.SimilarFact) -> tuple[KnownFact, float]:
    fact = KnownFact(NamedItem.of(message.head), relation, NamedItem.of(message.tail))
    return fact, message.distance


def _supporting(message: prediction_pb2.SupportingFact) -> tuple[KnownFact, float]:
    parts = (NamedItem.of(one) for one in (message.head, message.relation, message.tail))
    return KnownFact(*parts), message.support
