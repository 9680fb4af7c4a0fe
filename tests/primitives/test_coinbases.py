"""The coinbase: Bitcoin's bytes, BIP-34 in Core's minimal form, and nothing beyond."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.coinbase import (
    COINBASE_BYTES_MAX,
    OUTPUTS_MAX,
    CoinbaseInvalid,
    CoinbaseOutput,
    address_script,
    compact_size,
    encode_coinbase,
    parse_coinbase,
    push_height,
    script_address,
)
from chaind.primitives.hashes import sha256d

# BIP-34 as Bitcoin Core writes it: CScript() << height.
HEIGHTS = {
    0: "00",
    1: "51",
    2: "52",
    15: "5f",
    16: "60",
    17: "0111",
    127: "017f",
    128: "028000",
    129: "028100",
    255: "02ff00",
    256: "020001",
    32_767: "02ff7f",
    32_768: "03008000",
    65_535: "03ffff00",
    65_536: "03000001",
    227_931: "035b7a03",  # the main-net block from which BIP-34 is in force
    8_388_607: "03ffff7f",
    8_388_608: "0400008000",
    16_777_216: "0400000001",
    2_147_483_647: "04ffffff7f",
    2_147_483_648: "050000008000",
}

# The coinbase of the published Stratum example: coinb1, extranonces 1 and 2, coinb2.
GOLDEN = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff1502e90308"
    "0000000100000000"
    "082f636861696e642fffffffff0200f2052a010000001976a914111111111111111111111111111111111111111188"
    "ac00000000000000002a6a284348443100000000192dad0df56671b9ddef0b77d5c15a31b2097675831d1e23af75"
    "3e84f361f00800000000"
)
KEY = b"\x11" * 20
POLICY = b"\x22" * 32
P2PKH = b"\x76\xa9\x14" + KEY + b"\x88\xac"


def raw_coinbase(
    *,
    script: bytes = b"\x02\xe9\x03",
    version: bytes = b"\x01\0\0\0",
    inputs: bytes = b"\x01",
    outpoint: bytes = bytes(32) + b"\xff" * 4,
    sequence: bytes = b"\xff" * 4,
    outputs: tuple[tuple[int, bytes], ...] = ((5_000_000_000, P2PKH),),
    count: bytes | None = None,
    lock_time: bytes = bytes(4),
    script_size: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A coinbase written out here, byte by byte, with single parts replaced."""
    paid = b"".join(
        struct.pack("<Q", amount) + compact_size(len(locking)) + locking
        for amount, locking in outputs
    )
    head = version + inputs + outpoint
    unlocking = (compact_size(len(script)) if script_size is None else script_size) + script
    number = compact_size(len(outputs)) if count is None else count
    return head + unlocking + sequence + number + paid + lock_time + tail


@pytest.mark.parametrize("height", HEIGHTS)
def test_bip34_heights(height: int) -> None:
    assert push_height(height).hex() == HEIGHTS[height]
    coinbase = encode_coinbase(height)
    assert parse_coinbase(coinbase).height == height
    script = raw_coinbase(script=bytes.fromhex(HEIGHTS[height]) + b"/pool/")
    assert parse_coinbase(script).height == height


@given(st.integers(0, 2**40), st.binary(min_size=3, max_size=90))
def test_every_height_is_read_back_whatever_follows(height: int, extra: bytes) -> None:
    coinbase = parse_coinbase(encode_coinbase(height, extra))
    assert coinbase.height == height
    assert coinbase.outputs == (CoinbaseOutput(address=None, amount=0),)


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("0100", "0 as a number"),
        ("0101", "1 as a number, not OP_1"),
        ("0110", "16 as a number"),
        ("021100", "17 with a zero behind"),
        ("0180", "128 without room for the sign: −0"),
        ("0181", "−1"),
        ("4f00", "OP_1NEGATE"),
        ("4c0111", "17 by OP_PUSHDATA1"),
        ("02e9", "the push is longer than the script"),
        ("6100", "OP_NOP"),
        ("ffff", "an undefined opcode"),
        ("09ffffffffffffffffff", "nine bytes, negative"),
    ],
)
def test_heights_in_any_other_form_are_refused(script: str, what: str) -> None:
    with pytest.raises(CoinbaseInvalid, match="BIP-34"):
        parse_coinbase(raw_coinbase(script=bytes.fromhex(script)))


def test_the_published_coinbase() -> None:
    coinbase = parse_coinbase(GOLDEN)
    assert coinbase.height == 1001
    assert coinbase.outputs == (
        CoinbaseOutput(address=KEY, amount=5_000_000_000),
        CoinbaseOutput(address=None, amount=0),
    )
    extra = bytes.fromhex("08" + "0000000100000000" + "08") + b"/chaind/"
    note = GOLDEN[GOLDEN.index(b"\x6a\x28") :][:42]
    assert encode_coinbase(1001, extra, [(P2PKH, 5_000_000_000), (note, 0)]) == GOLDEN
    branch = bytes.fromhex("71aa817e52cee92baa8dd19d7ea3bc83817d0d879a709cfc2a85de9e79200eb1")
    root = sha256d(sha256d(GOLDEN) + branch)
    assert root.hex() == "7966320f123155d5fc4fc4cbbe864e4c933939c1f251f52f64b2bb6d872f3520"


@pytest.mark.parametrize(
    ("script", "address"),
    [
        (P2PKH, KEY),
        (b"\x00\x14" + KEY, KEY),  # P2WPKH
        (b"\x00\x20" + POLICY, POLICY),  # P2WSH
        (b"\x6a", None),
        (b"\x6a\x04note", None),
    ],
)
def test_known_scripts_are_read_as_addresses(script: bytes, address: bytes | None) -> None:
    assert script_address(script) == address
    paid = parse_coinbase(raw_coinbase(outputs=((0, script), (1, P2PKH))))
    assert paid.outputs[0] == CoinbaseOutput(address=address, amount=0)


def test_scripts_of_addresses_are_read_back() -> None:
    assert script_address(address_script(KEY)) == KEY
    assert script_address(address_script(POLICY)) == POLICY


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x51",  # anyone can spend
        b"\x21" + b"\x02" * 33 + b"\xac",  # P2PK
        b"\xa9\x14" + KEY + b"\x87",  # P2SH
        b"\x51\x20" + POLICY,  # P2TR
        b"\x00\x14" + KEY + b"\0",
        b"\x00\x14" + KEY[:-1],
        b"\x00\x20" + POLICY[:-1],
        b"\x00\x28" + bytes(40),
        P2PKH[:-1],
        P2PKH + b"\xac",
        P2PKH[:-1] + b"\xad",
    ],
    ids=lambda script: script.hex()[:12] or "empty",
)
def test_scripts_that_nobody_here_could_spend_are_refused(script: bytes) -> None:
    with pytest.raises(CoinbaseInvalid, match="no known kind"):
        parse_coinbase(raw_coinbase(outputs=((1, script), (1, P2PKH))))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw_coinbase(inputs=b"\x02"), "null input"),
        (raw_coinbase(inputs=b"\x00"), "null input"),
        (raw_coinbase(version=b"\x01\0\0\0\0\x01"), "null input"),  # BIP-144 marker and flag
        (raw_coinbase(outpoint=bytes(32) + bytes(4)), "null input"),
        (raw_coinbase(outpoint=b"\1" + bytes(31) + b"\xff" * 4), "null input"),
        (raw_coinbase(script=b"\x51"), "script of 1 bytes"),
        (raw_coinbase(script=b"\x51" * 101), "script of 101 bytes"),
        (raw_coinbase(outputs=(), tail=bytes(20)), "0 outputs"),
        (raw_coinbase(outputs=((0, b"\x6a"),) * (OUTPUTS_MAX + 1)), "65 outputs"),
        (raw_coinbase(outputs=((1, b"\x6a"),), tail=bytes(10)), "OP_RETURN output with a value"),
        (raw_coinbase(outputs=((AMOUNT_MAX + 1, P2PKH),)), "9223372036854775808 base units"),
        (raw_coinbase(outputs=((2**64 - 1, P2PKH),)), "18446744073709551615 base units"),
        (raw_coinbase(tail=b"\0"), "bytes follow"),
        (raw_coinbase(lock_time=b""), "ends too early"),
        (raw_coinbase(count=b"\x02"), "ends too early"),
        (raw_coinbase(script_size=b"\xfd\x03\x00"), "a length is not minimal"),
        (raw_coinbase(script_size=b"\xfe\x03\x00\x00\x00"), "a length is not minimal"),
        (raw_coinbase(script_size=b"\xff\x03" + bytes(7)), "a length is not minimal"),
        (raw_coinbase(script_size=b"\xfe\xff\xff\xff\xff"), "out of range"),
        (raw_coinbase(script_size=b"\xff" * 9), "out of range"),
        (raw_coinbase(count=b"\xff" + (2**40).to_bytes(8, "little")), "out of range"),
        (raw_coinbase(count=b"\xfd\x01\x00"), "a length is not minimal"),
        (b"", "0 bytes"),
        (bytes(64), "64 bytes"),
        (raw_coinbase(outputs=((0, b"\x6a" + bytes(COINBASE_BYTES_MAX)),)), "bytes"),
    ],
)
def test_other_shapes_are_refused_with_their_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CoinbaseInvalid) as caught:
        parse_coinbase(data)
    assert reason in str(caught.value)


def test_no_coinbase_passes_for_a_merkle_node() -> None:
    """64 bytes could be two hashes: the smallest coinbase is longer, and shorter is refused."""
    assert len(encode_coinbase(0)) > 64
    assert parse_coinbase(raw_coinbase(outputs=((0, b"\x6a\0"),))).height == 1001
    short = raw_coinbase(outputs=((0, b"\x6a"),))
    assert len(short) == 64
    with pytest.raises(CoinbaseInvalid, match="64 bytes"):
        parse_coinbase(short)
    with pytest.raises(AssertionError):
        encode_coinbase(1001, b"")


def test_the_bounds_themselves_are_allowed() -> None:
    assert len(parse_coinbase(raw_coinbase(outputs=((0, b"\x6a"),) * OUTPUTS_MAX)).outputs) == 64
    assert parse_coinbase(raw_coinbase(outputs=((AMOUNT_MAX, P2PKH),))).outputs[0].amount > 0
    assert parse_coinbase(raw_coinbase(script=b"\x51" * 100)).height == 1
    room = COINBASE_BYTES_MAX - len(raw_coinbase(outputs=((0, bytes(253)),)))
    data = raw_coinbase(outputs=((0, b"\x6a" + bytes(252 + room)),))
    assert len(data) == COINBASE_BYTES_MAX
    assert parse_coinbase(data).height == 1001


@pytest.mark.parametrize("at", range(len(GOLDEN)))
def test_every_truncation_is_refused(at: int) -> None:
    with pytest.raises(CoinbaseInvalid):
        parse_coinbase(GOLDEN[:at])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "00"),
        (0xFC, "fc"),
        (0xFD, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00000100"),
        (0xFFFFFFFF, "feffffffff"),
    ],
)
def test_compact_sizes(value: int, written: str) -> None:
    assert compact_size(value).hex() == written
