"""The client for ordinary code."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from mulde.client import requests
from mulde.client.answers import Answers, ChangedFact, Found, Models, Relations, Scores
from mulde.client.connection import Connection
from mulde.client.explanations import Explanations
from mulde.client.failures import error_of_call
from mulde.client.keywords import (
    CandidateKeywords,
    ContextKeywords,
    ModelKeywords,
    Names,
    PredictionKeywords,
    RankingKeywords,
    TextKeywords,
    View,
)
from mulde.client.requests import Request
from mulde.v1 import facts_pb2, model_pb2, vocabulary_pb2

T = TypeVar("T")

_TIMEOUT_S = 30.0


class Client:
    """Calls a server and waits. Threads may share it."""

    def __init__(
        self, server: str | Connection, *, token: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Say where the server is; nothing is sent yet.

        Args:
            server: "host:port", or a ``Connection`` for TLS and the like.
            token: where the server asks for one; goes with an address.
            timeout_s: seconds that a call may take, unless it says otherwise.
        """
        if isinstance(server, str):
            server = Connection(server, token=token)
        self._connection, self._timeout_s = server, timeout_s
        options = server.options()
        if server.secure:
            secret = server.credentials()
            self._channel = grpc.secure_channel(server.address, secret, options)
        else:
            self._channel = grpc.insecure_channel(server.address, options)
        self._calls: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def send(
        self,
        request: Request[T],
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> T:
        """Make one call that ``mulde.client.requests`` describes; the methods below do.

        Args:
            request: which method, which message, how to read the response.
            timeout_s: see ``__init__``.
            metadata: goes with the call, besides that of the connection.

        Raises:
            MuldeError: if the call fails.
        """
        call = self._calls.get(request.method)
        if call is None:
            call = self._calls[request.method] = self._channel.unary_unary(
                request.method,
                request_serializer=type(request.message).SerializeToString,
                response_deserializer=request.response.FromString,
            )
        try:
            response = call(
                request.message,
                timeout=self._timeout_s if timeout_s is None else timeout_s,
                metadata=(*self._connection.metadata(), *metadata),
            )
        except grpc.RpcError as error:
            raise error_of_call(error, self._connection.address) from None
        return request.read(response)

    def predict_tails(
        self, heads: Names, relations: Names, **given: Unpack[PredictionKeywords]
    ) -> Answers:
        """(head, relation, ?): the most plausible tails.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            **given: see ``keywords.PredictionKeywords``.

        Raises:
            MuldeError: what concerns the whole call; what concerns one query is in
                ``Answers.errors``.
        """
        request = requests.tails(heads, relations, given)
        return self.send(request, given.get("timeout_s"))

    def predict_heads(
        self, relations: Names, tails: Names, **given: Unpack[PredictionKeywords]
    ) -> Answers:
        """(?, relation, tail): the most plausible heads; see ``predict_tails``."""
        request = requests.heads(relations, tails, given)
        return self.send(request, given.get("timeout_s"))

    def predict_relations(
        self, heads: Names, tails: Names, **given: Unpack[RankingKeywords]
    ) -> Answers:
        """(head, ?, tail): the most plausible relations; see ``predict_tails``."""
        request = requests.relations(heads, tails, given)
        return self.send(request, given.get("timeout_s"))

    def score(
        self,
        heads: Names,
        relations: Names,
        tails: Names,
        *,
        ranks: bool = False,
        base_rate: float | None = None,
        **given: Unpack[ContextKeywords],
    ) -> Scores:
        """How plausible each triple is.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            tails: likewise.
            ranks: also rank each triple among all candidates.
            base_rate: share of true triples among those that are asked about; default .5.
            **given: see ``keywords.ContextKeywords``.
        """
        request = requests.triples(heads, relations, tails, ranks, base_rate, given)
        return self.send(request, given.get("timeout_s"))

    def explain(
        self,
        heads: Names,
        relations: Names,
        tails: Names,
        *,
        paths: int | None = None,
        similar: int | None = None,
        supporting: int | None = None,
        **given: Unpack[ModelKeywords],
    ) -> Explanations:
        """Known facts that speak for and against each triple; the model needs known facts.

        Args:
            heads: one or several, by id or unique label.
            relations: one for each head, or one for all.
            tails: likewise.
            paths: most paths of each triple; default: 3.
            similar: most similar facts of each triple; default: 3.
            supporting: most supporting facts of each triple; default: 3.
            **given: see ``keywords.ModelKeywords``.
        """
        request = requests.explain(
            heads, relations, tails, given, paths=paths, similar=similar, supporting=supporting
        )
        return self.send(request, given.get("timeout_s"))

    def similar(
        self,
        entities: Names,
        *,
        k: int | None = None,
        view: View = "id_and_label",
        **given: Unpack[CandidateKeywords],
    ) -> Answers:
        """The k nearest entities; the score is minus the distance.

        Args:
            entities: one or several, by id or unique label.
            k: default: 10, or all others where they are fewer.
            view: see ``keywords.RankingKeywords``.
            **given: see ``keywords.CandidateKeywords``.
        """
        request = requests.similar(entities, k, view, given)
        return self.send(request, given.get("timeout_s"))

    def search(
        self,
        queries: Names,
        *,
        page_size: int = 10,
        page_token: str = "",
        **given: Unpack[ModelKeywords],
    ) -> Found:
        """Entities whose label or id begins with, or is spelled nearly like, what was typed.

        Args:
            queries: one or several.
            page_size: entities wanted for each.
            page_token: ``Found.next_page_token`` of the page before; with one query only.
            **given: see ``keywords.ModelKeywords``.
        """
        request = requests.search(queries, page_size, page_token, given)
        return self.send(request, given.get("timeout_s"))

    def entity(
        self, entity: str, **given: Unpack[ModelKeywords]
    ) -> vocabulary_pb2.GetEntityResponse:
        """Label, description, types and numbers of known facts of an entity, as in the contract."""
        return self.send(requests.get_entity(entity, given), given.get("timeout_s"))

    def relations(self, **given: Unpack[ModelKeywords]) -> Relations:
        """All relations of a model, by ascending id."""
        ids: list[str] = []
        labels: list[str] = []
        token, more = "", True
        while more:
            request = requests.list_relations(token, given)
            page = self.send(request, given.get("timeout_s"))
            ids += page.ids
            labels += page.labels
            token = page.next_page_token
            more = bool(token)
        return Relations(f"{page.model.name}/{page.model.version}", ids, labels)

    def models(self) -> Models:
        """What is loaded, and what could not be."""
        models: Models = []
        token, more = "", True
        while more:
            page = self.send(requests.list_models(token))
            models += page.models
            token = page.next_page_token
            more = bool(token)
        return models

    def model(self, **given: Unpack[ModelKeywords]) -> model_pb2.GetModelResponse:
        """One model with its manifest, and the server's limits."""
        return self.send(requests.get_model(given), given.get("timeout_s"))

    def load_model(
        self, name: str, version: str = "", *, pin: bool = False, timeout_s: float | None = None
    ) -> model_pb2.Model:
        """Load a version (the newest by default) and make it current; needs the admin role."""
        return self.send(requests.load(name, version, pin), timeout_s)

    def reload_model(
        self, name: str = "", *, timeout_s: float | None = None
    ) -> model_pb2.ReloadModelResponse:
        """Make the newest version on disk current; needs the admin role."""
        return self.send(requests.reload(name), timeout_s)

    def unload_model(
        self, name: str, version: str = "", *, timeout_s: float | None = None
    ) -> list[str]:
        """Free a version (all by default); "name/version" of each; needs the admin role."""
        return self.send(requests.unload(name, version), timeout_s)

    def add_facts(
        self,
        heads: Names,
        relations: Names,
        tails: Names,
        *,
        new_entities: bool = False,
        **given: Unpack[TextKeywords],
    ) -> facts_pb2.AddFactsResponse:
        """Add facts to what the server knows, all or none; needs the admin role.

        Args:
            heads: one or several, by id or unique label, at most 10,000.
            relations: one for each head, or one for all.
            tails: likewise.
            new_entities: unknown names are ids of new entities.
            **given: see ``keywords.TextKeywords``.
        """
        request = requests.add_facts(heads, relations, tails, new_entities, given)
        return self.send(request, given.get("timeout_s"))

    def remove_facts(
        self, heads: Names, relations: Names, tails: Names, **given: Unpack[ModelKeywords]
    ) -> facts_pb2.RemoveFactsResponse:
        """Remove facts from what the server knows; needs the admin role."""
        request = requests.remove_facts(heads, relations, tails, given)
        return self.send(request, given.get("timeout_s"))

    def facts(self, **given: Unpack[ModelKeywords]) -> list[ChangedFact]:
        """Every fact that was added or removed, by its last change; needs the admin role."""
        changes: list[ChangedFact] = []
        token, more = "", True
        while more:
            request = requests.changed_facts(token, given)
            page = self.send(request, given.get("timeout_s"))
            changes += ChangedFact.of(page)
            token = page.next_page_token
            more = bool(token)
        return changes
