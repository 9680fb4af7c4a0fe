"""Reading what a client sends: bounded, timed, strict JSON, numbers never through floats.

A body is read to its limit and no further. JSON with a repeated key is refused, because two
readers may understand it differently; numbers with a fraction become Decimal.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import ClientPayloadError, web

from chaind.api.problems import BodyMalformed, BodyTooLarge, BodyTooSlow, QueryInvalid, QueryUnknown
from chaind.primitives.errors import TooMany

T = TypeVar("T")

BODY_S_MAX = 10.0  # 1 MiB in this time is 100 KiB/s: slower is no client worth a connection
BATCH_S_MAX = 60.0  # the same for the 16 MiB of the batch door, with the node's own work inside
BODIES_BYTES_MAX = 256 << 20  # of all requests together: 16 of the largest batches
NUMBER_CHARS_MAX = 64  # no amount, height or time is longer
EXPONENT_MAX = 64  # 1e999999999 is short to write and endless to write out
PLACE_MAX = 2**32 - 1  # how an index row writes a place within a block
WAIT_MS_MAX = 30_000  # the longest that a request is held for finality


class BodiesFull(TooMany):
    code = "bodies-full"
    text = "requests under way hold {held_bytes} bytes of bodies, the node's limit"
    advice = "Wait as long as Retry-After says, or send smaller bodies."


class BodyRoom:
    """How many bytes of whole bodies the requests under way hold, all of them together."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self._by_connection: dict[web.RequestHandler, int] = {}  # serves one request at a time

    def take(self, request: web.Request, size: int) -> None:
        """`size` bytes more. Raises `BodiesFull`."""
        if self.held_bytes + size > BODIES_BYTES_MAX:
            raise BodiesFull(held_bytes=self.held_bytes)
        self.held_bytes += size
        self._by_connection[request.protocol] = self._by_connection.get(request.protocol, 0) + size

    def release(self, request: web.Request) -> None:
        """The request is answered."""
        self.held_bytes -= self._by_connection.pop(request.protocol, 0)


BODY_ROOM = web.AppKey("body_room", BodyRoom)


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge`, `BodyTooSlow`, `BodyMalformed` or `BodiesFull`."""
    room = request.app[BODY_ROOM]
    parts = []
    async for part in stream_body(request, limit_bytes, BODY_S_MAX):
        room.take(request, len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def stream_body(
    request: web.Request, limit_bytes: int, limit_s: float
) -> AsyncIterator[bytes]:
    """The body piece by piece, as it arrives, all of it within `limit_s`."""
    if (request.content_length or 0) > limit_bytes:
        raise BodyTooLarge(limit_bytes=limit_bytes)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    content, taken = request.content, 0
    while not content.at_eof():
        try:
            if content.is_eof() or content.total_bytes > taken:  # it is here: nothing to time
                part = await content.readany()
            else:
                async with asyncio.timeout_at(deadline):
                    part = await content.readany()
        except TimeoutError:
            raise BodyTooSlow(limit_s=limit_s) from None
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise BodyMalformed(reason=str(error)[:200]) from None
        taken += len(part)
        if taken > limit_bytes:
            raise BodyTooLarge(limit_bytes=limit_bytes)
        if part:
            yield part


def parse_json(body: bytes) -> Any:
    """Strict JSON. Raises `BodyMalformed`."""
    try:
        text = body.decode("utf-8")
        if "\\u" in text:
            msgspec.json.decode(body)  # refuses lone surrogates, which json takes
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise BodyMalformed(reason="not UTF-8") from None
    except RecursionError:
        raise BodyMalformed(reason="nested too deeply") from None
    except (msgspec.DecodeError, ValueError) as error:  # JSONDecodeError, integers without end
        raise BodyMalformed(reason=f"not JSON: {error}"[:200]) from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BodyMalformed(reason="a key stands twice in one object")
    return found


def _number(text: str) -> Decimal | int:
    """What is whole is an integer, however it is written (JSON Schema, 6.1.1; RFC 8259, 6)."""
    if len(text) <= NUMBER_CHARS_MAX:
        try:
            value = Decimal(text)
        except InvalidOperation:  # an exponent beyond what decimal holds
            value = Decimal("Infinity")
        if value.is_finite() and abs(value.adjusted()) <= EXPONENT_MAX:
            return int(value) if value == value.to_integral_value() else value
    raise BodyMalformed(reason=f"number {text[:NUMBER_CHARS_MAX]} is out of range")


def _refuse_constant(name: str) -> NoReturn:
    raise BodyMalformed(reason=f"{name} is not JSON")


def convert(value: object, kind: type[T]) -> T:
    """A parsed value as a request type. Raises `BodyMalformed` naming the field, or all fields
    that are missing with all that are not known: one may be the other, misspelt."""
    missing = _missing(value, kind)
    if missing:
        unknown = _unknown(value, kind)
        beside = f", and has no use for {', '.join(unknown)}" if unknown else ""
        raise BodyMalformed(reason=f"it lacks {', '.join(missing)}{beside}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BodyMalformed(reason=f"{error}{_choices(str(error), kind)}") from None


def _choices(message: str, kind: type) -> str:
    """What a field takes, where msgspec says no more than that it is none of that."""
    found = re.fullmatch(r"Invalid enum value .* - at `\$\.(\w+)`", message, re.DOTALL)
    hint = get_type_hints(kind).get(found[1]) if found else None
    words = [
        word
        for part in (hint, *get_args(hint))
        if get_origin(part) is Literal
        for word in get_args(part)
    ]
    return f": it may be {', '.join(map(str, words))}" if words else ""


def _missing(value: object, kind: type) -> list[str]:
    """What an object needs to be a request of this type, and has not.

    A type says by `alternatives` of which fields one is needed.
    """
    if not isinstance(value, dict) or not issubclass(kind, msgspec.Struct):
        return []
    needed = [(field.encode_name,) for field in msgspec.structs.fields(kind) if field.required]
    needed += getattr(kind, "alternatives", ())
    return [" or ".join(names) for names in needed if not any(name in value for name in names)]


def _unknown(value: object, kind: type) -> list[str]:
    """Names in an object that the type does not have, as far as they are worth repeating."""
    assert isinstance(value, dict)
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    return [repr(name[:40]) for name in value if name not in known][:8]


async def read_json(request: web.Request, limit_bytes: int, kind: type[T]) -> T:
    """The body as a request type."""
    return convert(parse_json(await read_body(request, limit_bytes)), kind)


# Query strings and preferences.


def check_query(request: web.Request, known: Sequence[str]) -> None:
    """Raise `QueryUnknown` for a parameter that is not `known`, `QueryInvalid` for a second one."""
    if not request.query_string:
        return
    seen: set[str] = set()
    for name, value in request.query.items():
        if name not in known:
            raise QueryUnknown(name=name[:80], known=", ".join(known) or "none")
        if name in seen:
            raise QueryInvalid(name=name, value=value[:80], allowed="given once")
        seen.add(name)


def query_integer(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """An integer of the query string within [low, high]. Raises `QueryInvalid`."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high:
        return int(text)
    raise QueryInvalid(name=name, value=text[:80], allowed=f"a number from {low} to {high}")


def query_cursor(request: web.Request, parts: int) -> tuple[int, ...] | None:
    """The numbers of a cursor that an earlier page gave. Raises `QueryInvalid`."""
    text = request.query.get("cursor")
    return None if text is None else parse_cursor(text, parts)


def place_cursor(request: web.Request) -> tuple[int, int] | None:
    """Height and place within the block, of a cursor that an earlier page gave. Raises
    `QueryInvalid`."""
    cursor = query_cursor(request, 2)
    if cursor is None:
        return None
    height, place = cursor
    if place > PLACE_MAX:
        raise QueryInvalid(
            name="cursor", value=f"{height}.{place}", allowed="the next_cursor of a page"
        )
    return height, place


def parse_cursor(text: str, parts: int) -> tuple[int, ...]:
    """The numbers of a cursor. Raises `QueryInvalid`."""
    fields = text.split(".")
    plain = all(field.isascii() and field.isdigit() and len(field) <= 15 for field in fields)
    if len(fields) != parts or not plain:
        raise QueryInvalid(name="cursor", value=text[:80], allowed="the next_cursor of a page")
    return tuple(map(int, fields))


def wait_preference(request: web.Request) -> str | None:
    """ "final", "accepted" or None: `?wait=`, else `Prefer: wait=` (RFC 7240)."""
    if request.query_string:
        choice = request.query.get("wait")
        if choice is not None:
            if choice not in ("final", "accepted"):
                raise QueryInvalid(name="wait", value=choice[:80], allowed='"final" or "accepted"')
            return choice
    prefer = request.headers.get("Prefer")
    if prefer:
        for preference in prefer.lower().replace('"', "").split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip() == "wait" and value.strip() in ("final", "accepted"):
                return value.strip()
    return None


def hex_bytes(text: str, length: int | None, error: Callable[[], Exception]) -> bytes:
    """Bytes of plain hex, `length` of them where given; raises what `error` makes otherwise."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise error() from None
    if len(data) * 2 != len(text) or (length is not None and len(data) != length):
        raise error()  # fromhex takes white space
    return data
