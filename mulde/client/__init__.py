"""A typed client for a mulde server.

    from mulde.client import Client

    with Client("localhost:50051") as client:
        for answer in client.predict_tails("dog.n.01", "hypernym", k=3)[0]:
            print(answer.label, answer.score)

``AsyncClient`` has the same methods as coroutines. Every method takes a batch (a sequence or numpy
array of names) or one name; results are packed numpy arrays. Errors are those of ``mulde.errors``,
as if the model were here.
"""

from mulde.client.answers import Answer, Answers, PlacedEntity
from mulde.client.asynchronous import AsyncClient
from mulde.client.connection import Connection
from mulde.client.listings import ChangedFact, Found, Models, Relations
from mulde.client.scores import Scores
from mulde.client.synchronous import Client

__all__ = [
    "Answer",
    "Answers",
    "AsyncClient",
    "ChangedFact",
    "Client",
    "Connection",
    "Found",
    "Models",
    "PlacedEntity",
    "Relations",
    "Scores",
]
