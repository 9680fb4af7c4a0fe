"""Compact bits, targets and work: Bitcoin's published cases, and a plain reference."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaind.primitives.block import Header
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.work import (
    BITCOIN_MAIN,
    BITCOIN_MAIN_GENESIS,
    BitsInvalid,
    CompactNumber,
    read_bits,
    target_of,
    to_bits,
    work_of,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "compact_bits.json").read_bytes())
BITS = st.integers(0, 2**32 - 1)
TARGETS = st.integers(0, 255).flatmap(lambda width: st.integers(0, 2 ** (width + 1) - 1))


def reference_read(bits: int) -> CompactNumber:
    """The number's bytes written out: `size` of them, the mantissa being the first."""
    size, *mantissa = bits.to_bytes(4, "big")
    negative = mantissa[0] >= 0x80
    mantissa[0] %= 0x80
    digits = bytes(mantissa)[:size] if size < 3 else bytes(mantissa) + bytes(size - 3)
    magnitude = int.from_bytes(digits, "big")
    return CompactNumber(magnitude, negative and magnitude > 0, magnitude >= 2**256)


def reference_write(target: int) -> int:
    """The most significant three bytes of the number, as a signed one is written."""
    digits = target.to_bytes((target.bit_length() + 8) // 8, "big") if target else b""
    return int.from_bytes(bytes([len(digits)]) + (digits + bytes(3))[:3], "big")


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: str(row[0]))
def test_published_compact_numbers(row: list[Any]) -> None:
    bits, magnitude, negative, overflow, canonical = row
    assert read_bits(int(bits, 16)) == (int(magnitude, 16), negative, overflow)
    if canonical is not None:
        assert to_bits(int(magnitude, 16)) == int(canonical, 16)


@given(BITS)
@example(0x2100FFFF)
@example(0x21010000)
@example(0x220000FF)
@example(0x22000100)
@example(0x23000001)
def test_reading_equals_the_bytes_written_out(bits: int) -> None:
    assert read_bits(bits) == reference_read(bits)


@given(TARGETS)
@example(0)
@example(0x7F)
@example(0x80)
@example(2**256 - 1)
def test_writing_keeps_the_leading_bytes(target: int) -> None:
    bits = to_bits(target)
    assert bits == reference_write(target)
    number = read_bits(bits)
    assert not number.negative
    assert not number.overflow
    assert number.magnitude <= target
    assert target - number.magnitude < max(1, target >> 15)  # at least 15 leading bits are kept
    assert to_bits(number.magnitude) == bits


@given(BITS)
def test_a_target_is_accepted_in_its_canonical_form_alone(bits: int) -> None:
    magnitude, negative, overflow = reference_read(bits)
    if not negative and not overflow and magnitude and reference_write(magnitude) == bits:
        assert target_of(bits) == magnitude
    else:
        with pytest.raises(BitsInvalid):
            target_of(bits)


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        (0x04923456, "negative"),
        (0xFF123456, "256 bits"),
        (0x1D000000, "zero"),
        (0x00123456, "zero"),
        (0x1E0000FF, "written 0x1d00ff00"),
    ],
)
def test_why_bits_are_refused(bits: int, reason: str) -> None:
    with pytest.raises(BitsInvalid, match=reason):
        target_of(bits)


@pytest.mark.parametrize(
    ("target", "work"),
    [
        (2**256 - 1, 1),
        (2**255 - 1, 2),
        (2**255, 1),
        (1, 2**255),
        (0xFFFF << 208, 0x100010001),  # block 0 of Bitcoin: its chainwork, as explorers show it
    ],
)
def test_work_is_the_hashes_expected(target: int, work: int) -> None:
    assert work_of(target) == work


def test_bitcoins_first_header() -> None:
    root = bytes.fromhex("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")[::-1]
    bits = BITCOIN_MAIN.limit_bits
    header = Header(1, ZERO_HASH, root, 1231006505, bits, 2083236893).encode()
    assert sha256d(header) == BITCOIN_MAIN_GENESIS
    assert int.from_bytes(BITCOIN_MAIN_GENESIS, "little") <= target_of(bits)
