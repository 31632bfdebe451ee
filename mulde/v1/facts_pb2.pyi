from mulde.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FactBatch(_message.Message):
    __slots__ = ("heads", "relations", "tails")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedScalarFieldContainer[str]
    relations: _containers.RepeatedScalarFieldContainer[str]
    tails: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, heads: _Optional[_Iterable[str]] = ..., relations: _Optional[_Iterable[str]] = ..., tails: _Optional[_Iterable[str]] = ...) -> None: ...

class AddFactsRequest(_message.Message):
    __slots__ = ("model", "facts", "new_entities", "entities")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    NEW_ENTITIES_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    facts: FactBatch
    new_entities: bool
    entities: _containers.RepeatedCompositeFieldContainer[NewEntity]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., facts: _Optional[_Union[FactBatch, _Mapping]] = ..., new_entities: bool = ..., entities: _Optional[_Iterable[_Union[NewEntity, _Mapping]]] = ...) -> None: ...

class NewEntity(_message.Message):
    __slots__ = ("id", "label", "description", "types")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    description: str
    types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ..., description: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ...) -> None: ...

class AddFactsResponse(_message.Message):
    __slots__ = ("model", "added", "unchanged", "new_entities")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    NEW_ENTITIES_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    added: int
    unchanged: int
    new_entities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., added: _Optional[int] = ..., unchanged: _Optional[int] = ..., new_entities: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveFactsRequest(_message.Message):
    __slots__ = ("model", "facts")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    facts: FactBatch
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., facts: _Optional[_Union[FactBatch, _Mapping]] = ...) -> None: ...

class RemoveFactsResponse(_message.Message):
    __slots__ = ("model", "removed", "missing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    removed: int
    missing: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., removed: _Optional[int] = ..., missing: _Optional[_Iterable[int]] = ...) -> None: ...

class ListChangedFactsRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelSelector
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelSelector, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListChangedFactsResponse(_message.Message):
    __slots__ = ("model", "facts", "removed", "times_s", "next_page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    TIMES_S_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelVersion
    facts: FactBatch
    removed: _containers.RepeatedScalarFieldContainer[bool]
    times_s: _containers.RepeatedScalarFieldContainer[float]
    next_page_token: str
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelVersion, _Mapping]] = ..., facts: _Optional[_Union[FactBatch, _Mapping]] = ..., removed: _Optional[_Iterable[bool]] = ..., times_s: _Optional[_Iterable[float]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
