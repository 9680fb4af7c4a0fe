"""What a row of the route table is, and the parameters that many rows share.

A row says nothing that the code behind it does not do: names, bounds and defaults come from the
constants of the handlers, refusals are classes of the error tree.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from chaind.api import chaos
from chaind.api.answers import JSON_MEDIA
from chaind.api.context import Api
from chaind.api.forms import SYMBOL_PATTERN
from chaind.api.guards import Access
from chaind.node.payments import KEY_CHARS_MAX
from chaind.primitives.errors import ChaindError

Handler = Callable[[Api, web.Request], Awaitable[web.StreamResponse]]

TEXT_MEDIA = "text/plain"
V1 = "/api/v1"
CURSOR_DIGITS = "[0-9]{1,15}"
_NOTHING: Mapping[Any, Any] = {}
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")


class Parameter(NamedTuple):
    """A query, header or path parameter. `kind` is its JSON type, `limits` what else its schema
    says, `example` a value that a development network understands."""

    name: str
    summary: str
    kind: str = "string"
    place: str = "query"
    limits: Mapping[str, Any] = _NOTHING
    example: Any = None


def number(
    name: str, summary: str, low: int, high: int, *, default: int | None = None
) -> Parameter:
    """A whole number of the query within [low, high]."""
    limits = {"minimum": low, "maximum": high}
    if default is not None:
        limits["default"] = default
    return Parameter(name, summary, "integer", limits=limits, example=default)


def page(default: int, high: int) -> Parameter:
    """How long a page may be."""
    return number("limit", "Most entries of a page", 1, high, default=default)


def cursor(parts: int) -> Parameter:
    """Where a list goes on: that many numbers, as an earlier page gave them."""
    pattern = rf"^{CURSOR_DIGITS}(\.{CURSOR_DIGITS}){{{parts - 1}}}$"
    return Parameter("cursor", "next_cursor of the page before", limits={"pattern": pattern})


def segment(name: str, summary: str, example: str, pattern: str | None = None) -> Parameter:
    """A part of the path."""
    limits = {"minLength": 1} if pattern is None else {"pattern": pattern}
    return Parameter(name, summary, "string", "path", limits, example)


SYMBOL = {"pattern": SYMBOL_PATTERN}
WHO = segment(
    "who", "An address, the name of an account that this node keeps, or its number", "alice"
)
WAIT = Parameter(
    "wait",
    "final holds the answer until it is final, 30 s at most",
    limits={"enum": ["final", "accepted"]},
    example="final",
)
PREFER = Parameter(
    "Prefer", "wait=final, as in the query; what else is preferred is ignored", place="header"
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Pays once per paying account and key; the same request with it gets the same answer",
    place="header",
    limits={"pattern": rf"^[ -~]{{1,{KEY_CHARS_MAX}}}$"},
)
CHAOS = Parameter(
    chaos.HEADER,
    "true: the node dies when the payment is final, before it answers; where [chaos] is enabled",
    place="header",
    limits={"enum": ["true", "false"]},
)


class Header(NamedTuple):
    """A header that answers with one of `statuses` may have."""

    name: str
    summary: str
    statuses: tuple[int, ...] = (200,)


HIT = Header("X-Idempotency-Hit", "true: an earlier request with this key made the payment")
DB_HIT = Header("X-Db-Hit", "true: it was found on the chain, after a restart or from another node")
PREFERENCE_APPLIED = Header(
    "Preference-Applied", "wait=final, where that was asked for", (200, 202)
)


class Follow(NamedTuple):
    """How an answer leads on: `parameter` of `operation` is the answer's `field`."""

    operation: str
    parameter: str
    field: str


TO_TRANSACTION = (Follow("get_transaction", "id", "tx_id"),)


class Route(NamedTuple):
    """One row. `answers` maps status to type (None: bytes, or no body).

    A tuple of types means one of them. `media` are those of the request, `answer_media` that of
    the answer, beside which a 200 or 202 may have one of `other_media`, each with its schema.
    `errors` are the leaves of the error tree that this route can raise beyond what `refusals` finds
    by itself.
    `examples` are bodies by name that a development network takes.
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
    errors: tuple[type[ChaindError], ...] = ()
    access: Access = Access.OPEN
    answer_media: str = JSON_MEDIA
    other_media: Mapping[str, Mapping[str, Any]] = _NOTHING
    headers: tuple[Header, ...] = ()
    examples: Mapping[str, Any] = _NOTHING
    follows: tuple[Follow, ...] = ()

    @property
    def operation(self) -> str:
        """A name for generated clients: the handler's."""
        return self.handler.__name__

    @property
    def query(self) -> tuple[str, ...]:
        """Names of the query parameters; any other is refused."""
        return tuple(one.name for one in self.parameters if one.place == "query")

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the parts of the path that vary."""
        return tuple(_PATH_PARAMETER.findall(self.path))
