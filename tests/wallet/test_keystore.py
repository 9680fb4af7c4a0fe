"""The keystore file: its layout, what opens it, and that no byte can change unnoticed."""

import struct
from random import Random

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chaind.primitives.hashes import sha256
from chaind.wallet.keystore import (
    LOG2_N_FLOOR,
    LOG2_N_MAX,
    Account,
    Contents,
    KeystoreDamaged,
    KeystoreUnknown,
    OpenPart,
    PasswordWrong,
    SealedPart,
    cost_of,
    read_open,
    seal,
    unseal,
)
from chaind.wallet.secret import Secret

CHEAP = 4  # log₂ of scrypt's cost: tests guess no passwords
PASSWORD = Secret("pässword")
CONTENTS = Contents(
    OpenPart("chd", 0x1C, (Account("main", "", "", b"\7" * 20, keyed=True),)),
    SealedPart("some words", b"\5" * 64, {"main": b"\6" * 32}),
)


def make(log2_n: int = CHEAP, contents: Contents = CONTENTS, seed: int = 1) -> bytes:
    return seal(contents, PASSWORD, log2_n=log2_n, entropy=Random(seed).randbytes)


def redigest(data: bytes) -> bytes:
    """With a digest that fits: what somebody would do who changes a file on purpose."""
    return data[:-8] + sha256(data[:-8])[:8]


def test_what_was_sealed_is_opened() -> None:
    data = make()
    assert unseal(data, PASSWORD, "w") == CONTENTS
    assert read_open(data, "w") == CONTENTS.open
    assert cost_of(data, "w") == CHEAP


def test_the_layout_is_the_documented_one() -> None:
    """Read by hand, with the primitives alone."""
    data = make()
    magic, version, log2_n, r, p, salt, check, nonce, size = struct.unpack_from(
        ">8s4B16s16s12sI", data
    )
    assert (magic, version, log2_n, r, p) == (b"CHAINDKS", 1, CHEAP, 8, 1)
    head_size = 60 + size
    output = Scrypt(salt=salt, length=48, n=1 << log2_n, r=r, p=p).derive(
        "pa\u0308ssword".encode()  # NFKD
    )
    assert output[32:] == check
    plain = ChaCha20Poly1305(output[:32]).decrypt(nonce, data[head_size:-8], data[:head_size])
    assert msgspec.msgpack.decode(plain) == ["some words", b"\5" * 64, {"main": b"\6" * 32}]
    assert msgspec.msgpack.decode(data[60:head_size]) == [
        "chd", 0x1C, [["main", "", "", b"\7" * 20, True]]
    ]  # fmt: skip
    assert data[-8:] == sha256(data[:-8])[:8]


def test_the_format_is_frozen() -> None:
    assert sha256(make()).hex() == FROZEN


FROZEN = "59f54e9bbbe61712f2da1f2fdfb299aea7805044fdda63061cf75178f54e954e"


def test_secrets_are_not_in_the_file() -> None:
    data = make()
    for secret in (b"some words", b"\5" * 64, b"\6" * 32, b"password"):
        assert secret not in data


def test_salt_and_nonce_are_new_each_time() -> None:
    entropy = Random(3).randbytes
    first, second = (seal(CONTENTS, PASSWORD, log2_n=CHEAP, entropy=entropy) for _ in range(2))
    assert first[12:28] != second[12:28]
    assert first[44:56] != second[44:56]
    assert unseal(first, PASSWORD, "w") == unseal(second, PASSWORD, "w")


def test_a_wrong_password_is_told_from_damage() -> None:
    for wrong in ("letmein", "pässword ", "", "Pässword"):
        with pytest.raises(PasswordWrong, match="does not open w") as caught:
            unseal(make(), Secret(wrong), "w")
        assert not wrong or wrong not in str(caught.value)


def test_other_forms_of_the_same_characters_are_the_same_password() -> None:
    assert unseal(make(), Secret("pa\u0308ssword"), "w") == CONTENTS


def test_every_flipped_byte_is_refused_before_the_password_is_asked_for() -> None:
    data = make()
    for place in range(len(data)):
        for mask in (1, 0x20, 0x80, 0xFF):  # 0x20: upper and lower case
            flipped = bytearray(data)
            flipped[place] ^= mask
            with pytest.raises((KeystoreDamaged, KeystoreUnknown)) as caught:
                read_open(bytes(flipped), "w")
            expected = KeystoreUnknown if place < 8 else KeystoreDamaged
            assert type(caught.value) is expected, place
            with pytest.raises(expected):
                unseal(bytes(flipped), PASSWORD, "w")


def test_every_byte_changed_on_purpose_is_refused_with_the_right_password() -> None:
    """The digest is made to fit, so that only the seal is left to notice."""
    data = make()
    seen = set()
    for place in range(len(data) - 8):
        forged = bytearray(data)
        forged[place] ^= 1
        with pytest.raises((KeystoreDamaged, KeystoreUnknown, PasswordWrong)) as caught:
            unseal(redigest(bytes(forged)), PASSWORD, "w")
        seen.add(type(caught.value))
    assert seen == {KeystoreDamaged, KeystoreUnknown, PasswordWrong}


def test_an_open_part_changed_on_purpose_is_refused_by_the_password() -> None:
    """The account's address is in the clear; whoever replaces it is found out at the next send."""
    data = make()
    forged = redigest(data.replace(b"\7" * 20, b"\x08" * 20))
    assert read_open(forged, "w").accounts[0].address == b"\x08" * 20
    with pytest.raises(KeystoreDamaged, match="changed by someone"):
        unseal(forged, PASSWORD, "w")


def test_every_cut_and_every_addition_is_refused() -> None:
    data = make()
    for length in range(len(data)):
        with pytest.raises((KeystoreDamaged, KeystoreUnknown)):
            unseal(data[:length], PASSWORD, "w")
    for more in (b"\0", b"\n", data):
        with pytest.raises(KeystoreDamaged):
            unseal(data + more, PASSWORD, "w")


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (8, 2, "version 2"),
        (9, 0, "scrypt of 2\\^0"),
        (9, LOG2_N_MAX + 1, "scrypt of 2\\^23"),
        (9, 255, "scrypt of 2\\^255"),
        (10, 9, "scrypt of 2\\^4, 9, 1"),
        (11, 2, "scrypt of 2\\^4, 8, 2"),
    ],
)
def test_a_newer_version_or_a_cost_beyond_bounds_is_named(place: int, value: int, why: str) -> None:
    """A hostile cost would exhaust memory before any password could be wrong."""
    changed = bytearray(make())
    changed[place] = value
    with pytest.raises(KeystoreUnknown, match=why):
        unseal(redigest(bytes(changed)), PASSWORD, "w")


@pytest.mark.parametrize("data", [b"", b"{}", b"CHAINDK", b"\0" * 500])
def test_other_files_are_no_keystores(data: bytes) -> None:
    with pytest.raises(KeystoreUnknown, match="does not begin like one"):
        read_open(data, "w")


def test_an_open_part_of_another_shape_is_damage() -> None:
    data = make()
    head = bytearray(data[:60])
    head[56:60] = (3).to_bytes(4, "big")
    with pytest.raises(KeystoreDamaged, match="open part"):
        read_open(redigest(bytes(head) + b"\x93\1\2" + data[-50:]), "w")


def test_the_floor_for_peoples_files_is_that_of_the_design() -> None:
    assert LOG2_N_FLOOR >= 17


def test_the_sealed_part_does_not_show_itself() -> None:
    for text in (repr(CONTENTS), repr(CONTENTS.sealed), f"{CONTENTS.sealed}"):
        assert "some words" not in text
        assert "\\x05" not in text
        assert "\\x06" not in text
