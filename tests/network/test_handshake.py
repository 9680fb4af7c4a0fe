"""The opening of a connection: who is told what, and which error names what is wrong."""

import struct

import pytest
from msgspec import structs

from chaind.network.handshake import (
    MESSAGE_BYTES_MAX,
    PROTOCOL_VERSION,
    Handshaker,
    Hello,
    NotOurProtocol,
    ValidatorUnproven,
    WrongChain,
    WrongVersion,
)
from chaind.network.noise import DecryptFailed, HandshakeMalformed, KeyPair
from chaind.primitives.codec import Undecodable, encode
from chaind.primitives.errors import ChaindError, Conflict
from chaind.primitives.keys import SecretKey, verify

GENESIS = bytes(range(32))
HELLO = Hello(version=PROTOCOL_VERSION, agent="test", port=9080, final_height=7)
VALIDATOR = SecretKey(bytes(31) + b"\x07")


class Side:
    """One handshaker with keys of its own, remembering whom it admitted."""

    def __init__(
        self,
        *,
        initiator: bool,
        genesis: bytes = GENESIS,
        hello: Hello = HELLO,
        validator: SecretKey | None = None,
        refuse: ChaindError | None = None,
    ) -> None:
        seed = 1 if initiator else 2
        self.static = KeyPair(bytes([seed]) * 32)
        self.admitted: list[tuple[bytes, Hello]] = []
        self.refuse = refuse
        if validator is not None:
            hello = structs.replace(hello, validator_key=validator.public)
        self.shake = Handshaker(
            initiator=initiator,
            genesis_hash=genesis,
            static=self.static,
            ephemeral=KeyPair(bytes([seed + 8]) * 32),
            hello=hello,
            sign=None if validator is None else validator.sign,
            verify=verify,
            admit=self.admit,
        )

    def admit(self, static: bytes, hello: Hello) -> None:
        self.admitted.append((static, hello))
        if self.refuse is not None:
            raise self.refuse


def converse(caller: Side, callee: Side) -> None:
    """Carry bytes to and fro until both are silent."""
    to_callee, to_caller = caller.shake.start(), callee.shake.start()
    while to_callee or to_caller:
        if to_callee:
            to_callee, data = b"", to_callee
            to_caller += callee.shake.receive(data)
        if to_caller:
            to_caller, data = b"", to_caller
            to_callee += caller.shake.receive(data)


def test_both_learn_key_and_hello_and_share_keys() -> None:
    caller, callee = Side(initiator=True), Side(initiator=False, validator=VALIDATOR)
    converse(caller, callee)
    assert callee.shake.remote == (caller.static.public, HELLO)
    assert caller.shake.remote is not None
    static, hello = caller.shake.remote
    assert static == callee.static.public
    assert hello.validator_key == VALIDATOR.public
    assert caller.admitted == [caller.shake.remote]
    (send, _, _), (_, receive, _) = caller.shake.split(), callee.shake.split()
    assert receive.decrypt(send.encrypt(b"hello")) == b"hello"


def test_bytes_may_come_one_by_one_and_more_may_follow() -> None:
    caller, callee = Side(initiator=True), Side(initiator=False)
    answer = b"".join(callee.shake.receive(bytes([b])) for b in caller.shake.start())
    third = b"".join(caller.shake.receive(bytes([b])) for b in callee.shake.start() + answer)
    callee.shake.receive(third + b"the first record")
    assert callee.shake.split()[2] == b"the first record"


def test_node_of_another_chain_is_named_by_both_sides() -> None:
    caller, callee = Side(initiator=True), Side(initiator=False, genesis=bytes(32))
    with pytest.raises(WrongChain, match="0001020304050607"):
        callee.shake.receive(caller.shake.start())
    with pytest.raises(WrongChain, match="0000000000000000"):
        caller.shake.receive(callee.shake.start())
    assert issubclass(WrongChain, Conflict)  # a mistake, not an attack


def test_chain_is_bound_by_all_its_bits() -> None:
    """Equal opening words, other genesis: the prologue decides."""
    with pytest.raises(DecryptFailed):
        converse(Side(initiator=True), Side(initiator=False, genesis=GENESIS[:-1] + b"\xff"))


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"chainx"])
def test_other_protocols_are_refused_at_once(garbage: bytes) -> None:
    with pytest.raises(NotOurProtocol):
        Side(initiator=False).shake.receive(garbage)


def test_long_message_is_refused_on_its_length() -> None:
    opening = Side(initiator=False).shake.start()
    with pytest.raises(HandshakeMalformed):
        Side(initiator=False).shake.receive(opening + struct.pack(">H", MESSAGE_BYTES_MAX + 1))


def test_random_bytes_after_the_opening_fail_to_authenticate() -> None:
    caller = Side(initiator=True)
    opening = Side(initiator=False).shake.start()
    caller.shake.start()
    with pytest.raises(DecryptFailed):
        caller.shake.receive(opening + struct.pack(">H", 96) + bytes(range(96)))


def test_other_version_is_named() -> None:
    later = structs.replace(HELLO, version=PROTOCOL_VERSION + 1)
    caller = Side(initiator=True)
    with pytest.raises(WrongVersion, match=str(PROTOCOL_VERSION + 1)):
        converse(caller, Side(initiator=False, hello=later))
    assert caller.admitted == []


def test_hello_of_wrong_form_is_refused() -> None:
    with pytest.raises(Undecodable):
        converse(
            Side(initiator=True), Side(initiator=False, hello=structs.replace(HELLO, port=65_536))
        )


def test_longest_hello_fits_its_message() -> None:
    hello = structs.replace(HELLO, agent="😀" * 64, final_height=2**53)
    caller, callee = Side(initiator=True), Side(initiator=False, hello=hello, validator=VALIDATOR)
    converse(caller, callee)
    assert caller.shake.complete
    assert len(encode(hello)) + 150 < MESSAGE_BYTES_MAX


@pytest.mark.parametrize("initiator", [True, False])
def test_validator_key_needs_its_own_signature(initiator: bool) -> None:
    liar = Side(initiator=initiator, validator=VALIDATOR)
    liar.shake._sign = SecretKey(bytes(31) + b"\x08").sign
    other = Side(initiator=not initiator)
    with pytest.raises(ValidatorUnproven):
        converse(*((liar, other) if initiator else (other, liar)))
    assert other.admitted == []


def test_validator_key_without_signature_is_refused() -> None:
    class Mute(Handshaker):
        def _signed_hello(self) -> Hello:
            return self._hello

    callee = Side(initiator=False, validator=VALIDATOR)
    callee.shake.__class__ = Mute
    with pytest.raises(ValidatorUnproven):
        converse(Side(initiator=True), callee)


def test_validator_signature_serves_one_session_only() -> None:
    """The signature of one session, replayed in the next with another ephemeral key."""
    caught: list[bytes] = []

    def recording(digest: bytes) -> bytes:
        caught.append(VALIDATOR.sign(digest))
        return caught[-1]

    callee = Side(initiator=False, validator=VALIDATOR)
    callee.shake._sign = recording
    converse(Side(initiator=True), callee)
    replayer = Side(initiator=False, validator=VALIDATOR)
    replayer.shake._sign = lambda _digest: caught[0]
    fresh = Side(initiator=True)
    fresh.shake._noise._ephemeral = KeyPair(b"\x55" * 32)
    with pytest.raises(ValidatorUnproven):
        converse(fresh, replayer)
    assert len(caught) == 1


def test_initiator_refuses_before_it_has_named_itself() -> None:
    caller = Side(initiator=True, refuse=WrongVersion(theirs=0, ours=1))
    callee = Side(initiator=False)
    with pytest.raises(WrongVersion):
        converse(caller, callee)
    assert callee.admitted == []
    assert callee.shake.remote is None
