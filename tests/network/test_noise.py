"""Noise: the published vectors to the byte, and what the specification demands beyond them."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaind.network.noise import (
    NONCE_MAX,
    PROTOCOL_NAME,
    XX,
    CipherState,
    DecryptFailed,
    HandshakeMalformed,
    HandshakeState,
    KeyPair,
    NonceExhausted,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "noise_xx.json").read_text(encoding="utf-8")
)["vectors"]


def pair(seed: int) -> KeyPair:
    return KeyPair(bytes([seed]) * 32)


def sides(prologues: tuple[bytes, bytes] = (b"p", b"p")) -> tuple[HandshakeState, HandshakeState]:
    first, second = prologues
    return (
        HandshakeState(initiator=True, prologue=first, static=pair(1), ephemeral=pair(2)),
        HandshakeState(initiator=False, prologue=second, static=pair(3), ephemeral=pair(4)),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"].split(",")[0])
def test_published_vectors_to_the_byte(vector: dict[str, Any]) -> None:
    assert vector["protocol_name"].encode() == PROTOCOL_NAME
    both = [
        HandshakeState(
            initiator=side == "init",
            prologue=bytes.fromhex(vector[f"{side}_prologue"]),
            static=KeyPair(bytes.fromhex(vector[f"{side}_static"])),
            ephemeral=KeyPair(bytes.fromhex(vector[f"{side}_ephemeral"])),
        )
        for side in ("init", "resp")
    ]
    steps = [(bytes.fromhex(m["payload"]), m["ciphertext"]) for m in vector["messages"]]
    for number, (payload, ciphertext_hex) in enumerate(steps[: len(XX)]):
        writer, reader = both[number % 2], both[1 - number % 2]
        message = writer.write_message(payload)
        assert message.hex() == ciphertext_hex
        assert reader.read_message(message) == payload
    assert both[0].transcript == both[1].transcript
    if "handshake_hash" in vector:
        assert both[0].transcript.hex() == vector["handshake_hash"]
    assert both[0].remote_static == KeyPair(bytes.fromhex(vector["resp_static"])).public
    assert both[1].remote_static == KeyPair(bytes.fromhex(vector["init_static"])).public
    ciphers = [side.split() for side in both]
    assert len(steps) > len(XX)
    for number, (payload, ciphertext_hex) in enumerate(steps[len(XX) :], len(XX)):
        sealed = ciphers[number % 2][0].encrypt(payload)
        assert sealed.hex() == ciphertext_hex
        assert ciphers[1 - number % 2][1].decrypt(sealed) == payload


def test_other_prologue_fails_at_the_second_message() -> None:
    initiator, responder = sides((b"one chain", b"another"))
    responder.read_message(initiator.write_message(b""))
    with pytest.raises(DecryptFailed):
        initiator.read_message(responder.write_message(b""))


@pytest.mark.parametrize("flipped", [0, 31, 32, 79, 80, 95])
def test_every_part_of_the_second_message_is_authenticated(flipped: int) -> None:
    initiator, responder = sides()
    responder.read_message(initiator.write_message(b""))
    message = bytearray(responder.write_message(b""))
    assert len(message) == 96
    message[flipped] ^= 1
    with pytest.raises(DecryptFailed):
        initiator.read_message(bytes(message))
    assert not initiator.complete


def test_short_message_is_malformed() -> None:
    _, responder = sides()
    with pytest.raises(HandshakeMalformed):
        responder.read_message(bytes(31))


def test_point_of_small_order_is_refused() -> None:
    _, responder = sides()
    responder.read_message(bytes(32))  # the point 0: its every product is 0
    with pytest.raises(HandshakeMalformed, match="small order"):
        responder.write_message(b"")


def test_last_nonce_is_never_used() -> None:
    sender, receiver = (CipherState(bytes(32), NONCE_MAX - 1) for _ in range(2))
    assert receiver.decrypt(sender.encrypt(b"last")) == b"last"
    with pytest.raises(NonceExhausted):
        sender.encrypt(b"one more")
    with pytest.raises(NonceExhausted):
        receiver.decrypt(bytes(32))


def test_replay_and_reordering_do_not_decrypt_and_cost_no_nonce() -> None:
    sender, receiver = CipherState(bytes(32)), CipherState(bytes(32))
    first, second = sender.encrypt(b"1"), sender.encrypt(b"2")
    with pytest.raises(DecryptFailed):
        receiver.decrypt(second)
    assert receiver.decrypt(first) == b"1"
    with pytest.raises(DecryptFailed):
        receiver.decrypt(first)
    assert receiver.decrypt(second) == b"2"


def test_keys_do_not_show_their_secret() -> None:
    key = KeyPair(bytes(range(32)))
    assert key.reveal() == bytes(range(32))
    assert key.reveal().hex() not in repr(key)
    assert key.node_id == key.public.hex()
    with pytest.raises(TypeError):
        key.__reduce__()
