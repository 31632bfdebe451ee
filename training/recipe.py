"""A recipe: everything that decides a trained model, read from TOML into frozen dataclasses.

An unknown key, a wrong type or a value outside its range is a ConfigError that names it.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from dataclasses import Field as Field_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mulde.errors import ConfigError
from training.scorers import BILINEAR, ScoreKind, ScorerName, Start

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Numbers are strict: "500" or true is no count. Tables are not, since TOML gives plain dicts.
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Whole = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
TABLE = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Model:
    """Which scorer, how large, how its score is formed and how it starts."""

    __pydantic_config__ = TABLE

    scorer: ScorerName
    dimension: Annotated[int, Field(ge=2, le=1024, multiple_of=2, strict=True)]
    score: ScoreKind = "distance"
    spread: Positive = 1e-3
    rotations: Start = "uniform"

    def __post_init__(self) -> None:
        """A bilinear scorer has that score alone, and no other has it."""
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
        loss: ``bce`` over a target and shared negatives, or ``cross-entropy`` over all entities,
            which takes no negatives.
        penalty: weight of the scorer's own regulariser (N3 of ComplEx, DURA of RESCAL), per triple.
        negatives: uniform random entities that a batch shares.
        negative_weight: total weight of the negatives against a target's 1; absent: ``negatives``.
        adversarial_temperature: 0 is uniform weights; else self-adversarial ones.
        mask_targets: leave known training targets out of the negatives.
        optimiser, rate: Adam or Adagrad and its learning rate.
        schedule: after the warm-up, ``constant`` or a ``cosine`` to zero.
        warmup: share of all steps in which the rate rises linearly from zero.
        average: decay per step of the averaged weights that are validated and kept; 0 is none.
        validate_every: epochs between validations; each also writes a checkpoint.
    """

    __pydantic_config__ = TABLE

    epochs: Count
    batch: Count = 500
    loss: Literal["bce", "cross-entropy"] = "bce"
    penalty: NotNegative = 0.0
    negatives: Count = 255
    negative_weight: Positive | None = None
    adversarial_temperature: NotNegative = 0.0
    mask_targets: Flag = False
    optimiser: Literal["adam", "adagrad"] = "adam"
    rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Fraction = 0.0
    average: Fraction = 0.0
    validate_every: Count = 5


@dataclass(frozen=True)
class Teacher(Model):
    """A teacher: a model, its own seed, and its own training where the shared one does not fit."""

    __pydantic_config__ = TABLE

    seed: Whole = 0
    training: Training | None = None

    @property
    def model(self) -> Model:
        """What is trained, without how."""
        return Model(**{item.name: getattr(self, item.name) for item in fields(Model)})


@dataclass(frozen=True)
class Distillation:
    """How the Junior asks and what it does with the answers (docs/explanation/method.md).

    Attributes:
        candidates: K, how many entities the Junior asks about.
        gamma: weight of the soft-label loss.
        temperature: T of the soft-label loss.
        scaling, attention: the Senior's two mechanisms; off for ablations.
        attention_period: epochs after which the attention temperature grows e-fold.
        choose: whose top K is asked about: ``junior``'s own, or ``teachers`` (fixed, by their
            mean score).
        ask_every: 0 asks at every step; n asks for all queries at once, every n epochs.
        labels: the Senior's hard label inside K: ``one-hot`` per triple, or ``multi-hot``.
        weight: a query counts once per ``triple``, as in the paper, or once per ``query``.
        soft_over: L_soft compares all K ``candidates``, as in the paper, or only those that are
            ``unanswered``: not among the query's targets in train, of which the hard labels speak
            and which teachers have learned by heart.
        detach: whether the soft labels are labels only, or L_soft also moves W.
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
class Paths:
    """What closed paths of train add to the Senior's opinion (``training/paths``).

    Attributes:
        sample: triples per direction that are looked at.
        longest: steps of a path, at most.
        most: paths kept per direction.
        weight, offset: a candidate with logit l has evidence ``weight max(0, l + offset)``.
    """

    __pydantic_config__ = TABLE

    sample: Count = 8000
    longest: Annotated[int, Field(ge=1, le=3, strict=True)] = 3
    most: Count = 150
    weight: Positive = 2.5
    offset: NotNegative = 7.0


@dataclass(frozen=True)
class Recipe:
    """A whole run: teachers, Junior, distillation. ``data`` is the default graph's name.

    ``loops_below`` decides what is served and not what is trained: in a relation of whose train
    triples a smaller share are loops, an entity is no answer to its own query (``self_loops``);
    0 leaves all of them in, as in the paper. ``traits``, likewise, is how many the exporter may
    choose (``training/export/train_priors.py``).
    ``notes`` and ``worth`` are for the card and decide nothing: ``worth`` tells by key, such as
    ``junior.score``, what a setting was measured to be worth against the paper's.
    """

    __pydantic_config__ = TABLE

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    data: str
    junior: Model
    junior_training: Training
    teachers: tuple[Teacher, ...] = ()
    teacher_training: Training | None = None
    distillation: Distillation = field(default_factory=Distillation)
    paths: Paths | None = None
    loops_below: Fraction = 0.0
    traits: Annotated[int, Field(ge=0, le=64, strict=True)] = 0
    seed: Whole = 0
    notes: str = ""
    worth: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what spans several fields."""
        ask, validate = self.distillation.ask_every, self.junior_training.validate_every
        if ask and validate % ask:
            expected = f"a multiple of distillation.ask_every = {ask}, so that a run can resume"
            raise ConfigError("junior_training.validate_every", expected, validate)
        if len(set(self.teachers)) < len(self.teachers):
            twice = next(one for one in self.teachers if self.teachers.count(one) > 1)
            raise ConfigError("teachers", "teachers that differ, at least by seed", asdict(twice))
        if self.traits and self.junior.score == "distance":
            raise ConfigError("traits", 'none with junior.score "distance"', self.traits)
        alone = any(teacher.training is None for teacher in self.teachers)
        if alone and self.teacher_training is None:
            expected = "a table, since a teacher has no training of its own"
            raise ConfigError("teacher_training", expected, None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint stores them."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the result; what is told of it does not."""
        told = ("notes", "worth")
        return digest_of({key: v for key, v in decisive(self).items() if key not in told})


def decisive(settings: DataclassInstance) -> dict[str, Any]:
    """The values that differ from their defaults, as plain values, nested ones likewise.

    They identify a model: a setting that is added later, with a default that changes nothing,
    leaves the identity of older checkpoints as it is.
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


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Check plain values against the recipe's types.

    Raises:
        ConfigError: naming the key, what was expected and what was found.
    """
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.where}", error.expected, error.found) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        found = None if first["type"] == "missing" else first["input"]
        raise ConfigError(f"{where}: {key}", _expected(first), found) from error


def _expected(refusal: ErrorDetails) -> str:
    """What pydantic wanted, as the end of "expected ..."."""
    match refusal["type"]:
        case "missing":
            return "a value, since it has no default"
        case "unexpected_keyword_argument":
            return "only keys of the recipe"
        case "dataclass_type":
            return "a table"
        case "tuple_type":
            return "an array"
        case "string_pattern_mismatch":
            return f"text that matches {refusal['ctx']['pattern']}"
        case "value_error":
            return str(refusal["ctx"]["error"])
    return refusal["msg"].removeprefix("Input should be ")


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe file.

    Raises:
        ConfigError: if it is missing, is not TOML, or does not fit (see ``parse_recipe``).
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), "a readable TOML recipe", str(error)) from error
    return parse_recipe(values, str(path))
