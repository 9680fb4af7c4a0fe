"""Cutting streams: wherever the network cuts the pieces, the items are the same."""

import msgpack
import pytest
from api_kit import make_genesis
from hypothesis import given
from hypothesis import strategies as st

from chaind.api.batches import LineSplitter, MessagePackSplitter, line_raw, raw_array, value_end
from chaind.api.forms import FieldInvalid, Forms
from chaind.api.problems import BodyMalformed

FORMS = Forms(make_genesis())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=40)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)


@given(VALUES, st.binary(max_size=5))
def test_value_end_agrees_with_msgpack(value: object, tail: bytes) -> None:
    data = msgpack.packb(value)
    assert value_end(data + tail, 0) == len(data)
    assert all(value_end(data[:cut], 0) is None for cut in range(len(data)))


def test_value_end_of_wide_forms() -> None:
    for value in (b"x" * 70_000, "x" * 70_000, [1] * 70_000, dict.fromkeys(range(70_000))):
        data = msgpack.packb(value)
        assert value_end(data, 0) == len(data)
        assert value_end(data[:-1], 0) is None


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=8), st.data())
def test_messagepack_items_do_not_depend_on_the_pieces(
    items: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(msgpack.packb, items))
    splitter = MessagePackSplitter(100)
    found: list[bytes] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    found += splitter.end()
    assert found == items


def test_messagepack_transactions_one_after_the_other() -> None:
    raws = [msgpack.packb([[1, b"a" * 20], [i]]) for i in range(3)]
    assert list(MessagePackSplitter(100).feed(b"".join(raws))) == raws


def test_messagepack_that_breaks() -> None:
    splitter = MessagePackSplitter(100)
    assert list(splitter.feed(b"\xc4\x01a\xc4")) == [b"a"]
    with pytest.raises(BodyMalformed):
        splitter.end()
    with pytest.raises(BodyMalformed, match="0xc1"):
        list(splitter.feed(b"\x00\xc1"))
    with pytest.raises(BodyMalformed, match="longer"):  # promises more than an item may have
        list(MessagePackSplitter(10).feed(b"\xc6\xff\xff\xff\xff" + b"a" * 20))


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_do_not_depend_on_the_pieces(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(lines)
    splitter = LineSplitter()
    found: list[bytes] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    found += splitter.end()
    assert found == [line for line in lines if line.strip()]


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter()
    with pytest.raises(BodyMalformed):
        list(splitter.feed(b"a" * (1 << 20) + b"a"))


def test_items_in_every_form() -> None:
    assert line_raw(FORMS, b'{"raw":"c0ffee"}') == b"\xc0\xff\xee"
    assert line_raw(FORMS, b' { "\\u0072aw" : "c0ffee" } ') == b"\xc0\xff\xee"
    assert line_raw(FORMS, b'"c0ffee"') == b"\xc0\xff\xee"
    assert raw_array(b'[{"raw":"00"},{"raw":"01"}]') == ["00", "01"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"raw":"00","raw":"01"}', BodyMalformed),
        (b'{"raw":"00","\\u0072aw":"01"}', BodyMalformed),
        (b'{"raw":"00","more":1}', BodyMalformed),
        (b'{"raw":"0"}', BodyMalformed),
        (b'{"raw":"00 00"}', BodyMalformed),
        (b'{"raw":7}', BodyMalformed),
        (b'"zz"', FieldInvalid),
        (b"7", BodyMalformed),
        (b"{", BodyMalformed),
    ],
)
def test_items_that_are_refused(line: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        line_raw(FORMS, line)


@pytest.mark.parametrize(
    "body", [b'[{"raw":"00","raw":"01"}]', b'[{"raw":"00","\\u0072aw":"01"}]', b'["00"]', b"[1"]
)
def test_arrays_that_need_the_long_way(body: bytes) -> None:
    assert raw_array(body) is None
