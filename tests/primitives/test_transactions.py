"""The transaction: what its two identities and its digest commit to."""

import hashlib
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitive_samples import (
    ALICE,
    BOB,
    CHAIN,
    PREIMAGE,
    SALT,
    SWAP,
    TIME_MS,
    A,
    B,
    sample_body,
    sample_transactions,
    signed,
)

from chaind.primitives.codec import NonCanonical, encode
from chaind.primitives.keys import verify
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CreateMarket,
    Kind,
    Market,
    PlaceOrder,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.primitives.transaction import (
    AccountInput,
    AccountOutput,
    Burn,
    CoinInput,
    CoinOutput,
    Issue,
    KeyWitness,
    Lease,
    Mint,
    PolicyWitness,
    Transaction,
    body_decoder,
    payment_intent,
    signing_digest,
)

TRANSACTIONS = sample_transactions()


def double(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def test_a_payment_is_written_as_the_format_page_says() -> None:
    """[version, chain, salt, valid_until, lease, inputs, outputs, action, memo], witnesses."""
    witness = TRANSACTIONS["payment with lease and memo"].witnesses[0]
    assert isinstance(witness, KeyWitness)
    lease = [A, hashlib.sha256(b"order 4711").digest(), hashlib.sha256(b"intent").digest()]
    body = [
        1,
        CHAIN,
        SALT,
        TIME_MS + 60_000,
        lease,
        [[1, A, "", 1_250_000_200]],
        [[1, B, "", 1_250_000_000]],
        None,
        b"rent",
    ]
    raw = msgpack.packb([body, [[0, ALICE.public, witness.signature]]])
    assert TRANSACTIONS["payment with lease and memo"].raw == raw
    decoded = Transaction.decode(raw)
    assert decoded.body.lease == Lease(*lease)
    assert decoded.body.outputs == (AccountOutput(B, "", 1_250_000_000),)


def test_the_other_variants_are_written_as_the_format_page_says() -> None:
    coin = hashlib.sha256(b"chaind sample coin").digest()
    plain = {name: msgpack.unpackb(tx.raw) for name, tx in TRANSACTIONS.items()}
    body, witnesses = plain["coins"]
    assert body[3] is None
    assert body[5] == [[0, coin, 1], [1, B, "", 1]]
    assert [output[0] for output in body[6]] == [0, 0]
    assert [witness[:2] for witness in witnesses] == [[0, ALICE.public], [0, BOB.public]]
    _, (witness,) = plain["policy"]
    assert [*witness[:3], witness[4]] == [1, encode(SWAP), [0], [PREIMAGE]]
    assert witness[3][0][0] == 0
    assert plain["issue"][0][7] == [0, "GOLD", A, 2**63 - 1, True]
    assert plain["mint"][0][7] == [1, "GOLD", 1]
    assert plain["burn"][0][7] == [2, A, "GOLD", 128]


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_identities_are_double_hashes_of_body_and_raw(name: str) -> None:
    transaction = TRANSACTIONS[name]
    body = encode(transaction.body)
    assert transaction.body_bytes == body
    assert transaction.raw == msgpack.packb(msgpack.unpackb(transaction.raw))
    assert transaction.txid == double(body)
    assert transaction.wtxid == double(transaction.raw)
    assert transaction.sighash == double(b"\x09chaind/tx" + body) == signing_digest(body)
    assert transaction.size == len(transaction.raw)


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_decoding_gives_the_same_transaction(name: str) -> None:
    transaction = TRANSACTIONS[name]
    again = Transaction.decode(transaction.raw)
    assert again == transaction
    assert hash(again) == hash(transaction)
    assert (again.body, again.witnesses) == (transaction.body, transaction.witnesses)
    assert (again.txid, again.wtxid) == (transaction.txid, transaction.wtxid)
    assert body_decoder.decode(transaction.body_bytes) == transaction.body


def test_witnesses_change_the_wtxid_and_nothing_else() -> None:
    one, two = signed(sample_body(), ALICE), signed(sample_body(), BOB)
    assert one.txid == two.txid
    assert one.sighash == two.sighash
    assert one.wtxid != two.wtxid
    assert one != two


CHANGES = {
    "version": 2,
    "chain": CHAIN[::-1],
    "salt": bytes(8),
    "valid_until": None,
    "lease": Lease(A, bytes(32), bytes(32)),
    "inputs": (AccountInput(A, "GOLD", 1_250_000_200),),
    "outputs": (CoinOutput(B, 1_250_000_000),),
    "action": Mint("GOLD", 1),
    "memo": b"\0",
}


def test_every_field_is_under_the_signature() -> None:
    original = signed(sample_body(), ALICE)
    assert set(CHANGES) == set(original.body.__struct_fields__)
    for field, value in CHANGES.items():
        other = signed(sample_body(**{field: value}), ALICE)
        assert other.txid != original.txid, field
        assert other.sighash != original.sighash, field
        witness = original.witnesses[0]
        assert isinstance(witness, KeyWitness)
        assert verify(ALICE.public, original.sighash, witness.signature)
        assert not verify(ALICE.public, other.sighash, witness.signature), field


def test_values_are_frozen() -> None:
    body = sample_body()
    values = (body, *body.inputs, *body.outputs, *CHANGES.values())
    for value in values:
        if isinstance(value, msgspec.Struct):
            with pytest.raises(AttributeError):
                setattr(value, value.__struct_fields__[0], None)


def test_an_order_is_written_with_every_term() -> None:
    order = [0, 0, 0, 7, 45_000, 0, 0, False, 0, 0, 0, ""]
    body = msgpack.unpackb(TRANSACTIONS["place order"].body_bytes)
    assert body[7] == [3, A, ["GOLD/COIN", *order[1:]]]
    short = [*body[:7], [3, A, ["GOLD/COIN", *order[1:5]]], body[8]]
    with pytest.raises(NonCanonical):
        body_decoder.decode(msgpack.packb(short))


def test_an_intent_depends_on_every_part_of_the_payment() -> None:
    parts = (A, B, "", 5, b"memo")
    others = [(B, B, "", 5, b"memo"), (A, A, "", 5, b"memo"), (A, B, "GOLD", 5, b"memo")]
    others += [(A, B, "", 6, b"memo"), (A, B, "", 5, b"")]
    intents = {payment_intent(*values) for values in (parts, *others)}
    assert len(intents) == 6
    assert payment_intent(*parts) == double(
        b"\x0dchaind/intent" + msgpack.packb([A, B, "", 5, b"memo"])
    )


octets = st.binary(max_size=40)
numbers = st.integers(-(2**63), 2**64 - 1)
assets = st.text(max_size=6)
inputs = st.builds(CoinInput, octets, numbers) | st.builds(AccountInput, octets, assets, numbers)
outputs = st.builds(CoinOutput, octets, numbers) | st.builds(AccountOutput, octets, assets, numbers)
terms = st.builds(
    Terms,
    assets,
    st.sampled_from(Side),
    st.sampled_from(Kind),
    numbers,
    numbers,
    st.sampled_from(TimeInForce),
    numbers,
    st.booleans(),
    st.sampled_from(Trigger),
    numbers,
    st.sampled_from(SelfTrade),
    assets,
)
markets = st.builds(Market, assets, assets, assets, *[numbers] * 7, octets)
actions = (
    st.builds(Issue, assets, octets, numbers, st.booleans())
    | st.builds(Mint, assets, numbers)
    | st.builds(Burn, octets, assets, numbers)
    | st.builds(PlaceOrder, octets, terms)
    | st.builds(CancelOrder, octets, octets)
    | st.builds(CancelOrders, octets, assets, st.none() | st.sampled_from(Side))
    | st.builds(AmendOrder, octets, octets, numbers, numbers, numbers, st.booleans())
    | st.builds(CreateMarket, octets, markets)
)
witnesses = st.builds(KeyWitness, octets, octets) | st.builds(
    PolicyWitness,
    octets,
    st.tuples(numbers),
    st.tuples(st.tuples(numbers, octets)),
    st.tuples(octets),
)


@given(
    st.tuples(
        numbers,
        octets,
        octets,
        st.none() | numbers,
        st.none() | st.builds(Lease, octets, octets, octets),
        st.lists(inputs, max_size=3).map(tuple),
        st.lists(outputs, max_size=3).map(tuple),
        st.none() | actions,
        octets,
    ),
    st.lists(witnesses, max_size=2).map(tuple),
)
def test_whatever_fits_the_types_comes_back(
    fields: tuple[Any, ...], proofs: tuple[KeyWitness | PolicyWitness, ...]
) -> None:
    """The form says nothing of rules: sizes and signs are the ledger's business."""
    transaction = Transaction(type(sample_body())(*fields), proofs)
    again = Transaction.decode(transaction.raw)
    assert (again.body, again.witnesses) == (transaction.body, proofs)
    assert msgpack.packb(msgpack.unpackb(transaction.raw)) == transaction.raw
