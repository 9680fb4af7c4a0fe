"""The batch door's framing: many transactions in one body, cut apart as they arrive.

NDJSON: one item a line. MessagePack: binaries that hold one transaction each, or the transactions
themselves, one after the other. What is cut is not yet a transaction; the intake says what it is.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from chaind.api.bodies import convert, hex_bytes, parse_json
from chaind.api.forms import FieldInvalid, Forms, Hex, TransactionForm
from chaind.api.problems import BodyMalformed

ITEMS_MAX = 100_000  # of one request: no valid transaction is shorter than 16 MiB / 100,000
LINE_BYTES_MAX = 1 << 20  # a transaction is at most 64 KiB by the rules; its JSON form is longer


class RawForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction as canonical MessagePack in hex."""

    raw: Hex


# Items of any form: one that is no transaction is refused in the answer to it, not the whole.
Batch = Annotated[
    list[Any],
    msgspec.Meta(description="Transactions, each in one of these forms", max_length=ITEMS_MAX),
]


class _Raw(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    raw: str


_decode_raw = msgspec.json.Decoder(_Raw).decode
_decode_raws = msgspec.json.Decoder(list[_Raw]).decode


def item_raw(forms: Forms, value: object) -> bytes:
    """Canonical bytes of a parsed item: `{"raw": hex}`, the hex itself, or a transaction form."""
    if isinstance(value, str):
        return _raw_bytes(value)
    if isinstance(value, dict) and "raw" in value:
        return _raw_bytes(convert(value, RawForm).raw)
    return forms.transaction_from_json(convert(value, TransactionForm)).raw


def line_raw(forms: Forms, line: bytes) -> bytes:
    """Canonical bytes of one JSON document. Raises `Malformed` leaves.

    The common form takes a short way: with one key and no escape no key can stand twice.
    """
    if line.count(b'"raw"') == 1 and b"\\" not in line:
        try:
            text = _decode_raw(line).raw
            raw = bytes.fromhex(text)
            if 2 * len(raw) == len(text):  # no white space inside
                return raw
        except (msgspec.DecodeError, ValueError):  # UnicodeDecodeError is one
            pass  # the long way says what is wrong
    return item_raw(forms, parse_json(line))


def raw_array(body: bytes) -> list[str] | None:
    """The hex of every item of `[{"raw": hex}, …]`; None where the array is another one."""
    if b"\\" in body:
        return None
    try:
        items = _decode_raws(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return [item.raw for item in items] if body.count(b'"raw"') == len(items) else None


def _raw_bytes(text: str) -> bytes:
    return hex_bytes(text, None, lambda: FieldInvalid(field="raw", reason="not hexadecimal"))


class LineSplitter:
    """Cuts lines from pieces of a body; blank ones are left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_BYTES_MAX:
            raise BodyMalformed(reason=f"a line is longer than {LINE_BYTES_MAX} bytes")
        return (line for line in lines if line.strip())

    def end(self) -> Iterator[bytes]:
        """The last line, which needs no line feed."""
        return iter([self._rest] if self._rest.strip() else [])


# How long a MessagePack value is, by its first byte: bytes of the length field that follows it
# (or of the value, where its length is fixed) and what that length counts.
_FIXED, _BYTES, _VALUES, _PAIRS = range(4)
_WIDE: dict[int, tuple[int, int]] = {
    0xC0: (0, _FIXED),
    0xC2: (0, _FIXED),
    0xC3: (0, _FIXED),
    **{0xC4 + i: (1 << i, _BYTES) for i in range(3)},  # bin
    **{0xC7 + i: (1 << i, _BYTES) for i in range(3)},  # ext: its type byte is added below
    0xCA: (4, _FIXED),
    0xCB: (8, _FIXED),
    **{0xCC + i: (1 << i, _FIXED) for i in range(4)},  # unsigned
    **{0xD0 + i: (1 << i, _FIXED) for i in range(4)},  # signed
    **{0xD4 + i: (1 + (1 << i), _FIXED) for i in range(5)},  # fixext
    **{0xD9 + i: (1 << i, _BYTES) for i in range(3)},  # str
    **{0xDC + i: (2 << i, _VALUES) for i in range(2)},  # array
    **{0xDE + i: (2 << i, _PAIRS) for i in range(2)},  # map
}
_BIN = range(0xC4, 0xC7)
_EXT = range(0xC7, 0xCA)


def scan(data: bytes, at: int, wanted: int) -> tuple[int, int]:
    """Pass `wanted` MessagePack values from `at` on, as far as `data` goes.

    Returns where it stands (beyond `data` where a value goes on there) and how many are still
    wanted: what to go on with once there is more. The last one ends at a position within `data`.
    """
    size = len(data)
    while wanted and at < size:
        first, start = data[at], at
        at += 1
        if first < 0x80 or first >= 0xE0:  # fixint
            wanted -= 1
        elif first >= 0xA0 and first < 0xC0:  # fixstr
            at += first & 0x1F
            wanted -= 1
        elif first >= 0x90 and first < 0xA0:  # fixarray
            wanted += (first & 0x0F) - 1
        elif first < 0x90:  # fixmap
            wanted += 2 * (first & 0x0F) - 1
        elif first == 0xC1:
            raise BodyMalformed(reason="byte 0xc1 begins no MessagePack value")
        else:
            width, kind = _WIDE[first]
            if kind == _FIXED:
                at += width
                wanted -= 1
                continue
            if at + width > size:
                return start, wanted
            count = int.from_bytes(data[at : at + width], "big")
            at += width + (first in _EXT)
            wanted -= 1
            if kind == _BYTES:
                at += count
            else:
                wanted += count if kind == _VALUES else 2 * count
    return at, wanted


def value_end(data: bytes, start: int) -> int | None:
    """Where the MessagePack value at `start` ends; None where it goes on beyond `data`."""
    at, wanted = scan(data, start, 1)
    return None if wanted or at > len(data) else at


class MessagePackSplitter:
    """Cuts transactions from a MessagePack stream. `item_bytes_max` bounds what is kept."""

    def __init__(self, item_bytes_max: int) -> None:
        self._rest = b""
        self._at, self._wanted = 0, 1  # how far `_rest` was scanned: nothing is scanned twice
        self._max = item_bytes_max + 5  # the head of the longest binary

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The items that `data` completes."""
        buffer, start = self._rest + data, 0
        at, wanted = scan(buffer, self._at, self._wanted)
        while not wanted and at <= len(buffer):
            first = buffer[start]
            head = 1 + (1 << (first - 0xC4)) if first in _BIN else 0
            yield buffer[start + head : at]
            start = at
            at, wanted = scan(buffer, start, 1)
        self._rest = buffer[start:]
        self._at, self._wanted = at - start, wanted
        if len(self._rest) > self._max:
            raise BodyMalformed(reason=f"an item is longer than {self._max} bytes")

    def end(self) -> Iterator[bytes]:
        """Nothing: a stream that ends inside an item is broken."""
        if self._rest:
            raise BodyMalformed(reason="ends inside a MessagePack value")
        return iter(())
