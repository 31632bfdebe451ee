"""What one request may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mulde.errors import InvalidArgument
from mulde.v1 import model_pb2


@dataclass(frozen=True)
class Limits:
    """Bounds on a request; the defaults are those that the contract's comments state.

    Attributes:
        max_batch_size: queries in a request, and queries that share a run of the engine.
        max_k: answers for each query.
        max_name_bytes: bytes of a name.
        max_filter_names: names in an allow-list or deny-list.
        max_message_bytes: bytes of a request.
    """

    max_batch_size: int = 1024
    max_k: int = 1000
    max_name_bytes: int = 1024
    max_filter_names: int = 100_000
    max_message_bytes: int = 16 << 20

    MAX_TYPES = 100
    MAX_SEARCH_CHARACTERS = 256
    MAX_SEARCH_RESULTS = 100
    MAX_PAGE = 1000

    def check_batch(self, field: str, values: Sequence[str]) -> None:
        """Refuse an empty or too large batch.

        Raises:
            InvalidArgument: naming the field.
        """
        if not 1 <= len(values) <= self.max_batch_size:
            expected = f"1 to {self.max_batch_size} queries"
            raise InvalidArgument(field, expected, len(values))

    def allow(self, name: str) -> bool:
        """Whether a name may be looked up: 1 to ``max_name_bytes`` bytes of UTF-8."""
        if 0 < len(name) <= self.max_name_bytes // 4:
            return True
        return 1 <= len(name.encode("utf-8", "replace")) <= self.max_name_bytes

    def problem_of_name(self, field: str, name: str) -> InvalidArgument:
        """Why a name that is not allowed is not."""
        size = len(name.encode("utf-8", "replace"))
        return InvalidArgument(field, f"1 to {self.max_name_bytes} bytes", f"{size} bytes")

    def message(self) -> model_pb2.Limits:
        """As ``GetModel`` tells them."""
        return model_pb2.Limits(
            max_batch_size=self.max_batch_size,
            max_k=self.max_k,
            max_name_bytes=self.max_name_bytes,
            max_filter_names=self.max_filter_names,
            max_message_bytes=self.max_message_bytes,
        )


def check_same_length(field: str, values: Sequence[str], other: str, others: Sequence[str]) -> None:
    """Refuse parallel fields of different lengths.

    Raises:
        InvalidArgument: naming the field.
    """
    if len(values) != len(others):
        raise InvalidArgument(field, f"{len(others)}, as many as {other}", len(values))
