"""`check_transaction` and `verify_signatures`: every rule that needs no state, at its boundary."""

from typing import Any, NamedTuple

import pytest
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    CHAIN,
    PARAMETERS,
    World,
    check_error,
    coin_out,
    lease_of,
    make,
    make_body,
    pay_in,
    pay_out,
    payment,
    sign,
)

from chaind.ledger.checks import (
    COST_ROW,
    COST_SIGNATURE,
    LEASE_EXTRA_BYTES,
    check_transaction,
)
from chaind.ledger.errors import (
    BadSignature,
    FeeTooLow,
    TransactionMalformed,
    TransactionTooLarge,
    Unbalanced,
    WitnessInvalid,
    WitnessMismatch,
    WrongChain,
)
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.errors import ChaindError
from chaind.primitives.keys import CURVE_ORDER
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
    Transaction,
    Witness,
)

COIN = CoinInput(b"\7" * 32, 0)
OUT = CoinOutput(BOB.address, 1)


class Case(NamedTuple):
    """`transaction` breaks `error`, which carries `values`."""

    rule: str
    transaction: Transaction
    error: type[ChaindError]
    values: dict[str, object]


def malformed(rule: str, reason: str, *signers: Any, **fields: Any) -> Case:
    return Case(rule, make(*signers, **fields), TransactionMalformed, {"reason": reason})


def entries(*inputs: Any, outputs: Any = ()) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs}


def high_s(digest: bytes) -> Witness:
    signature = ALICE.key.sign(digest)
    s = CURVE_ORDER - int.from_bytes(signature[32:], "big")
    return KeyWitness(ALICE.public, signature[:32] + s.to_bytes(32, "big"))


def short_signature(digest: bytes) -> Witness:
    return KeyWitness(ALICE.public, ALICE.key.sign(digest)[:63])


def uncompressed_key(digest: bytes) -> Witness:
    return KeyWitness(b"\4" + bytes(64), ALICE.key.sign(digest))


def other_message(digest: bytes) -> Witness:
    return KeyWitness(ALICE.public, ALICE.key.sign(digest[::-1]))


def ten(person: Any = ALICE, asset: str = "") -> dict[str, Any]:
    return entries(pay_in(person, 10, asset), outputs=[pay_out(BOB, 10, asset)])


def too_large(what: str, given: int, limit: int, *signers: Any, **fields: Any) -> Case:
    values: dict[str, object] = {"what": what, "given": given, "limit": limit}
    return Case(f"{what}_max", make(*signers, **fields), TransactionTooLarge, values)


MALFORMED = [
    malformed("version", "version 2", ALICE, version=2, **ten()),
    malformed("salt is 8 bytes", "salt of 7", ALICE, salt=bytes(7), **ten()),
    malformed("something happens", "neither inputs nor an action", outputs=[OUT, OUT]),
    malformed(
        "accounts need a deadline", "valid_until is needed", ALICE, valid_until=None, **ten()
    ),
    malformed("valid_until > 0", "valid_until 0 ", ALICE, valid_until=0, **ten()),
    malformed("valid_until ≥ 0", "valid_until -1 ", ALICE, valid_until=-1, **ten()),
    malformed("valid_until ≤ 2^53", "out of range", ALICE, valid_until=2**53 + 1, **ten()),
    malformed(
        "a lease needs a deadline",
        "leased transaction needs valid_until",
        **entries(COIN, outputs=[OUT]),
        lease=lease_of(ALICE, 1),
        valid_until=None,
    ),
    malformed(
        "lease owner", "address of 21", lease=Lease(bytes(21), bytes(32), bytes(32)), **ten()
    ),
    malformed("lease id", "32 bytes", lease=Lease(ALICE.address, bytes(31), bytes(32)), **ten()),
    malformed(
        "lease intent", "32 bytes", lease=Lease(ALICE.address, bytes(32), bytes(33)), **ten()
    ),
    malformed("coin once", "spent twice", **entries(COIN, COIN, outputs=[OUT])),
    malformed("outpoint is 32 bytes", "outpoint", **entries(CoinInput(bytes(31), 0))),
    malformed("outpoint index ≥ 0", "outpoint", **entries(CoinInput(bytes(32), -1))),
    malformed("outpoint index < 2^32", "outpoint", **entries(CoinInput(bytes(32), 2**32))),
    malformed("input > 0", "amount 0", ALICE, **entries(AccountInput(ALICE.address, "", 0))),
    malformed("input ≥ 0", "amount -1", ALICE, **entries(AccountInput(ALICE.address, "", -1))),
    malformed("input ≤ 2^63-1", "amount", ALICE, **entries(pay_in(ALICE, AMOUNT_MAX + 1))),
    malformed(
        "output > 0", "amount 0", ALICE, **entries(pay_in(ALICE, 1), outputs=[pay_out(BOB, 0)])
    ),
    malformed(
        "coin > 0", "amount 0", ALICE, **entries(pay_in(ALICE, 1), outputs=[coin_out(BOB, 0)])
    ),
    malformed(
        "coin ≥ 0", "amount -5", ALICE, **entries(pay_in(ALICE, 1), outputs=[coin_out(BOB, -5)])
    ),
    malformed("input address", "address of 19", ALICE, **entries(AccountInput(bytes(19), "", 1))),
    malformed(
        "output address",
        "address of 33",
        **entries(pay_in(ALICE, 1), outputs=[AccountOutput(bytes(33), "", 1)]),
    ),
    malformed(
        "coin address",
        "address of 0",
        **entries(pay_in(ALICE, 1), outputs=[CoinOutput(b"", 1)]),
    ),
    *(
        malformed(f"symbol {symbol!r}", "asset symbol", ALICE, **ten(asset=symbol))
        for symbol in ("gold", "GO LD", "A" * 13, "GÖLD", "G\0")
    ),
    malformed("issue needs a symbol", "symbol ''", ALICE, action=Issue("", ALICE.address, 1, True)),
    malformed("mint needs a symbol", "symbol ''", ALICE, action=Mint("", 1)),
    malformed("issue ≥ 0", "amount -1", ALICE, action=Issue("GOLD", ALICE.address, -1, True)),
    malformed("mint > 0", "amount 0", ALICE, action=Mint("GOLD", 0)),
    malformed("burn > 0", "amount 0", ALICE, action=Burn(ALICE.address, "", 0)),
    malformed("burn ≤ 2^63-1", "amount", ALICE, action=Burn(ALICE.address, "", AMOUNT_MAX + 1)),
    malformed("issuer address", "address of 5", action=Issue("GOLD", bytes(5), 1, True)),
    malformed("burner address", "address of 5", action=Burn(bytes(5), "", 1)),
    *(
        malformed(
            f"sum of {where} fits 63 bits",
            "sum of amounts",
            ALICE,
            BOB,
            **entries(*inputs, outputs=outputs),
        )
        for where, inputs, outputs in (
            ("native inputs", [pay_in(ALICE, AMOUNT_MAX), pay_in(BOB, 1)], []),
            ("native outputs", [COIN], [pay_out(BOB, AMOUNT_MAX), coin_out(BOB, 1)]),
            ("asset inputs", [pay_in(ALICE, AMOUNT_MAX, "GOLD"), pay_in(BOB, 1, "GOLD")], []),
        )
    ),
    malformed(
        "one witness per owner", "two witnesses", ALICE, ALICE, **entries(COIN, outputs=[OUT])
    ),
]

OTHER = [
    Case(
        "chain prefix",
        make(ALICE, chain=bytes(8), **ten()),
        WrongChain,
        {"given": "00" * 8, "ours": CHAIN.hex()},
    ),
    too_large("memo bytes", 257, 256, ALICE, memo=bytes(257), **ten()),
    too_large("inputs", 257, 256, **entries(*(CoinInput(bytes(32), n) for n in range(257)))),
    too_large("outputs", 1025, 1024, ALICE, **entries(pay_in(ALICE, 1025), outputs=[OUT] * 1025)),
    too_large("witnesses", 4, 3, ALICE, BOB, CAROL, ALICE, **entries(COIN, outputs=[OUT])),
    Case(
        "native inputs cover outputs",
        make(ALICE, **entries(pay_in(ALICE, 10), outputs=[pay_out(BOB, 11)])),
        Unbalanced,
        {"inputs": 10, "outputs": 11},
    ),
    Case(
        "assets pay no fee",
        make(ALICE, **entries(pay_in(ALICE, 10, "GOLD"), outputs=[pay_out(BOB, 9, "GOLD")])),
        Unbalanced,
        {"asset": "GOLD", "inputs": 10, "outputs": 9},
    ),
    Case(
        "nobody mints by outputs",
        make(ALICE, **entries(pay_in(ALICE, 10), outputs=[pay_out(BOB, 9, "GOLD")])),
        Unbalanced,
        {"asset": "GOLD", "inputs": 0, "outputs": 9},
    ),
    Case(
        "assets balance beside coins",
        make(ALICE, **entries(COIN, pay_in(ALICE, 3, "GOLD"), outputs=[OUT])),
        Unbalanced,
        {"asset": "GOLD", "inputs": 3, "outputs": 0},
    ),
    Case(
        "signature signs this",
        make(other_message, **ten()),
        BadSignature,
        {"key": ALICE.public.hex()},
    ),
    Case("low S (BIP-62)", make(high_s, **ten()), WitnessInvalid, {"index": 0, "reason": "high S"}),
    Case("64 bytes", make(short_signature, **ten()), WitnessInvalid, {"reason": "not 64 bytes"}),
    Case("33 bytes", make(uncompressed_key, **ten()), WitnessInvalid, {"reason": "not 33 bytes"}),
    Case(
        "the owner signs",
        make(BOB, **ten()),
        WitnessMismatch,
        {"given": [BOB.address.hex()], "needed": [ALICE.address.hex()]},
    ),
    Case("somebody signs", make(**ten()), WitnessMismatch, {"given": []}),
    Case(
        "nobody else signs",
        make(ALICE, BOB, **ten()),
        WitnessMismatch,
        {"needed": [ALICE.address.hex()]},
    ),
    Case(
        "owners sign in order of first appearance",
        make(BOB, ALICE, **entries(pay_in(ALICE, 1), pay_in(BOB, 1))),
        WitnessMismatch,
        {"needed": [ALICE.address.hex(), BOB.address.hex()]},
    ),
    Case(
        "the lease's owner signs",
        make(ALICE, lease=lease_of(CAROL, 1), **ten()),
        WitnessMismatch,
        {"needed": [ALICE.address.hex(), CAROL.address.hex()]},
    ),
    Case(
        "lease before action",
        make(ALICE, BOB, CAROL, lease=lease_of(CAROL, 1), action=Burn(BOB.address, "", 1), **ten()),
        WitnessMismatch,
        {"needed": [ALICE.address.hex(), CAROL.address.hex(), BOB.address.hex()]},
    ),
    Case(
        "the issuer signs",
        make(BOB, action=Issue("GOLD", ALICE.address, 1, True)),
        WitnessMismatch,
        {"needed": [ALICE.address.hex()]},
    ),
    Case(
        "who burns signs",
        make(ALICE, action=Burn(BOB.address, "", 1), **ten()),
        WitnessMismatch,
        {"needed": [ALICE.address.hex(), BOB.address.hex()]},
    ),
]

CASES = MALFORMED + OTHER


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_refuses(case: Case) -> None:
    World().refuses(case.transaction, case.error, **case.values)


def test_fee_pays_for_every_byte_of_raw() -> None:
    world = World(min_fee_per_byte=3)
    size = payment(ALICE, BOB, 10**6).size
    for fee, fits in ((3 * size - 1, False), (3 * size, True)):
        paid = make(ALICE, **entries(pay_in(ALICE, 10**6), outputs=[pay_out(BOB, 10**6 - fee)]))
        assert paid.size == size
        if fits:
            assert world.check(paid).fee == fee
        else:
            world.refuses(paid, FeeTooLow, paid=fee, needed=3 * size)


def test_lease_is_priced_as_extra_bytes() -> None:
    world = World(min_fee_per_byte=1)
    leased = {"lease": lease_of(ALICE, 1)}
    size = payment(ALICE, BOB, 10**6, **leased).size
    for fee, fits in ((size + LEASE_EXTRA_BYTES - 1, False), (size + LEASE_EXTRA_BYTES, True)):
        ends = entries(pay_in(ALICE, 10**6), outputs=[pay_out(BOB, 10**6 - fee)])
        if fits:
            assert world.check(make(ALICE, **ends, **leased)).fee == fee
        else:
            world.refuses(make(ALICE, **ends, **leased), FeeTooLow, needed=fee + 1)


@pytest.mark.parametrize(
    "transaction",
    [
        make(ALICE, memo=bytes(256), **ten()),
        make(ALICE, valid_until=2**53, **ten()),
        make(**entries(*(CoinInput(bytes(32), n) for n in range(256)))),
        make(ALICE, **entries(pay_in(ALICE, 1024), outputs=[OUT] * 1024)),
        make(ALICE, **entries(pay_in(ALICE, AMOUNT_MAX), outputs=[pay_out(BOB, AMOUNT_MAX)])),
        make(ALICE, **ten(asset="A")),
        make(ALICE, **ten(asset="A23456789012")),
        make(ALICE, action=Issue("GOLD", ALICE.address, 0, False)),
        make(ALICE, action=Issue("GOLD", ALICE.address, AMOUNT_MAX, False)),
        make(**entries(CoinInput(bytes(32), 2**32 - 1), outputs=[OUT]), valid_until=None),
    ],
    ids=lambda transaction: transaction.txid.hex()[:8],
)
def test_accepts_what_is_exactly_at_a_limit(transaction: Transaction) -> None:
    World().check(transaction)


def test_raw_bytes_max_counts_the_whole_raw() -> None:
    transaction = payment(ALICE, BOB, 5)
    World(transaction_bytes_max=transaction.size).check(transaction)
    World(transaction_bytes_max=transaction.size - 1).refuses(
        transaction,
        TransactionTooLarge,
        what="bytes",
        given=transaction.size,
        limit=transaction.size - 1,
    )


def test_raw_of_64_bytes_could_pass_for_a_merkle_node() -> None:
    """CVE-2017-12842: only the length of Raw differs between the three."""
    action = Mint("GOLD", 1)  # needs neither inputs nor, before the state is known, witnesses
    base = sign(make_body(action=action, salt=bytes(8)))
    fill = 64 - base.size
    assert fill > 0
    sizes = {}
    for extra in (fill - 1, fill, fill + 1):
        transaction = sign(make_body(action=action, salt=bytes(8), memo=bytes(extra)))
        sizes[transaction.size] = transaction
    assert sorted(sizes) == [63, 64, 65]
    World().refuses(sizes[64], TransactionMalformed, reason="64 bytes")
    for size in (63, 65):
        check_transaction(sizes[size], PARAMETERS, CHAIN)


def test_moves_join_what_touches_one_balance() -> None:
    checked = World().check(
        make(
            ALICE,
            BOB,
            inputs=[pay_in(ALICE, 4), pay_in(BOB, 1), pay_in(ALICE, 6)],
            outputs=[pay_out(CAROL, 8), pay_out(ALICE, 2), coin_out(CAROL, 1)],
        )
    )
    assert [move[1:] for move in checked.moves] == [
        (10, 2, ALICE.address, ""),
        (1, 0, BOB.address, ""),
        (0, 8, CAROL.address, ""),
    ]
    assert checked.fee == 0
    assert checked.owners == [ALICE.address, BOB.address]
    assert list(checked.debits()) == [(ALICE.address, "", 10), (BOB.address, "", 1)]
    assert checked.coin_outputs == ((2, CAROL.address, 1),)


def test_cost_prices_signatures_and_rows() -> None:
    plain = World().check(payment(ALICE, BOB, 1)).cost
    leased = World().check(payment(ALICE, BOB, 1, lease=lease_of(ALICE, 1))).cost
    assert plain == COST_SIGNATURE + 3 * COST_ROW  # two balances and the applied row
    assert leased == plain + 2 * COST_ROW
    two = make(ALICE, BOB, inputs=[pay_in(ALICE, 1), pay_in(BOB, 1)], outputs=[coin_out(CAROL, 1)])
    assert World().check(two).cost == 2 * COST_SIGNATURE + 4 * COST_ROW


def test_a_witness_key_that_is_no_point_is_a_bad_signature() -> None:
    off_curve = b"\2" + b"\xff" * 32
    witness = KeyWitness(off_curve, ALICE.key.sign(bytes(32)))
    owner = make(lambda digest: witness, inputs=[COIN], outputs=[OUT])
    with pytest.raises(ChaindError) as caught:
        World().check(owner)
    check_error(caught.value, BadSignature, {"key": off_curve.hex()})
