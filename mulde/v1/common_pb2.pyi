from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NameView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NAME_VIEW_UNSPECIFIED: _ClassVar[NameView]
    NAME_VIEW_ID_AND_LABEL: _ClassVar[NameView]
    NAME_VIEW_ID: _ClassVar[NameView]
    NAME_VIEW_ROW: _ClassVar[NameView]

class Shortfall(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORTFALL_UNSPECIFIED: _ClassVar[Shortfall]
    SHORTFALL_CANDIDATES: _ClassVar[Shortfall]
    SHORTFALL_THRESHOLD: _ClassVar[Shortfall]

class KnownFacts(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KNOWN_FACTS_UNSPECIFIED: _ClassVar[KnownFacts]
    KNOWN_FACTS_EXCLUDED: _ClassVar[KnownFacts]
    KNOWN_FACTS_MARKED: _ClassVar[KnownFacts]
    KNOWN_FACTS_UNAVAILABLE: _ClassVar[KnownFacts]
NAME_VIEW_UNSPECIFIED: NameView
NAME_VIEW_ID_AND_LABEL: NameView
NAME_VIEW_ID: NameView
NAME_VIEW_ROW: NameView
SHORTFALL_UNSPECIFIED: Shortfall
SHORTFALL_CANDIDATES: Shortfall
SHORTFALL_THRESHOLD: Shortfall
KNOWN_FACTS_UNSPECIFIED: KnownFacts
KNOWN_FACTS_EXCLUDED: KnownFacts
KNOWN_FACTS_MARKED: KnownFacts
KNOWN_FACTS_UNAVAILABLE: KnownFacts

class ModelSelector(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class NameList(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class CandidateFilter(_message.Message):
    __slots__ = ("allow", "deny", "types")
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    DENY_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    allow: NameList
    deny: _containers.RepeatedScalarFieldContainer[str]
    types: NameList
    def __init__(self, allow: _Optional[_Union[NameList, _Mapping]] = ..., deny: _Optional[_Iterable[str]] = ..., types: _Optional[_Union[NameList, _Mapping]] = ...) -> None: ...

class QueryError(_message.Message):
    __slots__ = ("query", "status")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    query: int
    status: _status_pb2.Status
    def __init__(self, query: _Optional[int] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class NameProblem(_message.Message):
    __slots__ = ("name", "choices")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    name: str
    choices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., choices: _Optional[_Iterable[str]] = ...) -> None: ...

class Answers(_message.Message):
    __slots__ = ("codes", "errors", "offsets", "rows", "ids", "labels", "scores", "probabilities", "known", "known_facts", "exact", "fetched", "shortfalls", "priors", "plausibilities", "self_loops_excluded")
    CODES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FACTS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    FETCHED_FIELD_NUMBER: _ClassVar[int]
    SHORTFALLS_FIELD_NUMBER: _ClassVar[int]
    PRIORS_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBILITIES_FIELD_NUMBER: _ClassVar[int]
    SELF_LOOPS_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[QueryError]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    known: _containers.RepeatedScalarFieldContainer[bool]
    known_facts: KnownFacts
    exact: _containers.RepeatedScalarFieldContainer[bool]
    fetched: _containers.RepeatedScalarFieldContainer[int]
    shortfalls: _containers.RepeatedScalarFieldContainer[Shortfall]
    priors: _containers.RepeatedScalarFieldContainer[float]
    plausibilities: _containers.RepeatedScalarFieldContainer[float]
    self_loops_excluded: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, codes: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[QueryError, _Mapping]]] = ..., offsets: _Optional[_Iterable[int]] = ..., rows: _Optional[_Iterable[int]] = ..., ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., probabilities: _Optional[_Iterable[float]] = ..., known: _Optional[_Iterable[bool]] = ..., known_facts: _Optional[_Union[KnownFacts, str]] = ..., exact: _Optional[_Iterable[bool]] = ..., fetched: _Optional[_Iterable[int]] = ..., shortfalls: _Optional[_Iterable[_Union[Shortfall, str]]] = ..., priors: _Optional[_Iterable[float]] = ..., plausibilities: _Optional[_Iterable[float]] = ..., self_loops_excluded: _Optional[_Iterable[bool]] = ...) -> None: ...
