"""secp256k1 signatures: RFC 6979, low-S, and agreement with two independent implementations."""

import copy
import hashlib
import pickle

import ecdsa
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from primitive_samples import ALICE, BOB

from chaind.primitives.hashes import sha256, sha256d
from chaind.primitives.keys import (
    CURVE_ORDER,
    BadPublicKey,
    BadSecretKey,
    SecretKey,
    check_public_key,
    is_low_s,
    verify,
)

# RFC 6979 has no secp256k1 section; these are the vectors that trezor-crypto (tests.c) and
# CoreBitcoin (BTCKey+Tests.m) agreed upon, the second of them with its S lowered.
RFC6979 = [
    (
        "cca9fbcc1b41e5a95d369eaa6ddcff73b61a4efaa279cfc6567e8daa39cbaf50",
        "sample",
        "af340daf02cc15c8d5d08d7735dfe6b98a474ed373bdb5fbecf7571be52b3842"
        "5009fb27f37034a9b24b707b7c6b79ca23ddef9e25f7282e8a797efe53a8f124",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000001",
        "Satoshi Nakamoto",
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
    ),
    (
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
        "Satoshi Nakamoto",
        "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0"
        "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
    ),
    (
        "f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181",
        "Alan Turing",
        "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c"
        "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000001",
        "All those moments will be lost in time, like tears in rain. Time to die...",
        "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
        "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
    ),
    (
        "e91671c46231f833a6406ccbea0e3e392c76c167bac1cb013f6f1013980455c2",
        "There is a computer disease that anybody who works with computers knows about. It's a "
        "very serious disease and it interferes completely with the work. The trouble with "
        "computers is that you 'play' with them!",
        "b552edd27580141f3b2a5463048cb7cd3e047b97c9f98076c32dbdf85a68718b"
        "279fa72dd19bfae05577e06c7c0c1900c371fcd5893f7e1d56a37d30174671f6",
    ),
]
# The generator, SEC 2, 2.4.1: the public key of the secret 1.
GENERATOR = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
FIELD_PRIME = 2**256 - 2**32 - 977
DIGEST = sha256(b"what is signed")
PREHASHED = ec.ECDSA(Prehashed(SHA256()))

secrets = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


def parts(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def compact(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def high_s(signature: bytes) -> bytes:
    r, s = parts(signature)
    return compact(r, CURVE_ORDER - s)


@pytest.mark.parametrize(("secret", "message", "signature"), RFC6979)
def test_rfc6979_vectors(secret: str, message: str, signature: str) -> None:
    key = SecretKey(bytes.fromhex(secret))
    digest = hashlib.sha256(message.encode()).digest()
    assert key.sign(digest).hex() == signature
    assert verify(key.public, digest, bytes.fromhex(signature))


def test_the_public_key_of_one_is_the_generator() -> None:
    assert SecretKey((1).to_bytes(32, "big")).public.hex() == GENERATOR
    mirrored = SecretKey((CURVE_ORDER - 1).to_bytes(32, "big")).public.hex()
    assert mirrored == "03" + GENERATOR[2:]


@settings(max_examples=25)
@given(secrets, digests)
def test_ecdsa_agrees_byte_for_byte(secret: bytes, digest: bytes) -> None:
    theirs = ecdsa.SigningKey.from_string(secret, curve=ecdsa.SECP256k1)
    signed_by_them = theirs.sign_digest_deterministic(
        digest, hashfunc=hashlib.sha256, sigencode=ecdsa.util.sigencode_string_canonize
    )
    ours = SecretKey(secret)
    assert ours.sign(digest) == signed_by_them
    assert ours.public == theirs.get_verifying_key().to_string("compressed")
    assert verify(ours.public, digest, signed_by_them)
    assert theirs.get_verifying_key().verify_digest(ours.sign(digest), digest)


@settings(max_examples=25)
@given(secrets, digests)
def test_cryptography_agrees_both_ways(secret: bytes, digest: bytes) -> None:
    ours = SecretKey(secret)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), ours.public)
    public.verify(encode_dss_signature(*parts(ours.sign(digest))), digest, PREHASHED)

    theirs = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())
    r, s = decode_dss_signature(theirs.sign(digest, PREHASHED))  # a random nonce, any S
    signature = compact(r, min(s, CURVE_ORDER - s))
    assert verify(ours.public, digest, signature)
    assert not verify(ours.public, digest, high_s(signature))

    with pytest.raises(InvalidSignature):
        public.verify(encode_dss_signature(r, s), sha256(digest), PREHASHED)
    assert not verify(ours.public, sha256(digest), signature)


def test_high_s_is_valid_mathematics_and_refused_here() -> None:
    """BIP-62, rule 5: otherwise anyone could give a transaction a second wtxid."""
    low = ALICE.sign(DIGEST)
    high = high_s(low)
    theirs = ecdsa.VerifyingKey.from_string(ALICE.public, curve=ecdsa.SECP256k1)
    assert theirs.verify_digest(high, DIGEST)
    assert is_low_s(low)
    assert not is_low_s(high)
    assert verify(ALICE.public, DIGEST, low)
    assert not verify(ALICE.public, DIGEST, high)


def test_low_s_ends_at_half_the_order() -> None:
    half = CURVE_ORDER // 2
    assert is_low_s(compact(1, half))
    assert not is_low_s(compact(1, half + 1))


@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, 1),
        (1, 0),
        (0, 0),
        (CURVE_ORDER, 1),
        (1, CURVE_ORDER),
        (CURVE_ORDER + 1, 1),
        (2**256 - 1, 2**256 - 1),
        (1, 1),
    ],
)
def test_values_out_of_range_do_not_verify(r: int, s: int) -> None:
    for digest in (DIGEST, bytes(32)):  # digest 0 once made forgeries of r = s
        assert not verify(ALICE.public, digest, compact(r, s))


def test_r_and_s_are_not_reduced() -> None:
    r, s = parts(ALICE.sign(DIGEST))
    if s + CURVE_ORDER < 2**256:
        assert not verify(ALICE.public, DIGEST, compact(r, s + CURVE_ORDER))
    assert not verify(ALICE.public, DIGEST, compact(s, r))


@given(st.integers(0, 511))
def test_every_flipped_bit_breaks_it(bit: int) -> None:
    number = int.from_bytes(ALICE.sign(DIGEST), "big") ^ 1 << bit
    assert not verify(ALICE.public, DIGEST, number.to_bytes(64, "big"))


def test_another_key_or_digest_does_not_verify() -> None:
    signature = ALICE.sign(DIGEST)
    assert not verify(BOB.public, DIGEST, signature)
    assert not verify(ALICE.public, sha256d(DIGEST), signature)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 72, 128])
def test_other_lengths_do_not_verify(length: int) -> None:
    signature = (ALICE.sign(DIGEST) * 2)[:length]
    assert not verify(ALICE.public, DIGEST, signature)
    assert not verify(ALICE.public, (DIGEST * 4)[:length], ALICE.sign(DIGEST))


def other_forms_of(public: bytes) -> list[bytes]:
    point = ecdsa.VerifyingKey.from_string(public, curve=ecdsa.SECP256k1)
    return [point.to_string("uncompressed"), point.to_string("hybrid"), point.to_string("raw")]


@pytest.mark.parametrize(
    "public",
    [
        b"",
        ALICE.public[:32],
        ALICE.public + b"\0",
        *other_forms_of(ALICE.public),
        b"\x00" + ALICE.public[1:],
        b"\x04" + ALICE.public[1:],
        b"\x06" + ALICE.public[1:],
        b"\x02" + bytes(32),  # x³ + 7 = 7 is no square
        b"\x02" + (5).to_bytes(32, "big"),
        b"\x02" + FIELD_PRIME.to_bytes(32, "big"),
        b"\x02" + (FIELD_PRIME + 1).to_bytes(32, "big"),  # 1, not reduced
        b"\x02" + b"\xff" * 32,
    ],
    ids=lambda public: public.hex()[:12],
)
def test_what_is_no_compressed_point_is_refused(public: bytes) -> None:
    for _ in range(2):  # the memory of parsed keys remembers no refusal
        with pytest.raises(BadPublicKey):
            check_public_key(public)
        with pytest.raises(BadPublicKey):
            verify(public, DIGEST, ALICE.sign(DIGEST))


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        bytes(32),
        b"\x01" * 31,
        b"\x01" * 33,
        CURVE_ORDER.to_bytes(32, "big"),
        b"\xff" * 32,
    ],
    ids=lambda secret: secret.hex()[:12],
)
def test_what_is_no_secret_is_refused_without_being_shown(secret: bytes) -> None:
    with pytest.raises(BadSecretKey) as caught:
        SecretKey(secret)
    assert not secret or secret.hex() not in repr(caught.value)


def test_a_secret_does_not_leak() -> None:
    secret = ALICE.reveal()
    assert secret.hex() not in repr(ALICE)
    assert secret.hex() not in str(ALICE)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(ALICE)
    assert not hasattr(ALICE, "__dict__")
