"""Blocks as miners hand them in: cut where MessagePack values end; nothing else gets through."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from chaind.node.block_hex import HEADS_MAX, NESTING_MAX, BlockUnreadable, parse_parts, split_values
from chaind.primitives.coinbase import compact_size, encode_coinbase
from chaind.primitives.errors import Malformed
from chaind.primitives.hashes import sha256d

HEADER = bytes(range(80))
COINBASE = encode_coinbase(300)

lengths = some.sampled_from([0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
leaves = some.one_of(
    some.none(),
    some.booleans(),
    some.floats(allow_nan=False),
    some.integers(-(1 << 63), (1 << 64) - 1),
    some.integers(-200, 300),
    lengths.map(lambda length: b"b" * length),
    lengths.map(lambda length: "s" * length),
)
values = some.one_of(
    some.recursive(leaves, lambda inner: some.lists(inner, max_size=4), max_leaves=10),
    some.sampled_from([15, 16, 65_535, 65_536]).map(lambda count: [0] * count),
)


def handed_in(rest: list[bytes], count: int | None = None) -> bytes:
    number = 1 + len(rest) if count is None else count
    return HEADER + compact_size(number) + COINBASE + b"".join(rest)


@given(some.lists(values, max_size=4))
def test_values_are_cut_where_they_end(drawn: list[Any]) -> None:
    rest = [msgpack.packb(value) for value in drawn]
    parts = parse_parts(handed_in(rest))
    assert (parts.raw_header, parts.coinbase) == (HEADER, COINBASE)
    assert (parts.rest, parts.number) == (b"".join(rest), 1 + len(rest))
    assert parts.hash == sha256d(HEADER)
    assert not rest or split_values(parts.rest) == rest


@given(some.data())
def test_what_is_broken_is_malformed(data: Any) -> None:
    whole = bytearray(handed_in([msgpack.packb([b"x" * 40, [1, "two", None]])] * 2))
    for _ in range(data.draw(some.integers(1, 3))):
        whole[data.draw(some.integers(80, len(whole) - 1))] = data.draw(some.integers(0, 255))
    cut = bytes(whole[: data.draw(some.integers(0, len(whole)))])
    try:
        parts = parse_parts(cut)
        values = split_values(parts.rest)
    except Malformed:
        return
    assert cut.endswith(parts.coinbase + b"".join(values))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (HEADER, "80 bytes"),
        (HEADER + b"\xfd\x01", "within the number of transactions"),
        (handed_in([b"\x91"]), "within a transaction"),
        (handed_in([b"\xc4\x05abc"]), "does not end where it should"),
        (handed_in([b"\xdd\xff\xff\xff\xff"]), "within a transaction"),
        (handed_in([b"\x91" * (NESTING_MAX + 1) + b"\xc0"]), "does not end where it should"),
        (handed_in([b"\x81\x01\x01"]), "0x81 begins no value"),
        (handed_in([b"\xc0"], count=3), "it counts 3 transactions and has 2"),
    ],
)
def test_why_it_is_no_block(data: bytes, said: str) -> None:
    with pytest.raises(BlockUnreadable, match=said):
        parse_parts(data).block(None)


def test_a_coinbase_alone_may_come_with_the_number_of_all() -> None:
    parts = parse_parts(handed_in([], count=700))
    assert (parts.rest, parts.number) == (b"", 700)


def test_a_block_of_very_many_values_is_not_read_to_its_end() -> None:
    with pytest.raises(BlockUnreadable, match="does not end"):
        split_values(b"\xc0" * (HEADS_MAX + 1))
