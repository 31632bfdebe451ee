"""A recipe: all settings that decide a trained model, as frozen dataclasses.

Each class documents its keys once; ``docs/reference/recipe-keys.md`` is generated from them.
``training.recipe_file`` reads and writes TOML.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from dataclasses import Field as Field_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

from mulde.errors import ConfigError
from training.scorers import BILINEAR, ScoreKind, ScorerName, Start

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Numbers are strict: "500" or true is no count. Tables are not, since TOML gives plain dicts.
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Whole = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Priors = Annotated[int, Field(ge=0, le=64, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
TABLE = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ScorerSettings:
    """A scorer, its size, its score and its initial values.

    Attributes:
        scorer: name of the score function.
        dimension: D, real numbers per entity; even.
        score: ``distance`` or ``linear`` for a hyperbolic scorer, ``bilinear`` for ComplEx and
            RESCAL. An index serves ``linear`` and ``bilinear`` exactly.
        spread: standard deviation of the initial values.
        rotations: initial rotations, ``uniform`` in (-1, 1) or ``normal`` with ``spread``.
    """

    __pydantic_config__ = TABLE

    scorer: ScorerName
    dimension: Annotated[int, Field(ge=2, le=1024, multiple_of=2, strict=True)]
    score: ScoreKind = "distance"
    spread: Positive = 1e-3
    rotations: Start = "uniform"

    def __post_init__(self) -> None:
        """Refuse a score that the scorer does not have."""
        bilinear = self.scorer in BILINEAR
        if not bilinear and self.score == "bilinear":
            raise ValueError(f'score "distance" or "linear" with {self.scorer}')
        if bilinear and self.score == "linear":
            raise ValueError(f'score "bilinear" with {self.scorer}')


@dataclass(frozen=True)
class Training:
    """How a model is fitted to hard labels.

    Attributes:
        epochs: passes over the distinct training queries.
        batch: queries per step.
        loss: ``bce`` over a target and shared negatives, or ``cross-entropy`` over all entities.
            An epoch of ``bce`` grows linearly with the graph, one of ``cross-entropy`` does not.
        penalty: weight of the scorer's own regulariser (N3 of ComplEx, DURA of RESCAL), per triple.
        negatives: uniform random entities that a batch shares.
        negative_weight: total weight of the negatives against a target's 1; absent: ``negatives``.
        adversarial_temperature: 0 weighs all negatives alike; above 0: self-adversarial weights.
        optimiser: the update rule.
        rate: learning rate after the warm-up.
        schedule: after the warm-up, a ``constant`` rate or a ``cosine`` to zero.
        warmup: share of all steps in which the rate rises linearly from zero.
        validate_every: epochs between validations; each also writes a checkpoint.
        precision: of the factors of the products of ``cross-entropy`` with all entities; all sums
            stay fp32. ``bf16`` is used where the processor or GPU multiplies it at a higher rate
            (x86 with avx512_bf16 or amx_bf16, CUDA), elsewhere it is fp32.
        partition: ``cross-entropy`` over ``all`` entities, or over the batch's targets and its
            ``negatives``, which stand for all others.
    """

    __pydantic_config__ = TABLE

    epochs: Count
    batch: Count = 500
    loss: Literal["bce", "cross-entropy"] = "bce"
    penalty: NotNegative = 0.0
    negatives: Count = 255
    negative_weight: Positive | None = None
    adversarial_temperature: NotNegative = 0.0
    optimiser: Literal["adam", "adagrad"] = "adam"
    rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Fraction = 0.0
    validate_every: Count = 5
    precision: Literal["fp32", "bf16"] = "fp32"
    partition: Literal["all", "negatives"] = "all"


@dataclass(frozen=True)
class Teacher(ScorerSettings):
    """A teacher: the keys of a model, and two of its own.

    Attributes:
        seed: of its initial values and batches.
        training: its own training; absent: ``teacher_training``.
    """

    __pydantic_config__ = TABLE

    seed: Whole = 0
    training: Training | None = None

    @property
    def model(self) -> ScorerSettings:
        """The model without its training."""
        return ScorerSettings(
            **{item.name: getattr(self, item.name) for item in fields(ScorerSettings)}
        )


@dataclass(frozen=True)
class Distillation:
    """How the Junior learns from its teachers (docs/explanation/method.md).

    Attributes:
        candidates: K, the entities whose scores the Junior compares with its teachers'.
        gamma: weight of the soft-label loss.
        temperature: T of the soft-label loss.
        scaling: train the Senior's relation-specific scaling W.
        attention: weigh the teachers by contrast attention.
        attention_period: epochs after which the attention temperature grows e-fold.
        choose: take the top K of the ``junior``, or of the ``teachers``' mean score.
        ask_every: 0 chooses candidates at every step; n chooses them for all queries every n
            epochs and keeps them.
        labels: the Senior's hard label within K, ``one-hot`` per triple or ``multi-hot``.
        weight: a query counts once per ``triple``, as in the paper, or once per ``query``.
        soft_over: the soft-label loss compares all ``candidates``, as in the paper, or those that
            are ``unanswered``: no target of the query in train.
        detach: treat the soft labels as constants, so that the soft-label loss does not train W.
    """

    __pydantic_config__ = TABLE

    candidates: Count = 500
    gamma: NotNegative = 0.1
    temperature: Positive = 1.0
    scaling: Flag = True
    attention: Flag = True
    attention_period: Positive = 5.0
    choose: Literal["junior", "teachers"] = "junior"
    ask_every: Whole = 0
    labels: Literal["one-hot", "multi-hot"] = "one-hot"
    weight: Literal["triple", "query"] = "triple"
    soft_over: Literal["candidates", "unanswered"] = "candidates"
    detach: Flag = True


@dataclass(frozen=True)
class Text:
    """How text columns are fitted (``training/text``).

    Attributes:
        columns: n, numbers of an entity that are made of its label and description.
        epochs: passes over the distinct training queries.
        batch: queries per step.
        negatives: random entities per step, beside the batch's own.
        rate: learning rate of Adam, down to zero on a cosine.
        dropout: share of the hidden numbers that a step leaves out.
    """

    __pydantic_config__ = TABLE

    columns: Annotated[int, Field(ge=1, le=128, strict=True)] = 32
    epochs: Count = 8
    batch: Count = 1024
    negatives: Count = 1536
    rate: Positive = 2e-3
    dropout: Fraction = 0.1


@dataclass(frozen=True)
class Recipe:
    """A whole run: teachers, Junior, distillation, and what is served of the Junior.

    Attributes:
        name: of the run's folder and of the record.
        data: default graph, a folder under ``data/``.
        junior: the model that is distilled and served.
        junior_training: of the Junior and of the baseline.
        teachers: models that are trained first; none: the Junior is trained directly.
        teacher_training: of each teacher that has no training of its own.
        distillation: how the Junior learns from its teachers.
        self_loops_below: a relation of whose train triples a smaller share are self-loops leaves
            the query's entity out of its answers; 0: all relations keep it, as in the paper.
            Decides what is served, not what is trained.
        relation_priors: how many relation priors the exporter may choose on valid
            (``training.export.calibration``); absent: 2, or 0 with a ``distance`` score.
            Decides what is served, not what is trained.
        text: numbers of an entity made of its text, beside the Junior's; absent: none.
        seed: of the Junior's and the baseline's initial values and batches.
        notes: a sentence for the card.
    """

    __pydantic_config__ = TABLE

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    data: str
    junior: ScorerSettings
    junior_training: Training
    teachers: tuple[Teacher, ...] = ()
    teacher_training: Training | None = None
    distillation: Distillation = field(default_factory=Distillation)
    self_loops_below: Fraction = 0.01
    relation_priors: Priors | None = None
    text: Text | None = None
    seed: Whole = 0
    notes: str = ""

    def __post_init__(self) -> None:
        """Check what spans several fields."""
        self._refuse_unused_precision()
        ask, validate = self.distillation.ask_every, self.junior_training.validate_every
        if ask and validate % ask:
            expected = f"a multiple of distillation.ask_every = {ask}, so that a run can resume"
            raise ConfigError("junior_training.validate_every", expected, validate)
        if len(set(self.teachers)) < len(self.teachers):
            twice = next(one for one in self.teachers if self.teachers.count(one) > 1)
            raise ConfigError("teachers", "teachers that differ, at least by seed", asdict(twice))
        if self.relation_priors and self.junior.score == "distance":
            expected = '0 with junior.score "distance"'
            raise ConfigError("relation_priors", expected, self.relation_priors)
        alone = any(teacher.training is None for teacher in self.teachers)
        if alone and self.teacher_training is None:
            expected = "a table, since a teacher has no training of its own"
            raise ConfigError("teacher_training", expected, None)

    def _refuse_unused_precision(self) -> None:
        taught = [(one, one.training or self.teacher_training) for one in self.teachers]
        for model, training in [(self.junior, self.junior_training), *taught]:
            if training is None or training.precision == "fp32":
                continue
            if training.loss == "bce" or model.score == "distance":
                expected = 'fp32, but for loss "cross-entropy" of a linear or bilinear score'
                raise ConfigError("precision", expected, training.precision)

    @property
    def most_priors(self) -> int:
        """How many relation priors the exporter may choose."""
        if self.relation_priors is None:
            return 0 if self.junior.score == "distance" else 2
        return self.relation_priors

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the result.

        The two settings of what is served enter under their first names and where they are not 0:
        so the digests in bundles and records that are older than the names stay valid.
        """
        apart = ("notes", "self_loops_below", "relation_priors")
        facts = {key: value for key, value in decisive(self).items() if key not in apart}
        served = {"loops_below": self.self_loops_below, "traits": self.most_priors}
        return digest_of(facts | {key: value for key, value in served.items() if value})


def decisive(settings: DataclassInstance) -> dict[str, Any]:
    """Return the values that differ from their defaults, as plain values, nested ones likewise.

    They identify a model: a key that is added later, with a default that changes nothing, keeps
    the identity of older checkpoints.
    """
    return {
        item.name: _plain(getattr(settings, item.name))
        for item in fields(settings)
        if not _is_default(item, getattr(settings, item.name))
    }


def digest_of(facts: object) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return decisive(value) if is_dataclass(value) and not isinstance(value, type) else value


def _is_default(item: Field_[Any], value: object) -> bool:
    if item.default_factory is not MISSING:
        return bool(value == item.default_factory())
    return item.default is not MISSING and bool(value == item.default)
