"""How a refusal looks: RFC 9457 problem documents, from the error tree through one table.

Law: the status follows from an error's type alone, never from its words; nothing that a caller
did not send or cannot use (stack traces, paths, causes) leaves the node.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from chaind.primitives.errors import (
    ChaindError,
    Conflict,
    LocalFault,
    Malformed,
    NotAllowed,
    NotReady,
    RuleBroken,
    Temporary,
    TooLarge,
    TooMany,
    Unknown,
)

PROBLEM_MEDIA = "application/problem+json"
SERVER = "chaind"  # the Server header of every answer: who needs versions asks /status
RETRY_AFTER_S = 1  # blocks come faster than this, so that one is enough for any queue to move
CHALLENGE = "Bearer"  # RFC 9110, 15.5.2 and RFC 6750
MINER_CHALLENGE = 'Basic realm="jsonrpc"'  # RFC 7617, as bitcoind
_INTEGER_MAX = 2**53 - 1  # RFC 8259: what every JSON reader holds exactly


class RouteUnknown(Unknown):
    code = "route-unknown"
    text = "there is no {path} here"
    advice = "GET /openapi.json lists every route."


class MethodNotAllowed(Malformed):
    code = "method-not-allowed"
    text = "{method} is not among the methods of this route: {allowed}"
    advice = "Use one of those methods; /openapi.json says what each of them does."


class MediaTypeUnsupported(Malformed):
    code = "media-type-unsupported"
    text = "content of type {given} is not taken here, only {allowed}"
    advice = "Say what the body is with a Content-Type header."


class BodyTooSlow(Malformed, Temporary):
    code = "body-too-slow"
    text = "the request body did not arrive within {limit_s} s"
    advice = "Send the whole body without pause, or in smaller requests."


class BodyMalformed(Malformed):
    code = "body-malformed"
    text = "the request body is refused: {reason}"
    advice = "Correct the body and send it again; /openapi.json describes what each route takes."


class BodyTooLarge(TooLarge):
    code = "body-too-large"
    text = "the request body is longer than {limit_bytes} bytes"
    advice = "Send it in parts; /api/v1/transactions takes the most at once."


class QueryInvalid(Malformed):
    code = "query-invalid"
    text = "{name} = {value!r} is not allowed: it must be {allowed}"
    advice = "Correct the parameter, or leave it out to get its default."


class QueryUnknown(Malformed):
    code = "query-unknown"
    text = "{name!r} is no query parameter of this route, which takes {known}"
    advice = "Correct its name or leave it out: what is not understood is not ignored."


class HttpMalformed(Malformed):
    code = "http-malformed"
    text = "the request is refused: {reason}"
    advice = "Send a request that follows HTTP/1.1 (RFC 9112); any common client does."


class TokenNeeded(NotAllowed):
    code = "token-needed"
    text = "this needs the node's token"
    advice = 'Send "Authorization: Bearer" with the content of the node\'s api.token file.'


class CredentialsNeeded(NotAllowed):
    code = "credentials-needed"
    text = "this needs a name and the secret of rpc.cookie, or the password for miners"
    advice = "Give both by HTTP Basic: `chaind mine --cookie-file FILE`, `minerd -O NAME:SECRET`."


class RateLimited(TooMany):
    code = "rate-limited"
    text = "too many requests from this address"
    advice = "Wait as long as Retry-After says, or submit many transactions in one request."


class NodeStopping(NotReady):
    code = "node-stopping"
    text = "the node is stopping"
    advice = "Ask another node, or this one again once it has been started."


# The first of these that stands in an error's method resolution order decides: leaves, then kinds.
STATUSES: Mapping[type, HTTPStatus] = {
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    MediaTypeUnsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    TokenNeeded: HTTPStatus.UNAUTHORIZED,
    CredentialsNeeded: HTTPStatus.UNAUTHORIZED,
    Malformed: HTTPStatus.BAD_REQUEST,
    NotAllowed: HTTPStatus.FORBIDDEN,
    Unknown: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RuleBroken: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
}
_WAITING = (TooMany, NotReady)  # and what is both a conflict and temporary


class Problem(msgspec.Struct, frozen=True):
    """A problem document. `code` is stable; `values` are those that broke the rule."""

    title: str
    status: int
    code: str
    detail: str
    advice: str = ""
    values: dict[str, Any] = {}
    type: str = "about:blank"


INTERNAL = Problem(
    title=HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    code="internal-error",
    detail="the node failed to answer",
    advice="Ask another node; whoever runs this one finds the reason in its log.",
)


def status_of(leaf: type[ChaindError]) -> HTTPStatus:
    """The HTTP status that tells a caller about errors of a class."""
    for kind in leaf.__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def is_waiting(leaf: type[ChaindError]) -> bool:
    """Whether the answer says when to ask again, in a Retry-After header."""
    return issubclass(leaf, _WAITING) or (
        issubclass(leaf, Conflict) and issubclass(leaf, Temporary)
    )


def problem_of(error: ChaindError) -> Problem:
    """The document of an error. A fault of this machine is nobody else's business."""
    status = status_of(type(error))
    if isinstance(error, LocalFault) or status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return INTERNAL
    return Problem(
        title=status.phrase,
        status=status,
        code=error.code,
        detail=str(error),
        advice=error.advice,
        values={name: _outward(value) for name, value in error.values.items()},
    )


def problem_response(error: ChaindError) -> web.Response:
    """The answer to a refused request."""
    headers = {}
    if is_waiting(type(error)):
        headers["Retry-After"] = str(error.values.get("retry_after_s", RETRY_AFTER_S))
    if isinstance(error, TokenNeeded):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, CredentialsNeeded):
        headers["WWW-Authenticate"] = MINER_CHALLENGE
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = str(error.values["allowed"])
    return _response(problem_of(error), headers)


def internal_response() -> web.Response:
    """The answer where the node itself failed."""
    return _response(INTERNAL, {})


def _response(problem: Problem, headers: dict[str, str]) -> web.Response:
    body = msgspec.json.encode(problem) + b"\n"
    return web.Response(
        body=body, status=problem.status, content_type=PROBLEM_MEDIA, headers=headers
    )


def _outward(value: object) -> object:
    """A value in JSON's terms: bytes as hex, whatever else has no form there as text."""
    match value:
        case bytes():
            return value.hex()
        case bool() | None | str():
            return value
        case int() if abs(value) <= _INTEGER_MAX:
            return value
        case list():
            return [_outward(each) for each in value]
        case dict():
            return {str(key): _outward(each) for key, each in value.items()}
    return str(value)
