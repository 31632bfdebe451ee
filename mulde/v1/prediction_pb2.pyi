from mulde.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlacementMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACEMENT_METHOD_UNSPECIFIED: _ClassVar[PlacementMethod]
    PLACEMENT_METHOD_FITTED: _ClassVar[PlacementMethod]
    PLACEMENT_METHOD_QUERY_MEAN: _ClassVar[PlacementMethod]
PLACEMENT_METHOD_UNSPECIFIED: PlacementMethod
PLACEMENT_METHOD_FITTED: PlacementMethod
PLACEMENT_METHOD_QUERY_MEAN: PlacementMethod

class PredictOptions(_message.Message):
    __slots__ = ("k", "exclude_known", "score_threshold", "probability_threshold", "exact", "view", "plausibility")
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_KNOWN_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBILITY_FIELD_NUMBER: _ClassVar[int]
    k: int
    exclude_known: bool
    score_threshold: float
    probability_threshold: float
    exact: bool
    view: _common_pb2.NameView
    plausibility: bool
    def __init__(self, k: _Optional[int] = ..., exclude_known: bool = ..., score_threshold: _Optional[float] = ..., probability_threshold: _Optional[float] = ..., exact: bool = ..., view: _Optional[_Union[_common_pb2.NameView, str]] = ..., plausibility: bool = ...) -> None: ...

class ContextFact(_message.Message):
    __slots__ = ("head", "relation", "tail")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    head: str
    relation: str
    tail: str
    def __init__(self, head: _Optional[str] = ..., relation: _Optional[str] = ..., tail: _Optional[str] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("entity", "method", "facts")
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    entity: str
    method: PlacementMethod
    facts: int
    def __init__(self, entity: _Optional[str] = ..., method: _Optional[_Union[PlacementMethod, str]] = ..., facts: _Optional[int] = ...) -> None: ...

class PredictTailsRequest(_message.Message):
    __slots__ = ("model", "heads", "relations", "filter", "options", "context")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    heads: _containers.RepeatedScalarFieldContainer[str]
    relations: _containers.RepeatedScalarFieldContainer[str]
    filter: _common_pb2.CandidateFilter
    options: PredictOptions
    context: _containers.RepeatedCompositeFieldContainer[ContextFact]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., heads: _Optional[_Iterable[str]] = ..., relations: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_common_pb2.CandidateFilter, _Mapping]] = ..., options: _Optional[_Union[PredictOptions, _Mapping]] = ..., context: _Optional[_Iterable[_Union[ContextFact, _Mapping]]] = ...) -> None: ...

class PredictTailsResponse(_message.Message):
    __slots__ = ("model", "answers", "placements")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    answers: _common_pb2.Answers
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., answers: _Optional[_Union[_common_pb2.Answers, _Mapping]] = ..., placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class PredictHeadsRequest(_message.Message):
    __slots__ = ("model", "relations", "tails", "filter", "options", "context")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    relations: _containers.RepeatedScalarFieldContainer[str]
    tails: _containers.RepeatedScalarFieldContainer[str]
    filter: _common_pb2.CandidateFilter
    options: PredictOptions
    context: _containers.RepeatedCompositeFieldContainer[ContextFact]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., relations: _Optional[_Iterable[str]] = ..., tails: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_common_pb2.CandidateFilter, _Mapping]] = ..., options: _Optional[_Union[PredictOptions, _Mapping]] = ..., context: _Optional[_Iterable[_Union[ContextFact, _Mapping]]] = ...) -> None: ...

class PredictHeadsResponse(_message.Message):
    __slots__ = ("model", "answers", "placements")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    answers: _common_pb2.Answers
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., answers: _Optional[_Union[_common_pb2.Answers, _Mapping]] = ..., placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class PredictRelationsRequest(_message.Message):
    __slots__ = ("model", "heads", "tails", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    heads: _containers.RepeatedScalarFieldContainer[str]
    tails: _containers.RepeatedScalarFieldContainer[str]
    options: PredictOptions
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., heads: _Optional[_Iterable[str]] = ..., tails: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[PredictOptions, _Mapping]] = ...) -> None: ...

class PredictRelationsResponse(_message.Message):
    __slots__ = ("model", "answers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    answers: _common_pb2.Answers
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., answers: _Optional[_Union[_common_pb2.Answers, _Mapping]] = ...) -> None: ...

class ScoreTriplesRequest(_message.Message):
    __slots__ = ("model", "heads", "relations", "tails", "ranks", "base_rate", "context")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    BASE_RATE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    heads: _containers.RepeatedScalarFieldContainer[str]
    relations: _containers.RepeatedScalarFieldContainer[str]
    tails: _containers.RepeatedScalarFieldContainer[str]
    ranks: bool
    base_rate: float
    context: _containers.RepeatedCompositeFieldContainer[ContextFact]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., heads: _Optional[_Iterable[str]] = ..., relations: _Optional[_Iterable[str]] = ..., tails: _Optional[_Iterable[str]] = ..., ranks: bool = ..., base_rate: _Optional[float] = ..., context: _Optional[_Iterable[_Union[ContextFact, _Mapping]]] = ...) -> None: ...

class ScoreTriplesResponse(_message.Message):
    __slots__ = ("model", "codes", "errors", "scores", "tail_scores", "head_scores", "plausibilities", "known", "known_facts", "tail_ranks", "head_ranks", "base_rate", "self_loops", "placements")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    TAIL_SCORES_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCORES_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBILITIES_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FACTS_FIELD_NUMBER: _ClassVar[int]
    TAIL_RANKS_FIELD_NUMBER: _ClassVar[int]
    HEAD_RANKS_FIELD_NUMBER: _ClassVar[int]
    BASE_RATE_FIELD_NUMBER: _ClassVar[int]
    SELF_LOOPS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    codes: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[_common_pb2.QueryError]
    scores: _containers.RepeatedScalarFieldContainer[float]
    tail_scores: _containers.RepeatedScalarFieldContainer[float]
    head_scores: _containers.RepeatedScalarFieldContainer[float]
    plausibilities: _containers.RepeatedScalarFieldContainer[float]
    known: _containers.RepeatedScalarFieldContainer[bool]
    known_facts: _common_pb2.KnownFacts
    tail_ranks: _containers.RepeatedScalarFieldContainer[float]
    head_ranks: _containers.RepeatedScalarFieldContainer[float]
    base_rate: float
    self_loops: _containers.RepeatedScalarFieldContainer[bool]
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., codes: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[_common_pb2.QueryError, _Mapping]]] = ..., scores: _Optional[_Iterable[float]] = ..., tail_scores: _Optional[_Iterable[float]] = ..., head_scores: _Optional[_Iterable[float]] = ..., plausibilities: _Optional[_Iterable[float]] = ..., known: _Optional[_Iterable[bool]] = ..., known_facts: _Optional[_Union[_common_pb2.KnownFacts, str]] = ..., tail_ranks: _Optional[_Iterable[float]] = ..., head_ranks: _Optional[_Iterable[float]] = ..., base_rate: _Optional[float] = ..., self_loops: _Optional[_Iterable[bool]] = ..., placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("model", "heads", "relations", "tails", "paths", "similar", "supporting")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    SIMILAR_FIELD_NUMBER: _ClassVar[int]
    SUPPORTING_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    heads: _containers.RepeatedScalarFieldContainer[str]
    relations: _containers.RepeatedScalarFieldContainer[str]
    tails: _containers.RepeatedScalarFieldContainer[str]
    paths: int
    similar: int
    supporting: int
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., heads: _Optional[_Iterable[str]] = ..., relations: _Optional[_Iterable[str]] = ..., tails: _Optional[_Iterable[str]] = ..., paths: _Optional[int] = ..., similar: _Optional[int] = ..., supporting: _Optional[int] = ...) -> None: ...

class NamedItem(_message.Message):
    __slots__ = ("id", "label")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...

class PathStep(_message.Message):
    __slots__ = ("relation", "backwards", "entity")
    RELATION_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    relation: NamedItem
    backwards: bool
    entity: NamedItem
    def __init__(self, relation: _Optional[_Union[NamedItem, _Mapping]] = ..., backwards: bool = ..., entity: _Optional[_Union[NamedItem, _Mapping]] = ...) -> None: ...

class ExplanationPath(_message.Message):
    __slots__ = ("steps", "confidence", "support", "sampled", "walks")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    WALKS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[PathStep]
    confidence: float
    support: int
    sampled: int
    walks: int
    def __init__(self, steps: _Optional[_Iterable[_Union[PathStep, _Mapping]]] = ..., confidence: _Optional[float] = ..., support: _Optional[int] = ..., sampled: _Optional[int] = ..., walks: _Optional[int] = ...) -> None: ...

class SimilarFact(_message.Message):
    __slots__ = ("head", "tail", "distance")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    head: NamedItem
    tail: NamedItem
    distance: float
    def __init__(self, head: _Optional[_Union[NamedItem, _Mapping]] = ..., tail: _Optional[_Union[NamedItem, _Mapping]] = ..., distance: _Optional[float] = ...) -> None: ...

class SupportingFact(_message.Message):
    __slots__ = ("head", "relation", "tail", "support")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    head: NamedItem
    relation: NamedItem
    tail: NamedItem
    support: float
    def __init__(self, head: _Optional[_Union[NamedItem, _Mapping]] = ..., relation: _Optional[_Union[NamedItem, _Mapping]] = ..., tail: _Optional[_Union[NamedItem, _Mapping]] = ..., support: _Optional[float] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("head", "relation", "tail", "tail_score", "head_score", "tail_prior", "head_prior", "plausibility", "known", "known_tails", "known_heads", "self_loop", "paths", "paths_cut", "similar_facts", "supporting_facts")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    TAIL_SCORE_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCORE_FIELD_NUMBER: _ClassVar[int]
    TAIL_PRIOR_FIELD_NUMBER: _ClassVar[int]
    HEAD_PRIOR_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBILITY_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TAILS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_HEADS_FIELD_NUMBER: _ClassVar[int]
    SELF_LOOP_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    PATHS_CUT_FIELD_NUMBER: _ClassVar[int]
    SIMILAR_FACTS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTING_FACTS_FIELD_NUMBER: _ClassVar[int]
    head: NamedItem
    relation: NamedItem
    tail: NamedItem
    tail_score: float
    head_score: float
    tail_prior: float
    head_prior: float
    plausibility: float
    known: bool
    known_tails: int
    known_heads: int
    self_loop: bool
    paths: _containers.RepeatedCompositeFieldContainer[ExplanationPath]
    paths_cut: bool
    similar_facts: _containers.RepeatedCompositeFieldContainer[SimilarFact]
    supporting_facts: _containers.RepeatedCompositeFieldContainer[SupportingFact]
    def __init__(self, head: _Optional[_Union[NamedItem, _Mapping]] = ..., relation: _Optional[_Union[NamedItem, _Mapping]] = ..., tail: _Optional[_Union[NamedItem, _Mapping]] = ..., tail_score: _Optional[float] = ..., head_score: _Optional[float] = ..., tail_prior: _Optional[float] = ..., head_prior: _Optional[float] = ..., plausibility: _Optional[float] = ..., known: bool = ..., known_tails: _Optional[int] = ..., known_heads: _Optional[int] = ..., self_loop: bool = ..., paths: _Optional[_Iterable[_Union[ExplanationPath, _Mapping]]] = ..., paths_cut: bool = ..., similar_facts: _Optional[_Iterable[_Union[SimilarFact, _Mapping]]] = ..., supporting_facts: _Optional[_Iterable[_Union[SupportingFact, _Mapping]]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("model", "codes", "errors", "explanations", "has_rules")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    HAS_RULES_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    codes: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[_common_pb2.QueryError]
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    has_rules: bool
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., codes: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[_common_pb2.QueryError, _Mapping]]] = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ..., has_rules: bool = ...) -> None: ...

class SimilarEntitiesRequest(_message.Message):
    __slots__ = ("model", "entities", "filter", "k", "view")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    entities: _containers.RepeatedScalarFieldContainer[str]
    filter: _common_pb2.CandidateFilter
    k: int
    view: _common_pb2.NameView
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., entities: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_common_pb2.CandidateFilter, _Mapping]] = ..., k: _Optional[int] = ..., view: _Optional[_Union[_common_pb2.NameView, str]] = ...) -> None: ...

class SimilarEntitiesResponse(_message.Message):
    __slots__ = ("model", "answers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    answers: _common_pb2.Answers
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., answers: _Optional[_Union[_common_pb2.Answers, _Mapping]] = ...) -> None: ...
