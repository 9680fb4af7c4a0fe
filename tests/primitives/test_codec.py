"""Canonical MessagePack: one value, one encoding, and every other form is refused."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from primitive_samples import (
    SWAP,
    sample_block,
    sample_certificates,
    sample_commitment,
    sample_evidence,
    sample_transactions,
)

from chaind.primitives.block import Block, commitment_decoder
from chaind.primitives.codec import Decoder, NonCanonical, Undecodable, encode
from chaind.primitives.errors import Malformed
from chaind.primitives.policy import policy_decoder
from chaind.primitives.transaction import Transaction, body_decoder
from chaind.primitives.votes import certificate_decoder, vote_decoder

Decode = Callable[[bytes], object]

# What is decoded, by what, and one value that uses all of it.
SAMPLES: dict[str, tuple[Decode, bytes]] = {
    **{name: (Transaction.decode, tx.raw) for name, tx in sample_transactions().items()},
    **{
        name: (certificate_decoder.decode, certificate.encode())
        for name, certificate in sample_certificates().items()
    },
    "body": (body_decoder.decode, sample_transactions()["coins"].body_bytes),
    "policy of swap": (policy_decoder.decode, encode(SWAP)),
    "vote": (vote_decoder.decode, encode(sample_evidence()[0])),
    "commitment": (
        commitment_decoder.decode,
        encode(sample_commitment(evidence=(sample_evidence(),), snapshot=bytes(32))),
    ),
    "block": (Block.decode, sample_block().encode()),
}


def heads(value: Any) -> list[bytes]:
    """Every MessagePack head that could announce `value`, whether shortest or not."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        forms = {b"\xcc": ">B", b"\xcd": ">H", b"\xce": ">I", b"\xcf": ">Q"}
        signed = {b"\xd0": ">b", b"\xd1": ">h", b"\xd2": ">i", b"\xd3": ">q"}
        found = []
        for code, form in {**forms, **signed}.items():
            bits = struct.calcsize(form) * 8 - (code >= b"\xd0")
            if 0 <= value < 1 << bits:
                found.append(code + struct.pack(form, value))
        return found
    families: dict[Any, tuple[bytes, bytes, bytes]] = {
        bytes: (b"\xc4", b"\xc5", b"\xc6"),
        str: (b"\xd9", b"\xda", b"\xdb"),
        list: (b"", b"\xdc", b"\xdd"),
    }
    codes = families[type(value)]
    length = len(value.encode()) if isinstance(value, str) else len(value)
    return [
        code + length.to_bytes(width, "big")
        for code, width in zip(codes, (1, 2, 4), strict=True)
        if code and length < 1 << 8 * width
    ]


def other_forms(value: Any) -> Iterator[bytes]:
    """Encodings of `value` in which exactly one head is longer than it need be."""
    canonical = msgpack.packb(value)
    if isinstance(value, list):
        head, parts = msgpack.packb([None] * len(value)), [msgpack.packb(part) for part in value]
        head = head[: len(head) - len(value)]
        for form in heads(value):
            if form != head:
                yield form + b"".join(parts)
        for index, part in enumerate(value):
            for form in other_forms(part):
                yield head + b"".join([*parts[:index], form, *parts[index + 1 :]])
        return
    tail = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else b""
    for form in heads(value):
        if form + tail != canonical:
            yield form + tail


def replaced(value: Any, change: Callable[[Any], list[Any]]) -> Iterator[Any]:
    """Copies of `value` with one node replaced by one of `change(node)`."""
    yield from change(value)
    if isinstance(value, list):
        for index, part in enumerate(value):
            for other in replaced(part, change):
                yield [*value[:index], other, *value[index + 1 :]]


def other_types(node: Any) -> list[Any]:
    """What looks like `node` to a careless reader."""
    match node:
        case bool():
            return [int(node), str(node), float(node)]
        case int():
            others: list[Any] = [float(node), str(node), [node]]
            return [bool(node), *others] if node in (0, 1) else others
        case bytes():
            return [node.hex(), list(node), msgpack.ExtType(5, node), [node]]
        case str():
            return [node.encode(), [node]]
        case list():
            return [dict(enumerate(node)), msgpack.packb(node), [*node, None]]
    return [False, {}]


@pytest.mark.parametrize("name", SAMPLES)
def test_our_bytes_are_plain_messagepack(name: str) -> None:
    """An independent reader reads them, and its writer writes the same bytes."""
    decode, raw = SAMPLES[name]
    plain = msgpack.unpackb(raw, raw=False, strict_map_key=True)
    assert isinstance(plain, list)
    assert msgpack.packb(plain, use_bin_type=True) == raw
    decode(raw)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_longer_form_is_refused(name: str) -> None:
    decode, raw = SAMPLES[name]
    plain = msgpack.unpackb(raw)
    forms = set(other_forms(plain))
    assert len(forms) > 10
    for form in forms:
        assert msgpack.unpackb(form) == plain  # the same value, or the test tests nothing
        with pytest.raises(NonCanonical):
            decode(form)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_other_type_and_no_extra_element_stands_for_a_field(name: str) -> None:
    decode, raw = SAMPLES[name]
    forms = {msgpack.packb(changed) for changed in replaced(msgpack.unpackb(raw), other_types)}
    assert len(forms) > 20
    for form in forms:
        with pytest.raises(Undecodable):
            decode(form)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_and_every_addition_is_refused(name: str) -> None:
    decode, raw = SAMPLES[name]
    for length in range(len(raw)):
        with pytest.raises(Undecodable):
            decode(raw[:length])
    for tail in (b"\0", b"\xc0", raw):
        with pytest.raises((Undecodable, NonCanonical)):
            decode(raw + tail)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, b"\xcb" + struct.pack(">d", 1.0)),
        (int, b"\xca" + struct.pack(">f", 1.0)),
        (int, b"\xc3"),  # true
        (int, b"\xd6\xff\x00\x00\x00\x01"),  # a timestamp
        (bytes, b"\xa1a"),
        (str, b"\xc4\x01a"),
        (str, b"\xa1\xff"),  # not UTF-8
        (str, b"\xa3\xed\xa0\x80"),  # half of a surrogate pair
        (str, b"\xa2\xc1\x81"),  # "A", overlong
        (tuple[int, ...], b"\xdd\xff\xff\xff\xff"),  # four thousand million elements announced
        (bytes, b"\xc6\xff\xff\xff\xff"),
        (int, b"\xc1"),  # never used
        (int, b""),
    ],
)
def test_undecodable(kind: Any, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        Decoder("sample", kind).decode(data)
    assert "sample does not decode: " in str(caught.value)


@pytest.mark.parametrize("name", ["policy", "issue", "mint", "burn"])
def test_text_that_is_not_utf8_is_refused(name: str) -> None:
    decode, raw = SAMPLES[name]
    with pytest.raises(Undecodable):
        decode(raw.replace(b"\xa4GOLD", b"\xa4G\xff\xfeD"))


@pytest.mark.parametrize("decode", {decode for decode, _ in SAMPLES.values()})
@pytest.mark.parametrize("depth", [10, 100, 500, 900, 990, 1000, 5000, 200_000])
def test_deep_nesting_is_refused_and_ends(decode: Decode, depth: int) -> None:
    for head, leaf in ((b"\x91", b"\xc0"), (b"\x81\xc0", b"\xc0"), (b"\x92\xc0", b"")):
        with pytest.raises(Malformed):
            decode(head * depth + leaf)


@pytest.mark.parametrize("depth", [8, 9, 100, *range(480, 500), *range(980, 1000), 100_000])
def test_deeply_nested_policies_are_decoded_or_refused(depth: int) -> None:
    leaf = b"\x92\x03\x01"
    data = b"\x93\x06" * (depth - 1) + leaf * depth
    try:
        value = policy_decoder.decode(data)
    except Undecodable:
        assert depth > 100
    else:
        assert encode(value) == data


def test_integers_end_at_64_bits() -> None:
    decoder: Decoder[int] = Decoder("number", int)
    for number in (0, 127, 128, 255, 256, 2**16, 2**32, 2**63, 2**64 - 1, -1, -32, -33, -(2**63)):
        assert decoder.decode(encode(number)) == number == msgpack.unpackb(encode(number))
    with pytest.raises(OverflowError):
        encode(2**64)
