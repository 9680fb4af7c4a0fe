"""Garbage into every decoder: a value in canonical form, or an error of our tree, and nothing else.

Random bytes rarely get past the first one, so real encodings are damaged as well.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import msgpack
import pytest
from format_vectors import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from primitive_samples import ADDRESSES, SWAP, A, sample_block, sample_genesis

from chaind.primitives.address import AddressInvalid
from chaind.primitives.amounts import AMOUNT_MAX, AmountInvalid, parse_amount
from chaind.primitives.block import Block, Header, commitment_decoder
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase, parse_coinbase
from chaind.primitives.errors import ChaindError, Malformed, PeerFault
from chaind.primitives.genesis import Genesis, GenesisInvalid
from chaind.primitives.keys import BadPublicKey, BadSecretKey, SecretKey, verify
from chaind.primitives.policy import (
    Policy,
    PolicyInvalid,
    check_policy,
    format_policy,
    parse_policy,
    policy_decoder,
)
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import (
    Certificate,
    Vote,
    certificate_decoder,
    check_certificate_form,
    check_vote_form,
    vote_decoder,
)


def checked_policy(data: bytes) -> bytes:
    policy: Policy = policy_decoder.decode(data)
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy
    return encode(policy)


def checked_certificate(data: bytes) -> bytes:
    certificate: Certificate = certificate_decoder.decode(data)
    check_certificate_form(certificate)
    assert len(list(certificate.votes())) == len(certificate.signatures)
    return certificate.encode()


def checked_vote(data: bytes) -> bytes:
    vote: Vote = vote_decoder.decode(data)
    check_vote_form(vote)
    return encode(vote)


def read_coinbase(data: bytes) -> bytes:
    coinbase = parse_coinbase(data)
    assert coinbase.height >= 0
    assert all(0 <= output.amount <= AMOUNT_MAX for output in coinbase.outputs)
    return data


class Door(NamedTuple):
    """Reads bytes and writes what it read; `samples` are good inputs."""

    read: Callable[[bytes], bytes]
    samples: list[bytes]


def hexes(*values: str) -> list[bytes]:
    return [bytes.fromhex(value) for value in values]


BLOCKS = stored("blocks").values()
DOORS = {
    "transaction": Door(
        lambda data: Transaction.decode(data).raw,
        hexes(*(vector["raw"] for vector in stored("transactions").values() if "raw" in vector)),
    ),
    "block": Door(
        lambda data: Block.decode(data).encode(), hexes(*(vector["block"] for vector in BLOCKS))
    ),
    "header": Door(
        lambda data: Header.decode(data).encode(), hexes(*(vector["header"] for vector in BLOCKS))
    ),
    "commitment": Door(
        lambda data: encode(commitment_decoder.decode(data)),
        hexes(*(vector["commitment"] for vector in BLOCKS)),
    ),
    "coinbase": Door(
        read_coinbase,
        [
            *hexes(*(vector["coinbase"] for vector in BLOCKS)),
            encode_coinbase(1001, b"pool", [(b"\x76\xa9\x14" + A + b"\x88\xac", 5), (b"\x6a", 0)]),
        ],
    ),
    "policy": Door(checked_policy, [encode(SWAP)]),
    "certificate": Door(checked_certificate, hexes(*stored("votes")["certificates"].values())),
    "vote": Door(checked_vote, hexes(stored("votes")["vote"])),
}

each_door = pytest.mark.parametrize("name", DOORS)


def admit(door: Door, data: bytes) -> None:
    """What comes in comes out again, or the sender is told and blamed."""
    try:
        again = door.read(data)
    except Malformed as error:
        blamed, message = isinstance(error, PeerFault), str(error)
    else:
        blamed, message = True, "accepted"
        assert again == data
    assert blamed
    assert message


@each_door
def test_the_samples_themselves_come_in(name: str) -> None:
    for sample in DOORS[name].samples:
        assert DOORS[name].read(sample) == sample


@each_door
@given(data=st.binary(max_size=200))
def test_random_bytes(name: str, data: bytes) -> None:
    admit(DOORS[name], data)


@each_door
@given(data=st.data())
def test_damaged_bytes(name: str, data: st.DataObject) -> None:
    door = DOORS[name]
    sample = bytearray(data.draw(st.sampled_from(door.samples)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sample)))
        match data.draw(st.sampled_from(("replace", "insert", "delete"))):
            case "replace":
                sample[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "insert":
                sample[at:at] = data.draw(st.binary(max_size=9))
            case "delete":
                del sample[at : at + data.draw(st.integers(1, 40))]
    admit(door, bytes(sample))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(0, 9)
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=8)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
)
trees = st.recursive(
    scalars,
    lambda parts: st.lists(parts, max_size=10) | st.dictionaries(scalars, parts),
    max_leaves=20,
)


@each_door
@settings(max_examples=50)
@given(tree=trees)
def test_well_formed_messagepack_of_anything(name: str, tree: Any) -> None:
    admit(DOORS[name], msgpack.packb(tree))


@pytest.mark.parametrize("name", ["transaction", "commitment", "policy", "certificate", "vote"])
@settings(max_examples=60)
@given(data=st.data())
def test_one_field_replaced_by_anything(name: str, data: st.DataObject) -> None:
    door = DOORS[name]
    plain = msgpack.unpackb(data.draw(st.sampled_from(door.samples)))
    node = plain
    while True:
        at = data.draw(st.integers(0, len(node) - 1))
        if not (isinstance(node[at], list) and node[at] and data.draw(st.booleans())):
            break
        node = node[at]
    node[at] = data.draw(trees)
    admit(door, msgpack.packb(plain))


@given(
    st.text(max_size=100) | st.text(alphabet="chd1qpzry9x8gf2tvdw0s3jn54khce6mua7l", max_size=95)
)
def test_any_text_as_an_address(text: str) -> None:
    for candidate in (text, "chd1" + text, "C" + text):
        try:
            address = ADDRESSES.parse(candidate)
        except AddressInvalid:
            continue
        assert candidate in (ADDRESSES.show(address), ADDRESSES.show_base58(address))


@given(st.text(max_size=60) | st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{0,12})?", fullmatch=True))
def test_any_text_as_an_amount(text: str) -> None:
    try:
        units = parse_amount(text)
    except AmountInvalid:
        return
    assert 0 < units <= AMOUNT_MAX


words = st.sampled_from(
    [
        "pk",
        "multi",
        "after",
        "older",
        "sha256",
        "and",
        "or",
        "thresh",
        "(",
        ")",
        ",",
        " ",
        "1",
        "02",
    ]
)


@given(st.text(max_size=60) | st.lists(words, max_size=40).map("".join))
def test_any_text_as_a_policy(text: str) -> None:
    try:
        policy = parse_policy(text)
    except PolicyInvalid:
        return
    assert parse_policy(format_policy(policy)) == policy


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_as_key_digest_and_signature(key: bytes, digest: bytes, signature: bytes) -> None:
    with suppress(BadPublicKey):
        assert not verify(key, digest, signature)
    with suppress(BadSecretKey):
        assert len(SecretKey(key).public) == 33


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts),
    max_leaves=5,
)


@given(st.data())
def test_a_genesis_with_one_value_replaced_by_anything(data: st.DataObject) -> None:
    node = doc = json.loads(sample_genesis().to_json())
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        at = data.draw(st.sampled_from(keys))
        if not (isinstance(node[at], (dict, list)) and node[at] and data.draw(st.booleans())):
            break
        node = node[at]
    node[at] = data.draw(json_values)
    read_genesis(json.dumps(doc).encode())


@given(st.binary(max_size=100), st.integers(0, 4000), st.integers(0, 40))
def test_a_genesis_with_damaged_bytes(extra: bytes, at: int, gone: int) -> None:
    text = sample_genesis().to_json()
    at %= len(text)
    read_genesis(text[:at] + extra + text[at + gone :])


def read_genesis(data: bytes) -> None:
    """Refused, or a chain: whatever passes has a hash and comes back from its own file."""
    try:
        genesis = Genesis.from_json(data)
    except GenesisInvalid as error:
        message = str(error)
        assert message
    else:
        assert len(genesis.hash) == len(genesis.validators_hash) == 32
        assert Genesis.from_json(genesis.to_json()) == genesis


def test_the_doors_are_told_apart() -> None:
    """What one door admits no other does, but for a vote and what looks like one."""
    for name, door in DOORS.items():
        for other in set(DOORS) - {name}:
            for sample in door.samples:
                with pytest.raises(ChaindError):
                    DOORS[other].read(sample)
    assert sample_block().encode() not in DOORS["transaction"].samples
