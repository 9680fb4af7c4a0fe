"""What a row of the route table is, and the parameters that many rows share."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from chaind.api import chaos
from chaind.api.answers import JSON_MEDIA
from chaind.api.context import Api
from chaind.api.guards import Access

Handler = Callable[[Api, web.Request], Awaitable[web.StreamResponse]]

TEXT_MEDIA = "text/plain"
V1 = "/api/v1"


class Parameter(NamedTuple):
    """A query or header parameter. `kind` is its JSON type."""

    name: str
    summary: str
    kind: str = "string"
    place: str = "query"


LIMIT = Parameter("limit", "Most entries of a page", "integer")
CURSOR = Parameter("cursor", "next_cursor of the page before")
WAIT = Parameter("wait", '"final" holds the answer until it is final, 30 s at most; or "accepted"')
PREFER = Parameter("Prefer", "wait=final, as in the query", place="header")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "1 to 255 characters; pays once per paying account and key", place="header"
)
CHAOS = Parameter(
    chaos.HEADER,
    "true: the node dies when the payment is final, before it answers; where [chaos] is enabled",
    place="header",
)


class Route(NamedTuple):
    """One row. `answers` maps status to type (None: not described); `errors` are statuses.

    A tuple of types means one of them. Every route can also answer 400, 403, 429 and 500.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: dict[int, Any]
    aliases: tuple[str, ...] = ()
    request: Any = None
    media: tuple[str, ...] = (JSON_MEDIA,)
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    access: Access = Access.OPEN
    answer_media: str = JSON_MEDIA

    @property
    def operation(self) -> str:
        """A name for generated clients: the handler's."""
        return self.handler.__name__

    @property
    def query(self) -> tuple[str, ...]:
        """Names of the query parameters; any other is refused."""
        return tuple(one.name for one in self.parameters if one.place == "query")
