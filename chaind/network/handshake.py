"""The opening of a connection: which chain, which node, which validator. Sans-IO.

    both sides, in clear      "chaind" ‖ first 8 bytes of the genesis hash
    then Noise XX             length u16 ‖ message, three times; prologue "chaind" ‖ genesis hash
    payloads                  message 1: empty; 2 and 3: the sender's Hello, encrypted

The opening words only make a clear error of a wrong port or chain: what binds a session to its
chain is the prologue, whose every bit both sides must share for message 2 to decrypt.
"""

import struct
from collections.abc import Callable
from typing import Annotated, Protocol

from msgspec import Meta, Struct, structs

from chaind.network.noise import CipherState, HandshakeMalformed, HandshakeState, KeyPair
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.errors import Conflict, Malformed, NotAllowed, PeerFault
from chaind.primitives.hashes import tagged_hash
from chaind.primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

PROTOCOL_VERSION = 1
MAGIC = b"chaind"
CHAIN_TAG_BYTES = 8  # enough to tell chains apart; the prologue has all 32
HELLO_TAG = "chaind/hello"
AGENT_CHARS_MAX = 64
MESSAGE_BYTES_MAX = 1_024  # message 2, the longest: keys and tags 96, Hello ≤ 380

_U16 = struct.Struct(">H")


class NotOurProtocol(Malformed, PeerFault):
    """Whatever opened the connection does not speak chaind."""

    code = "not-our-protocol"
    text = "the connection opens with {opening}, which is not chaind"
    advice = "Check that the port is a node's peer-to-peer port."


class WrongChain(Conflict):
    """A node of another chain: an honest mistake of somebody's configuration."""

    code = "peer-of-another-chain"
    text = "the peer's genesis hash begins with {theirs}, ours with {ours}"
    advice = "Give both nodes the same genesis file."


class WrongVersion(Conflict):
    """A node whose messages we might misread."""

    code = "wrong-version"
    text = "the peer speaks protocol version {theirs}, this node {ours}"
    advice = "Run the same release on both nodes."


class ValidatorUnproven(NotAllowed, PeerFault):
    """Claims a validator's key without a signature of this very session."""

    code = "validator-unproven"
    text = "the peer claims validator key {key} but does not prove it"


class Hello(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """How a node introduces itself.

    `port` is where it accepts peers, 0 for nowhere. `signature` is `validator_key`'s over
    `hello_digest`; both are None for a node that does not validate.
    """

    version: Annotated[int, Meta(ge=0, le=2**16)]
    agent: Annotated[str, Meta(max_length=AGENT_CHARS_MAX)]
    port: Annotated[int, Meta(ge=0, le=65_535)]
    final_height: Annotated[int, Meta(ge=0, le=2**53)]
    validator_key: (
        Annotated[bytes, Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)] | None
    ) = None
    signature: (
        Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)] | None
    ) = None


hello_decoder: Decoder[Hello] = Decoder("hello", Hello)

Sign = Callable[[bytes], bytes]  # 32-byte digest → 64-byte signature
Verify = Callable[[bytes, bytes, bytes], bool]  # public key, digest, signature
Admit = Callable[[bytes, Hello], None]  # static key, hello; raises to refuse the peer


class Signer(Protocol):
    """A validator's key."""

    @property
    def public(self) -> bytes:
        """Compressed secp256k1 point, 33 bytes."""

    def sign(self, digest: bytes) -> bytes:
        """64-byte signature of a 32-byte digest."""


def hello_digest(*, initiator: bool, transcript: bytes, static: bytes, validator: bytes) -> bytes:
    """What a validator signs: this session (its transcript so far), side, node key and own key.

    The transcript holds the other side's ephemeral key, so that no signature serves twice; the
    static key is there so that nobody relays a validator's signature as his own.
    """
    return tagged_hash(HELLO_TAG, encode((initiator, transcript, static, validator)))


class Handshaker:
    """One side's handshake: bytes in, bytes to write out, until `remote` is known.

    `hello` comes without a signature; `sign` makes it where it names a validator key. `admit` is
    asked once the remote is authenticated and, on the initiator's side, before it learns that it
    was accepted.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        genesis_hash: bytes,
        static: KeyPair,
        ephemeral: KeyPair,
        hello: Hello,
        sign: Sign | None,
        verify: Verify,
        admit: Admit,
    ) -> None:
        self.remote: tuple[bytes, Hello] | None = None
        self._initiator = initiator
        self._static = static
        self._hello = hello
        self._sign = sign
        self._verify = verify
        self._admit = admit
        self._opening = MAGIC + genesis_hash[:CHAIN_TAG_BYTES]
        self._opened = False
        self._received = bytearray()
        self._noise = HandshakeState(
            initiator=initiator,
            prologue=MAGIC + genesis_hash,
            static=static,
            ephemeral=ephemeral,
        )

    @property
    def complete(self) -> bool:
        """True once the ciphers can be split off."""
        return self._noise.complete

    def start(self) -> bytes:
        """What this side writes first, unasked."""
        if self._initiator:
            return self._opening + _framed(self._noise.write_message(b""))
        return self._opening

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer, return what to answer.

        Raises the errors above, those of `noise`, `Undecodable`, and whatever `admit` raises.
        """
        self._received += data
        if not self._opened and not self._take_opening():
            return b""
        answer = b""
        while not self._noise.complete:
            message = self._take_message()
            if message is None:
                break
            answer += self._step(message)
        return answer

    def split(self) -> tuple[CipherState, CipherState, bytes]:
        """Ciphers to send and to receive, and the bytes that already follow the handshake."""
        send, receive = self._noise.split()
        return send, receive, bytes(self._received)

    def _step(self, message: bytes) -> bytes:
        transcript = self._noise.transcript
        payload = self._noise.read_message(message)
        if self._noise.remote_static is None:  # message 1: nobody has named himself yet
            if payload:
                raise HandshakeMalformed(number=1, reason="a payload in clear")
        else:
            self._meet(self._noise.remote_static, payload, transcript)
        if not self._noise.my_turn:
            return b""
        return _framed(self._noise.write_message(encode(self._signed_hello())))

    def _meet(self, static: bytes, payload: bytes, transcript: bytes) -> None:
        hello = hello_decoder.decode(payload)
        if hello.version != PROTOCOL_VERSION:
            raise WrongVersion(theirs=hello.version, ours=PROTOCOL_VERSION)
        key = hello.validator_key
        if key is not None:
            digest = hello_digest(
                initiator=not self._initiator, transcript=transcript, static=static, validator=key
            )
            if hello.signature is None or not self._verify(key, digest, hello.signature):
                raise ValidatorUnproven(key=key.hex())
        self._admit(static, hello)
        self.remote = (static, hello)

    def _signed_hello(self) -> Hello:
        key = self._hello.validator_key
        if key is None:
            return self._hello
        assert self._sign is not None, "a validator key without its signature"
        digest = hello_digest(
            initiator=self._initiator,
            transcript=self._noise.transcript,
            static=self._static.public,
            validator=key,
        )
        return structs.replace(self._hello, signature=self._sign(digest))

    def _take_opening(self) -> bool:
        opening = bytes(self._received[: len(self._opening)])
        if not opening.startswith(MAGIC[: len(opening)]):
            raise NotOurProtocol(opening=opening)
        if len(opening) < len(self._opening):
            return False
        if opening != self._opening:
            theirs, ours = opening[len(MAGIC) :], self._opening[len(MAGIC) :]
            raise WrongChain(theirs=theirs.hex(), ours=ours.hex())
        del self._received[: len(self._opening)]
        self._opened = True
        return True

    def _take_message(self) -> bytes | None:
        if len(self._received) < _U16.size:
            return None
        (length,) = _U16.unpack_from(self._received)
        if length > MESSAGE_BYTES_MAX:
            raise HandshakeMalformed(number="?", reason=f"{length} bytes announced")
        if len(self._received) < _U16.size + length:
            return None
        message = bytes(self._received[_U16.size : _U16.size + length])
        del self._received[: _U16.size + length]
        return message


def _framed(message: bytes) -> bytes:
    return _U16.pack(len(message)) + message
