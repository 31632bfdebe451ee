"""Pages of a list, as in AIP-158: a token says where the next page starts, and of what."""

from __future__ import annotations

import base64
import json

from mulde.errors import InvalidArgument
from serving.registry.limits import Limits


def read_page_size(size: int, default: int, most: int = Limits.MAX_PAGE) -> int:
    """How many elements a page has: 0 is the default, more than the most is the most.

    Raises:
        InvalidArgument: if it is negative.
    """
    if size < 0:
        raise InvalidArgument("page_size", f"0 to {most}", size)
    return min(size or default, most)


def next_token(offset: int, of: str) -> str:
    """A token for the page that starts at ``offset`` of the list described by ``of``."""
    return base64.urlsafe_b64encode(json.dumps([offset, of]).encode()).decode()


def read_token(token: str, of: str) -> int:
    """Where the page starts; 0 without a token.

    Raises:
        InvalidArgument: if the token is none of ours, or of another list.
    """
    if not token:
        return 0
    expected = "next_page_token of a page of the same list"
    try:
        offset, described = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError):
        raise InvalidArgument("page_token", expected, token) from None
    if type(offset) is not int or not 0 <= offset < 2**62 or described != of:
        raise InvalidArgument("page_token", expected, token)
    return offset
