"""Names of a graph as RDF terms."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|\\^`]*")
_BLANK = re.compile(r"_:[A-Za-z0-9]+")
_LITERAL = re.compile(
    r'"(?:[^"\\\n\r]|\\.)*"(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^<[^\x00-\x20<>"{}|^`\\]*>)?'
)


@lru_cache(1 << 16)
def node(name: str) -> str:
    """Return an entity's name as N-Triples write it.

    An IRI, a blank node and a literal in N-Triples' own writing stay what they are; any other
    name becomes ``urn:mulde:NAME``, percent-encoded.
    """
    if _BLANK.fullmatch(name) or _LITERAL.fullmatch(name):
        return name
    return predicate_node(name)


@lru_cache(1 << 12)
def predicate_node(name: str) -> str:
    """Return a relation's name as an IRI."""
    return f"<{name}>" if _IRI.fullmatch(name) else f"<urn:mulde:{quote(name, safe='')}>"
