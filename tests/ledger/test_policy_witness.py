"""Policies: every node satisfied and not satisfied, and nothing in a witness that is not used.

Each case spends one coin of a policy address. The walk's numbering is the one that
`primitives.transaction.PolicyWitness` promises: branches and keys depth first.
"""

from typing import Any, NamedTuple

import msgspec
import pytest
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    HEIGHT,
    NOW_MS,
    Person,
    Signer,
    Vault,
    World,
    coin_out,
    lease_of,
    make,
    pay_in,
    pay_out,
)

from chaind.ledger.errors import (
    BadSignature,
    TooEarly,
    TransactionMalformed,
    WitnessInvalid,
    WitnessMismatch,
)
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import CURVE_ORDER
from chaind.primitives.policy import (
    After,
    And,
    Multi,
    Older,
    Or,
    Pk,
    Policy,
    Sha256,
    Thresh,
)
from chaind.primitives.transaction import Burn, PolicyWitness, Transaction, Witness

SECRET = b"s" * 32
DIGEST = sha256(SECRET)
A, B, C, D = (Pk(person.public) for person in (ALICE, BOB, CAROL, DAVE))
SINGLE = Vault(A)
TWO_OF_THREE = Vault(Multi(2, (ALICE.public, BOB.public, CAROL.public)))
# Hashed time lock: Bob with the preimage, or Alice once time has come.
HTLC = Vault(Or(And(B, Sha256(DIGEST)), And(A, After(NOW_MS + 1000))))
# A vault: two people at once, or one after the coin has rested 144 blocks.
VAULT = Vault(Or(And(A, B), And(C, Older(144))))
THRESH = Vault(Thresh(2, (A, And(B, C), Sha256(DIGEST), After(NOW_MS))))
REST = Vault(Older(10))
TIME = Vault(After(NOW_MS))
NESTED = Vault(Or(Or(A, Multi(1, (BOB.public, CAROL.public))), Thresh(1, (A, D))))


class Case(NamedTuple):
    rule: str
    vault: Vault
    signer: Signer
    error: type[ChaindError] | None
    reason: str = ""


def case(
    rule: str,
    vault: Vault,
    error: type[ChaindError] | None,
    reason: str,
    *branches: int,
    **way: Any,
) -> Case:
    return Case(rule, vault, vault.way(*branches, **way), error, reason)


def good(rule: str, vault: Vault, *branches: int, **way: Any) -> Case:
    return case(rule, vault, None, "", *branches, **way)


def bad(rule: str, vault: Vault, reason: str, *branches: int, **way: Any) -> Case:
    return case(rule, vault, WitnessInvalid, reason, *branches, **way)


def keys(*pairs: tuple[int, Person]) -> tuple[tuple[int, Person], ...]:
    return pairs


def nested(depth: int) -> Policy:
    policy: Policy = A
    for _ in range(depth - 1):
        policy = And(policy, After(1))
    return policy


def hashlock(size: int) -> Vault:
    return Vault(Sha256(sha256(bytes(size))))


STUFFED = "not used"
CASES = [
    good("pk", SINGLE, keys=keys((0, ALICE))),
    bad("pk without signature", SINGLE, "signature is missing"),
    bad("pk by key 1", SINGLE, "key 1 is out of place", keys=keys((1, ALICE))),
    bad("pk by key -1", SINGLE, "key -1 is out of place", keys=keys((-1, ALICE))),
    case("pk by another", SINGLE, BadSignature, "", keys=keys((0, BOB))),
    bad("stuffed signature", SINGLE, STUFFED, keys=keys((0, ALICE), (0, ALICE))),
    bad("stuffed preimage", SINGLE, STUFFED, keys=keys((0, ALICE)), preimages=[SECRET]),
    bad("stuffed branch", SINGLE, STUFFED, 0, keys=keys((0, ALICE))),
    good("2 of 3: first two", TWO_OF_THREE, keys=keys((0, ALICE), (1, BOB))),
    good("2 of 3: last two", TWO_OF_THREE, keys=keys((1, BOB), (2, CAROL))),
    good("2 of 3: ends", TWO_OF_THREE, keys=keys((0, ALICE), (2, CAROL))),
    bad("2 of 3: one", TWO_OF_THREE, "signature is missing", keys=keys((0, ALICE))),
    bad("2 of 3: three", TWO_OF_THREE, STUFFED, keys=keys((0, ALICE), (1, BOB), (2, CAROL))),
    bad("2 of 3: descending", TWO_OF_THREE, "key 0 is out of", keys=keys((1, BOB), (0, ALICE))),
    bad("2 of 3: one twice", TWO_OF_THREE, "key 0 is out of", keys=keys((0, ALICE), (0, ALICE))),
    bad("2 of 3: key 3", TWO_OF_THREE, "key 3 is out of", keys=keys((0, ALICE), (3, DAVE))),
    case("2 of 3: a stranger", TWO_OF_THREE, BadSignature, "", keys=keys((0, ALICE), (1, DAVE))),
    good("htlc: preimage", HTLC, 0, keys=keys((0, BOB)), preimages=[SECRET]),
    bad("htlc: no preimage", HTLC, DIGEST.hex(), 0, keys=keys((0, BOB))),
    bad("htlc: wrong preimage", HTLC, "no preimage", 0, keys=keys((0, BOB)), preimages=[b"x" * 32]),
    bad(
        "htlc: preimage of 33 bytes",
        HTLC,
        "no preimage",
        0,
        keys=keys((0, BOB)),
        preimages=[SECRET + b"s"],
    ),
    bad("htlc: two preimages", HTLC, STUFFED, 0, keys=keys((0, BOB)), preimages=[SECRET, SECRET]),
    case("htlc: refund too early", HTLC, TooEarly, "", 1, keys=keys((1, ALICE))),
    bad("htlc: key of the other branch", HTLC, "key 0 is out of", 1, keys=keys((0, BOB))),
    bad("htlc: no branch", HTLC, "branch is missing", keys=keys((0, BOB)), preimages=[SECRET]),
    bad("htlc: branch 2", HTLC, "branch 2 of an or", 2, keys=keys((0, BOB))),
    bad("htlc: branch -1", HTLC, "branch -1 of an or", -1, keys=keys((0, BOB))),
    bad("htlc: both branches", HTLC, STUFFED, 0, 1, keys=keys((0, BOB)), preimages=[SECRET]),
    good("vault: both", VAULT, 0, keys=keys((0, ALICE), (1, BOB))),
    bad("vault: one of both", VAULT, "signature is missing", 0, keys=keys((0, ALICE))),
    good("thresh: a and b·c", THRESH, 0b0011, keys=keys((0, ALICE), (1, BOB), (2, CAROL))),
    good("thresh: a and preimage", THRESH, 0b0101, keys=keys((0, ALICE)), preimages=[SECRET]),
    good("thresh: preimage and time", THRESH, 0b1100, preimages=[SECRET]),
    good("thresh: b·c and time", THRESH, 0b1010, keys=keys((1, BOB), (2, CAROL))),
    bad("thresh: one part", THRESH, "does not choose 2 of 4", 0b0001, keys=keys((0, ALICE))),
    bad(
        "thresh: three parts",
        THRESH,
        "does not choose",
        0b1101,
        keys=keys((0, ALICE)),
        preimages=[SECRET],
    ),
    bad("thresh: mask beyond", THRESH, "does not choose", 0b10001, keys=keys((0, ALICE))),
    bad("thresh: negative mask", THRESH, "does not choose", -2, keys=keys((0, ALICE))),
    bad("thresh: huge mask", THRESH, "does not choose", 2**62 + 1, keys=keys((0, ALICE))),
    bad("thresh: part of a part", THRESH, "is missing", 0b1010, keys=keys((1, BOB))),
    good("nested: left left", NESTED, 0, 0, keys=keys((0, ALICE))),
    good("nested: left right", NESTED, 0, 1, keys=keys((2, CAROL))),
    good("nested: same key elsewhere", NESTED, 1, 0b01, keys=keys((3, ALICE))),
    good("nested: last", NESTED, 1, 0b10, keys=keys((4, DAVE))),
    bad("nested: key of another part", NESTED, "out of place", 1, 0b01, keys=keys((0, ALICE))),
    *(
        bad(
            f"preimage of {size} bytes that does hash",
            hashlock(size),
            "no preimage",
            preimages=[bytes(size)],
        )
        for size in (0, 31, 33)
    ),
    good("preimage of 32 bytes", hashlock(32), preimages=[bytes(32)]),
    good("time", TIME),
    case("time not yet", Vault(After(NOW_MS + 1)), TooEarly, ""),
    good("age", REST),
    good("depth 8", Vault(nested(8)), keys=keys((0, ALICE))),
    bad("depth 9", Vault(nested(9)), "deeper than 8", keys=keys((0, ALICE))),
    bad("time 0", Vault(After(0)), "after(0)"),
    bad("multi of none", Vault(Multi(0, (ALICE.public,))), "multi needs"),
    bad("key off the curve", Vault(Or(A, Pk(b"\2" + b"\xff" * 32))), "not a compressed", 0),
    bad(
        "17 keys",
        Vault(And(Multi(1, tuple(Person(f"k{n}").public for n in range(16))), A)),
        "17 keys",
    ),
]


def spend(world: World, vault: Vault, signer: Signer, **fields: Any) -> Transaction:
    coin = world.coin(vault, 5, height=HEIGHT - 10)
    return make(signer, inputs=[coin], outputs=[coin_out(DAVE, 5)], **fields)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_spending_a_coin(case: Case) -> None:
    world = World()
    transaction = spend(world, case.vault, case.signer)
    if case.error is None:
        world.apply(transaction)
        assert world.coin_at(transaction.txid, 0) is not None
    else:
        values = {"reason": case.reason} if case.reason else {}
        world.refuses(transaction, case.error, **values)


@pytest.mark.parametrize(("early_ms", "holds"), [(1, False), (0, True), (-1, True)])
def test_htlc_refund_opens_exactly_at_its_time(early_ms: int, holds: bool) -> None:
    world = World()
    world.now_ms = NOW_MS + 1000 - early_ms
    refund = spend(world, HTLC, HTLC.way(1, keys=keys((1, ALICE))))
    if holds:
        world.apply(refund)
    else:
        needed = f"after({NOW_MS + 1000})"
        world.refuses(refund, TooEarly, needed=needed, now=NOW_MS + 999)


@pytest.mark.parametrize(("age", "holds"), [(143, False), (144, True), (145, True)])
def test_vault_opens_exactly_at_its_age(age: int, holds: bool) -> None:
    world = World()
    coin = world.coin(VAULT, 5, height=HEIGHT - age)
    alone = VAULT.way(1, keys=keys((2, CAROL)))
    transaction = make(alone, inputs=[coin], outputs=[coin_out(CAROL, 5)])
    if holds:
        world.apply(transaction)
    else:
        world.refuses(transaction, TooEarly, needed="older(144)", now=143)


def test_older_holds_for_every_coin_of_its_owner() -> None:
    world = World()
    old, young = world.coin(REST, 5, height=HEIGHT - 10), world.coin(REST, 5, height=HEIGHT - 9)
    both = make(REST.way(), inputs=[old, young], outputs=[coin_out(DAVE, 10)])
    world.refuses(both, TooEarly, needed="older(10)", now=9)
    other = world.coin(ALICE, 5, height=HEIGHT)  # another's coin may be young
    world.apply(make(REST.way(), ALICE, inputs=[old, other], outputs=[coin_out(DAVE, 10)]))


def test_older_cannot_spend_an_account() -> None:
    world = World().fund(REST, 5)
    account = make(REST.way(), inputs=[pay_in(REST, 5)], outputs=[pay_out(DAVE, 5)])
    world.refuses(account, TransactionMalformed, reason="coins only")
    coin = world.coin(REST, 5)
    beside = make(REST.way(), inputs=[coin, pay_in(REST, 5)], outputs=[pay_out(DAVE, 10)])
    world.refuses(beside, WitnessInvalid, index=0, reason="account")


def test_older_cannot_burn_from_an_account_beside_a_coin() -> None:
    """A burn debits the account like an input does."""
    world = World().fund(REST, 5).fund(ALICE, 5)
    ends: dict[str, Any] = {"inputs": [world.coin(ALICE, 5), world.coin(REST, 5)]}
    burn = Burn(REST.address, "", 5)
    transaction = make(ALICE, REST.way(), action=burn, **ends, outputs=[coin_out(DAVE, 10)])
    world.refuses(transaction, WitnessInvalid, index=1, reason="account")


def test_older_cannot_take_a_lease_without_a_coin() -> None:
    world = World()
    ends: dict[str, Any] = {"inputs": [world.coin(ALICE, 5)], "outputs": [coin_out(DAVE, 5)]}
    transaction = make(ALICE, REST.way(), lease=lease_of(REST, 1), **ends)
    world.refuses(transaction, WitnessInvalid, index=1, reason="needs a coin")


def test_a_policy_spends_accounts_like_a_key() -> None:
    world = World().fund(TWO_OF_THREE, 5)
    ends: dict[str, Any] = {"inputs": [pay_in(TWO_OF_THREE, 5)], "outputs": [pay_out(DAVE, 5)]}
    two = TWO_OF_THREE.way(keys=keys((0, ALICE), (2, CAROL)))
    world.refuses(make(ALICE, **ends), WitnessMismatch, needed=[TWO_OF_THREE.address.hex()])
    world.apply(make(two, **ends))
    assert world.balance(DAVE) == 5


def test_the_witness_is_of_this_policy() -> None:
    """Another policy has another address, however alike."""
    world = World()
    coin = world.coin(HTLC, 5)
    weaker = Vault(Or(B, And(A, After(NOW_MS + 1000))))
    theft = make(weaker.way(0, keys=keys((0, BOB))), inputs=[coin], outputs=[coin_out(BOB, 5)])
    world.refuses(theft, WitnessMismatch, given=[weaker.address.hex()], needed=[HTLC.address.hex()])


def test_witnesses_stand_in_the_owners_order() -> None:
    world = World()
    inputs = [world.coin(TIME, 5), world.coin(ALICE, 5)]
    fields: dict[str, Any] = {"inputs": inputs, "outputs": [coin_out(DAVE, 10)]}
    world.refuses(make(ALICE, TIME.way(), **fields), WitnessMismatch)
    world.apply(make(TIME.way(), ALICE, **fields))


def raw_witness(policy: bytes) -> Signer:
    def sign(digest: bytes) -> Witness:
        return PolicyWitness(policy, (), (), ())

    return sign


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (b"", "does not decode"),
        (b"\xc0", "does not decode"),
        (TIME.encoded + b"\0", "does not decode"),
        (b"\x92\x03\xcd\x00\x0a", "canonical"),
        (b"\x92\x08\x01", "does not decode"),
        (bytes(4097), "exceeds 4096 bytes"),
    ],
    ids=["empty", "nil", "trailing", "long integer", "unknown node", "too long"],
)
def test_policy_bytes_that_are_no_policy(policy: bytes, reason: str) -> None:
    world = World()
    world.refuses(spend(world, SINGLE, raw_witness(policy)), WitnessInvalid, index=0, reason=reason)


def test_nesting_at_any_stack_depth_is_refused_not_a_crash() -> None:
    """Evaluation is total: the deepest nesting that 4 KiB allow, near the interpreter's limit."""

    def nest(depth: int) -> bytes:
        return b"\x93\x05" * depth + b"\x92\x02\x01" * (depth + 1)

    def at_depth(frames: int, transaction: Transaction) -> None:
        if frames:
            at_depth(frames - 1, transaction)
        else:
            World().refuses(transaction, WitnessInvalid, index=0)

    for nesting in (9, 100, 400, 800):
        policy = nest(nesting)
        assert len(policy) <= 4096
        transaction = spend(World(), SINGLE, raw_witness(policy))
        for frames in (0, 100, 300, 500):
            at_depth(frames, transaction)


def test_high_s_in_a_policy_witness_is_malleable_and_refused() -> None:
    def sign(digest: bytes) -> Witness:
        signature = ALICE.key.sign(digest)
        s = CURVE_ORDER - int.from_bytes(signature[32:], "big")
        pair = (0, signature[:32] + s.to_bytes(32, "big"))
        return PolicyWitness(SINGLE.encoded, (), (pair,), ())

    world = World()
    world.refuses(spend(world, SINGLE, sign), WitnessInvalid, reason="high S (BIP-62)")


def test_a_signature_counts_for_one_body_only() -> None:
    world = World()
    signed = spend(world, SINGLE, SINGLE.way(keys=keys((0, ALICE))))
    moved = msgspec.structs.replace(signed.body, outputs=(coin_out(BOB, 5),))
    world.refuses(Transaction(moved, signed.witnesses), BadSignature, key=ALICE.public.hex())
