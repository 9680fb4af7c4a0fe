"""Readers of the bodies of the API."""

from collections.abc import Callable, Iterable
from typing import Any

import msgpack
import msgspec
from fuzz_law import same, vectors

from chaind.api.batches import LineSplitter, MessagePackSplitter, item_raw, line_raw, raw_array
from chaind.api.bodies import parse_json
from chaind.api.forms import Forms
from chaind.api.problems import BodyMalformed
from chaind.primitives.errors import Malformed
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction

GENESIS = Genesis.from_json(vectors("genesis")["sample"]["json"].encode())
FORMS = Forms(GENESIS)


def read_json(data: bytes) -> None:
    """What our reader takes, an independent one takes as well, and finds no key twice."""
    value = parse_json(data)
    strict = msgspec.json.decode(data)
    if not isinstance(value, (dict, list)):
        assert value == strict or isinstance(strict, float)


def read_item(data: bytes) -> None:
    """The short way and the long way of reading an item agree."""
    try:
        long_way: bytes | str = item_raw(FORMS, parse_json(data))
    except Malformed as error:
        long_way = error.code
    try:
        short_way: bytes | str = line_raw(FORMS, data)
    except Malformed as error:
        short_way = error.code
    assert short_way == long_way
    if isinstance(long_way, str):
        raise BodyMalformed(reason=long_way)
    if b'"inputs"' in data and b'"raw"' not in data:
        same(Transaction.decode(long_way).raw, long_way)


def read_array(data: bytes) -> None:
    """The short way of reading an array takes nothing that the long way would read otherwise."""
    found = raw_array(data)
    if found is None:
        raise BodyMalformed(reason="another array")
    assert [item["raw"] for item in parse_json(data)] == found


def _cut(data: bytes) -> Iterable[bytes]:
    step = max(1 + (data[0] if data else 0), len(data) // 64)
    return (data[at : at + step] for at in range(0, len(data), step))


def _whole_or_cut(make: Callable[[], Any], data: bytes) -> list[bytes]:
    """The items of a body, which do not depend on how it was cut."""
    found: list[list[bytes] | None] = []
    for pieces in ((data,), _cut(data)):
        splitter = make()
        try:
            items = [item for piece in pieces for item in splitter.feed(piece)]
            found.append([*items, *splitter.end()])
        except BodyMalformed:
            found.append(None)
    assert found[0] == found[1]
    if found[0] is None:
        raise BodyMalformed(reason="both ways")
    return found[0]


def read_lines(data: bytes) -> None:
    expected = [line for line in data.split(b"\n") if line.strip()]
    assert _whole_or_cut(LineSplitter, data) == expected


def read_stream(data: bytes) -> None:
    """An independent reader agrees on where the values of a stream end."""
    items = _whole_or_cut(lambda: MessagePackSplitter(1 << 20), data)
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 21)
    unpacker.feed(data)
    count = 0
    try:
        while unpacker.tell() < len(data):
            unpacker.skip()
            count += 1
    except (msgpack.OutOfData, msgpack.FormatError, msgpack.StackError, ValueError):
        return  # it has limits of its own: nesting, and timestamps
    assert count == len(items)


def api_samples() -> tuple[bytes, ...]:
    raws = [v["raw"] for v in vectors("transactions").values() if "raw" in v]
    forms = [
        msgspec.json.encode(FORMS.transaction_to_json(Transaction.decode(bytes.fromhex(raw))))
        for raw in raws
    ]
    lines = [b'{"raw":"%s"}' % raw.encode() for raw in raws]
    odd = (b'"c0ffee"', b'{"raw":"00","raw":"01"}', b'{ "\\u0072aw" : "00" }', b'[{"raw":"00"}]')
    return (*forms, *lines, *odd)
