"""secp256k1 keys and signatures, by libsecp256k1 (constant time).

Signatures are ECDSA with RFC 6979 nonces, low-S, in compact form: r ‖ s, 64 bytes big-endian.
Many checks travel packed, `public key ‖ digest ‖ signature` each: to processes that have cores of
their own, for threads of one process would wait for its lock after every signature.
"""

from functools import lru_cache

from coincurve import PrivateKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from chaind.primitives.errors import Malformed, PeerFault

PUBLIC_KEY_BYTES = 33
SECRET_KEY_BYTES = 32
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
CHECK_BYTES = PUBLIC_KEY_BYTES + DIGEST_BYTES + SIGNATURE_BYTES
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, 2.4.1
_HALF_ORDER = (CURVE_ORDER // 2).to_bytes(32, "big")
_PARSED_KEYS_MAX = 65_536  # 64 bytes each: decompressing a point costs a tenth of a verification

_context = GLOBAL_CONTEXT.ctx


class BadPublicKey(Malformed, PeerFault):
    """Not a compressed point of the curve."""

    code = "bad-public-key"
    text = "{key} is not a compressed secp256k1 public key"
    advice = "Give 33 bytes that begin with 02 or 03, as 66 hex digits."


class BadSecretKey(Malformed):
    """Not a scalar in [1, order)."""

    code = "bad-secret-key"
    text = "not a secp256k1 secret key: 32 bytes between 1 and the curve order are needed"
    advice = "Restore the key from a copy, or draw a new one; it is never printed."


@lru_cache(maxsize=_PARSED_KEYS_MAX)
def _parse_public_key(public_key: bytes) -> object:
    parsed = ffi.new("secp256k1_pubkey *")
    if len(public_key) != PUBLIC_KEY_BYTES or not lib.secp256k1_ec_pubkey_parse(
        _context, parsed, public_key, PUBLIC_KEY_BYTES
    ):
        raise BadPublicKey(key=public_key.hex()[:80])
    return parsed


def check_public_key(public_key: bytes) -> None:
    """Raise `BadPublicKey` unless the 33 bytes are a compressed point."""
    _parse_public_key(public_key)


def is_low_s(signature: bytes) -> bool:
    """True where s ≤ order / 2: of the two valid s only the lower one is canonical (BIP-62)."""
    return signature[32:] <= _HALF_ORDER


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """True where the 64-byte compact low-S `signature` of the 32-byte `digest` is the key's.

    Raises `BadPublicKey` where the key is no point. High-S signatures do not verify.
    """
    parsed_key = _parse_public_key(public_key)
    if len(signature) != SIGNATURE_BYTES or len(digest) != DIGEST_BYTES:
        return False
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_compact(_context, parsed, signature):
        return False
    return bool(lib.secp256k1_ecdsa_verify(_context, parsed, digest, parsed_key))


def verify_packed(checks: bytes) -> bytes:
    """A byte for each packed check, 1 where it verifies. With a key that is no point none does."""
    verdicts = bytearray()
    for at in range(0, len(checks), CHECK_BYTES):
        digest_at = at + PUBLIC_KEY_BYTES
        signature_at = digest_at + DIGEST_BYTES
        public_key = checks[at:digest_at]
        signature = checks[signature_at : signature_at + SIGNATURE_BYTES]
        try:
            verdicts.append(verify(public_key, checks[digest_at:signature_at], signature))
        except BadPublicKey:
            verdicts.append(False)
    return bytes(verdicts)


class SecretKey:
    """A secret scalar. Never shown: `repr` and pickling reveal nothing."""

    __slots__ = ("_key", "public")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_KEY_BYTES or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
            raise BadSecretKey
        self._key = PrivateKey(secret)
        self.public: bytes = self._key.public_key.format(compressed=True)

    def sign(self, digest: bytes) -> bytes:
        """RFC 6979, low-S, compact 64-byte signature of a 32-byte digest."""
        assert len(digest) == 32
        signature = ffi.new("secp256k1_ecdsa_signature *")
        signed = lib.secp256k1_ecdsa_sign(
            _context, signature, digest, self._key.secret, ffi.NULL, ffi.NULL
        )
        assert signed, "libsecp256k1 found no nonce"
        output = ffi.new("unsigned char[64]")
        lib.secp256k1_ecdsa_signature_serialize_compact(_context, output, signature)
        return bytes(ffi.buffer(output))

    def reveal(self) -> bytes:
        """The 32 secret bytes, for key files and derivation alone."""
        secret: bytes = self._key.secret
        return secret

    def __repr__(self) -> str:
        return f"SecretKey(public={self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a secret key is not pickled")
