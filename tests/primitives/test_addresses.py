"""Addresses: BIP-173 and Base58Check vectors, and the ways in which text is no address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.primitives.address import (
    HRP_CHARS_MAX,
    AddressFormat,
    AddressInvalid,
    base58check_decode,
    base58check_encode,
    bech32_decode,
    bech32_encode,
    key_address,
    policy_address,
)
from chaind.primitives.hashes import sha256

CHAIN = AddressFormat(hrp="chd", p2pkh_version=0x1C)
BITCOIN = AddressFormat(hrp="bc", p2pkh_version=0)

# BIP-173, "Test vectors": valid addresses of witness version 0 with 20 and 32 bytes.
BIP173_VALID = [
    (
        "bc",
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    (
        "tb",
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "tb",
        "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
]
# BIP-173: invalid addresses with the reason given there, then valid ones of other versions and
# BIP-350 (Bech32m), which are none here.
BIP173_INVALID = [
    ("bc", "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", "does not begin with bc1"),
    ("bc", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum"),
    ("bc", "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2", "witness version"),
    ("bc", "bc1rw5uspcuh", "witness version"),
    (
        "bc",
        "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
        "witness version",
    ),
    ("bc", "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "neither 20 nor 32 bytes"),
    ("tb", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7", "mixed"),
    ("bc", "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", "witness version"),
    (
        "tb",
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv",
        "neither 20 nor 32 bytes",  # padding that is not zero
    ),
    ("bc", "bc1gmk9yu", "checksum"),  # nothing between separator and checksum
    (
        "bc",
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx",
        "witness version",
    ),
    ("bc", "BC1SW50QA3JX3S", "witness version"),
    ("bc", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", "checksum"),
    # BIP-173, strings that are no Bech32 at all.
    ("x", "x1b4n0q5v", "'b' is not a Bech32 digit"),
    ("li", "li1dgmt3", "checksum"),
    ("de", "de1lg7wt\xff", "ASCII"),
    ("a", "A1G7SGD8", "checksum"),
    ("pz", "pzry9x0s0muk", "does not begin with pz1"),
]


@pytest.mark.parametrize(("hrp", "text", "program"), BIP173_VALID)
def test_bip173_valid(hrp: str, text: str, program: str) -> None:
    assert bech32_decode(hrp, text).hex() == program
    assert bech32_encode(hrp, bytes.fromhex(program)) == text.lower()
    assert AddressFormat(hrp=hrp, p2pkh_version=0).parse(text).hex() == program


@pytest.mark.parametrize(("hrp", "text", "reason"), BIP173_INVALID)
def test_bip173_invalid(hrp: str, text: str, reason: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        bech32_decode(hrp, text)
    assert reason in str(caught.value)


def test_bip173_length_limit() -> None:
    """90 characters is the longest, and the longest human-readable part still fits a policy."""
    longest = AddressFormat(hrp="h" * HRP_CHARS_MAX, p2pkh_version=0)
    text = longest.show(bytes(32))
    assert len(text) == 90
    assert longest.parse(text) == bytes(32)
    with pytest.raises(AddressInvalid):
        bech32_decode("h" * 31, bech32_encode("h" * 31, bytes(32)))


@pytest.mark.parametrize(
    ("version", "payload", "text"),
    [
        # Bitcoin wiki, "Technical background of version 1 Bitcoin addresses".
        (0, "f54a5851e9372b87810a8e60cdd2e7cfd80b6e31", "1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs"),
        # HASH160 of the generator point, as in BIP-173; and of nothing at all.
        (0, "751e76e8199196d454941c45d1b3a323f1433bd6", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"),
        (0, "00" * 20, "1111111111111111111114oLvT2"),
    ],
)
def test_base58check_vectors(version: int, payload: str, text: str) -> None:
    form = AddressFormat(hrp="bc", p2pkh_version=version)
    assert form.show_base58(bytes.fromhex(payload)) == text
    assert form.parse(text).hex() == payload
    assert base58check_decode(text) == bytes([version]) + bytes.fromhex(payload)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAt", "checksum"),
        ("1PMycacnJaSqwwJqjawXBErnLsZ7RkXUA", "checksum"),
        ("11PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs", "checksum"),  # one zero byte too many
        ("0PMycacnJaSqwwJqjawXBErnLsZ7RkXUAs", "'0' is not a Base58 digit"),
        ("1PMycacnJaSqwwJqjawXBErnLsZ7RkXUAI", "'I' is not a Base58 digit"),
        ("1PMycacnJaSqwwJqjawXBErnLsZ7RkXUA ", "' ' is not a Base58 digit"),
        ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", "version byte"),  # P2SH
        ("CHFLHxWuovxVHnFoxbaaH83WwnTBCYaE8h", "checksum"),
        ("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", "mixed"),  # a secret key
        ("1", "an address has 14 to 90 characters"),
        ("", "an address has 14 to 90 characters"),
        ("1" * 91, "an address has 14 to 90 characters"),
    ],
)
def test_base58check_refusals(text: str, reason: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        BITCOIN.parse(text)
    assert reason in str(caught.value)


def test_text_of_another_chain_is_refused() -> None:
    other = AddressFormat(hrp="tst", p2pkh_version=0x6F)
    for text in (other.show(bytes(20)), other.show(bytes(32)), other.show_base58(bytes(20))):
        assert other.parse(text) in (bytes(20), bytes(32))
        with pytest.raises(AddressInvalid):
            CHAIN.parse(text)


def test_what_is_not_text_is_refused() -> None:
    for value in (None, 5, b"chd1", ["chd1"]):
        with pytest.raises(AddressInvalid):
            CHAIN.parse(value)  # type: ignore[arg-type]


def test_a_base58_address_may_begin_like_a_bech32_one() -> None:
    """One in some ten thousand Base58 addresses of this chain begins with "CHD1" in some case."""
    payload = base58_payload("CHD1" + "z" * 30)
    text = base58check_encode(payload)
    assert text.lower().startswith("chd1")
    assert CHAIN.parse(text) == payload[1:]


def base58_payload(text: str) -> bytes:
    """21 bytes whose Base58Check begins like `text`, which has 34 digits."""
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for char in text:
        number = number * 58 + digits.index(char)
    return number.to_bytes(25, "big")[:21]


def test_other_alphabets_do_not_stand_for_ours() -> None:
    """K, the Kelvin sign, is lowered to k; one address has one upper-case text."""
    text = next(
        shown
        for shown in (CHAIN.show(sha256(b"%d" % number)[:20]).upper() for number in range(50))
        if "K" in shown
    )
    assert CHAIN.parse(text)
    with pytest.raises(AddressInvalid):
        CHAIN.parse(text.replace("K", "\N{KELVIN SIGN}"))


@given(st.binary(min_size=20, max_size=20) | st.binary(min_size=32, max_size=32))
def test_every_address_is_read_back(address: bytes) -> None:
    assert CHAIN.parse(CHAIN.show(address)) == address
    assert CHAIN.parse(CHAIN.show(address).upper()) == address
    if len(address) == 20:
        assert CHAIN.parse(CHAIN.show_base58(address)) == address


@given(
    st.binary(min_size=20, max_size=20) | st.binary(min_size=32, max_size=32),
    st.booleans(),
    st.data(),
)
def test_one_wrong_character_is_always_noticed(
    address: bytes, base58: bool, data: st.DataObject
) -> None:
    show = CHAIN.show_base58 if base58 and len(address) == 20 else CHAIN.show
    text = show(address)
    at = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.characters(codec="ascii").filter(lambda char: char != text[at]))
    with pytest.raises(AddressInvalid):
        CHAIN.parse(text[:at] + char + text[at + 1 :])


@given(st.binary(min_size=1, max_size=60))
def test_base58check_keeps_leading_zeros(payload: bytes) -> None:
    assert base58check_decode(base58check_encode(payload)) == payload


def test_the_two_kinds_differ_in_length() -> None:
    assert len(key_address(bytes(33))) == 20
    assert policy_address(b"policy") == sha256(b"policy")
