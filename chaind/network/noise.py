"""Noise_XX_25519_ChaChaPoly_SHA256, the Noise Protocol Framework, revision 34.

Pure: no socket, no clock, no dice. The caller brings the ephemeral key; one used twice breaks the
secrecy of both sessions. Section numbers below are those of the specification.
"""

import hashlib
import hmac
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from chaind.primitives.errors import LocalFault, Malformed, PeerFault

PROTOCOL_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"  # 32 bytes: it is its own hash, 5.2
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
MESSAGE_BYTES_MAX: Final = 65_535  # section 3
NONCE_MAX: Final = 2**64 - 1  # reserved for rekey, section 5.1

_nonce = struct.Struct("<4xQ").pack  # section 12.3


class DecryptFailed(Malformed, PeerFault):
    """The authentication tag is wrong: damaged, forged, out of order, or under another key."""

    code = "decrypt-failed"
    text = "{what} of {length} bytes does not authenticate"


class HandshakeMalformed(Malformed, PeerFault):
    """A handshake message that cannot be one."""

    code = "handshake-malformed"
    text = "handshake message {number} is refused: {reason}"


class NonceExhausted(LocalFault):
    """2^64 - 1 messages under one key: the session has to end."""

    code = "nonce-exhausted"
    text = "the session key has encrypted its last message"
    advice = "Close the connection; a new handshake makes new keys."


class KeyPair:
    """An X25519 key pair, static (a node's identity) or ephemeral. `repr` shows no secret."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == KEY_BYTES
        self._secret = X25519PrivateKey.from_private_bytes(secret)
        self.public: bytes = self._secret.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "KeyPair":
        """A fresh pair from the operating system's generator."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @property
    def node_id(self) -> str:
        """Name of a node whose static key this is: the public key, 64 hex digits."""
        return self.public.hex()

    def exchange(self, public: bytes) -> bytes:
        """The 32-byte shared secret. Raises `ValueError` for a point of small order (7.1)."""
        return self._secret.exchange(X25519PublicKey.from_public_bytes(public))

    def reveal(self) -> bytes:
        """The 32 secret bytes, for the identity file alone."""
        return self._secret.private_bytes_raw()

    def __repr__(self) -> str:
        return f"KeyPair({self.node_id})"

    def __reduce__(self) -> str:
        raise TypeError("a secret key is not pickled")


class CipherState:
    """One direction's key and counter (section 5.1)."""

    __slots__ = ("_aead", "_n")

    def __init__(self, key: bytes, nonce: int = 0) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._n = nonce

    def encrypt(self, plaintext: bytes | memoryview, ad: bytes | None = None) -> bytes:
        """Ciphertext, 16 bytes longer. Raises `NonceExhausted`."""
        n = self._n
        if n >= NONCE_MAX:
            raise NonceExhausted
        sealed = self._aead.encrypt(_nonce(n), plaintext, ad)
        self._n = n + 1
        return sealed

    def decrypt(self, ciphertext: bytes | memoryview, ad: bytes | None = None) -> bytes:
        """Plaintext; the counter stays where it is on `DecryptFailed`. Raises `NonceExhausted`."""
        n = self._n
        if n >= NONCE_MAX:
            raise NonceExhausted
        try:
            opened = self._aead.decrypt(_nonce(n), ciphertext, ad)
        except InvalidTag:
            length = len(ciphertext)
            raise DecryptFailed(what="ciphertext", length=length) from None
        self._n = n + 1
        return opened


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (section 4.3)."""
    secret = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")


class _Symmetric:
    """SymmetricState: chaining key, transcript hash, and the handshake's cipher (section 5.2)."""

    def __init__(self, prologue: bytes) -> None:
        self.h = self.ck = PROTOCOL_NAME
        self.cipher: CipherState | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.ck, key = _hkdf(self.ck, material)
        self.cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = plaintext if self.cipher is None else self.cipher.encrypt(plaintext, self.h)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        opened = sealed if self.cipher is None else self.cipher.decrypt(sealed, self.h)
        self.mix_hash(sealed)
        return opened


# The XX pattern (section 7.5): what each message carries, for initiator and responder in turn.
XX: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class HandshakeState:
    """One side of the three messages (section 5.3).

    Write and read in turn, the initiator first; after the third message `split`. Any error ends
    the handshake: the object is not used again.
    """

    def __init__(
        self, *, initiator: bool, prologue: bytes, static: KeyPair, ephemeral: KeyPair
    ) -> None:
        self.initiator = initiator
        self.remote_static: bytes | None = None
        self._remote_ephemeral = b""
        self._static = static
        self._ephemeral = ephemeral
        self._symmetric = _Symmetric(prologue)
        self._turn = 0

    @property
    def complete(self) -> bool:
        """True once all three messages have passed."""
        return self._turn == len(XX)

    @property
    def my_turn(self) -> bool:
        """True where this side writes next."""
        return not self.complete and (self._turn % 2 == 0) == self.initiator

    @property
    def transcript(self) -> bytes:
        """Hash of everything so far, 32 bytes; the channel binding once `complete` (11.2)."""
        return self._symmetric.h

    def write_message(self, payload: bytes) -> bytes:
        """The next message, carrying `payload` (in clear in the first message only)."""
        assert self.my_turn, "the other side writes this message"
        parts = []
        for step in XX[self._turn]:
            if step == "e":
                self._symmetric.mix_hash(self._ephemeral.public)
                parts.append(self._ephemeral.public)
            elif step == "s":
                parts.append(self._symmetric.encrypt_and_hash(self._static.public))
            else:
                self._mix(step)
        parts.append(self._symmetric.encrypt_and_hash(payload))
        self._turn += 1
        return b"".join(parts)

    def read_message(self, message: bytes) -> bytes:
        """Payload of the other side's message. Raises `DecryptFailed`, `HandshakeMalformed`."""
        assert not self.complete, "no message follows the third"
        assert not self.my_turn, "this side writes this message"
        at = 0

        def take(count: int) -> bytes:
            nonlocal at
            at += count
            if at > len(message):
                raise HandshakeMalformed(number=self._turn + 1, reason=f"{len(message)} bytes")
            return message[at - count : at]

        for step in XX[self._turn]:
            if step == "e":
                self._remote_ephemeral = take(KEY_BYTES)
                self._symmetric.mix_hash(self._remote_ephemeral)
            elif step == "s":
                self.remote_static = self._symmetric.decrypt_and_hash(take(KEY_BYTES + TAG_BYTES))
            else:
                self._mix(step)
        payload = self._symmetric.decrypt_and_hash(message[at:])
        self._turn += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Ciphers (to send, to receive)."""
        assert self.complete
        first, second = _hkdf(self._symmetric.ck, b"")
        initiator, responder = CipherState(first), CipherState(second)
        return (initiator, responder) if self.initiator else (responder, initiator)

    def _mix(self, step: str) -> None:
        """MixKey(DH) of a two-letter token: initiator's key, then responder's (section 5.3)."""
        mine, theirs = (step[0], step[1]) if self.initiator else (step[1], step[0])
        key = self._ephemeral if mine == "e" else self._static
        remote = self._remote_ephemeral if theirs == "e" else self.remote_static
        assert remote is not None
        try:
            self._symmetric.mix_key(key.exchange(remote))
        except ValueError:
            raise HandshakeMalformed(
                number=self._turn + 1, reason="a public key of small order"
            ) from None
