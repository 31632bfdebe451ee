"""The client for asyncio: the same methods as coroutines."""

from __future__ import annotations

from functools import partial
from typing import Unpack

from mulde.client import requests
from mulde.client.answers import Answers
from mulde.client.async_channel import AsyncClientChannel
from mulde.client.explanations import Explanations
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
from mulde.client.listings import ChangedFact, Found, Models, Relations
from mulde.client.scores import Scores
from mulde.v1 import facts_pb2, model_pb2, vocabulary_pb2


class AsyncClient(AsyncClientChannel):
    """Calls a server without blocking the event loop; the methods are those of ``Client``."""

    async def predict_tails(
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
        return await self.send(request, given.get("timeout_s"))

    async def predict_heads(
        self, relations: Names, tails: Names, **given: Unpack[PredictionKeywords]
    ) -> Answers:
        """(?, relation, tail): the most plausible heads; see ``predict_tails``."""
        request = requests.heads(relations, tails, given)
        return await self.send(request, given.get("timeout_s"))

    async def predict_relations(
        self, heads: Names, tails: Names, **given: Unpack[RankingKeywords]
    ) -> Answers:
        """(head, ?, tail): the most plausible relations; see ``predict_tails``."""
        request = requests.relations(heads, tails, given)
        return await self.send(request, given.get("timeout_s"))

    async def score(
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
        return await self.send(request, given.get("timeout_s"))

    async def explain(
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
        return await self.send(request, given.get("timeout_s"))

    async def similar(
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
        return await self.send(request, given.get("timeout_s"))

    async def search(
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
        return await self.send(request, given.get("timeout_s"))

    async def entity(
        self, entity: str, **given: Unpack[ModelKeywords]
    ) -> vocabulary_pb2.GetEntityResponse:
        """Label, description, types and numbers of known facts of an entity, as in the contract."""
        return await self.send(requests.get_entity(entity, given), given.get("timeout_s"))

    async def relations(self, **given: Unpack[ModelKeywords]) -> Relations:
        """All relations of a model, by ascending id."""
        ids: list[str] = []
        labels: list[str] = []
        timeout_s = given.get("timeout_s")
        async for page in self._pages(partial(requests.list_relations, given=given), timeout_s):
            ids += page.ids
            labels += page.labels
        return Relations(f"{page.model.name}/{page.model.version}", ids, labels)

    async def models(self) -> Models:
        """What is loaded, and what could not be."""
        return [one async for page in self._pages(requests.list_models) for one in page.models]

    async def model(self, **given: Unpack[ModelKeywords]) -> model_pb2.GetModelResponse:
        """One model with its manifest, and the server's limits."""
        return await self.send(requests.get_model(given), given.get("timeout_s"))

    async def load_model(
        self, name: str, version: str = "", *, pin: bool = False, timeout_s: float | None = None
    ) -> model_pb2.Model:
        """Load a version (the newest by default) and make it current; needs the admin role."""
        return await self.send(requests.load(name, version, pin), timeout_s)

    async def reload_model(
        self, name: str = "", *, timeout_s: float | None = None
    ) -> model_pb2.ReloadModelResponse:
        """Make the newest version on disk current; needs the admin role."""
        return await self.send(requests.reload(name), timeout_s)

    async def unload_model(
        self, name: str, version: str = "", *, timeout_s: float | None = None
    ) -> list[str]:
        """Free a version (all by default); "name/version" of each; needs the admin role."""
        return await self.send(requests.unload(name, version), timeout_s)

    async def add_facts(
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
        return await self.send(request, given.get("timeout_s"))

    async def remove_facts(
        self, heads: Names, relations: Names, tails: Names, **given: Unpack[ModelKeywords]
    ) -> facts_pb2.RemoveFactsResponse:
        """Remove facts from what the server knows; needs the admin role."""
        request = requests.remove_facts(heads, relations, tails, given)
        return await self.send(request, given.get("timeout_s"))

    async def facts(self, **given: Unpack[ModelKeywords]) -> list[ChangedFact]:
        """Every fact that was added or removed, by its last change; needs the admin role."""
        timeout_s = given.get("timeout_s")
        pages = self._pages(partial(requests.changed_facts, given=given), timeout_s)
        return [one async for page in pages for one in ChangedFact.of(page)]
