"""The table of bad transactions: how each is made, and the one code that every door gives it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hostile_world import (
    ALICE,
    ALICE_COIN,
    BOB,
    FIXED,
    INTENT,
    LEASE_ID,
    MINED,
    NOBODY,
    SPENT_COIN,
    STRANGER,
    STRANGER_COIN,
    TIMED,
    TOKEN,
    World,
    key_witness,
    own,
)

from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.codec import encode
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import CURVE_ORDER, SecretKey
from chaind.primitives.policy import And, Multi, Pk, Policy, Sha256
from chaind.primitives.transaction import (
    NATIVE,
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
)
from chaind.wallet.builder import sign

HOUR_MS = 3_600_000


class Row(NamedTuple):
    """`make` gives the bytes. `says` are values or words that the detail must name.

    `readable`: whether the readable JSON form can say it as well, and means the same.
    """

    name: str
    make: Callable[[World], bytes | Transaction]
    code: str
    status: int
    says: tuple[str, ...] = ()
    readable: bool = True


def _high_s(world: World) -> Transaction:
    transaction = world.pay()
    signature = ALICE.sign(transaction.sighash)
    s = CURVE_ORDER - int.from_bytes(signature[32:], "big")
    return world.witnessed(
        transaction, KeyWitness(ALICE.public, signature[:32] + s.to_bytes(32, "big"))
    )


def _moving(world: World, taken: Any, given: Any, asset: str = NATIVE, **fields: Any) -> Any:
    """Alice's account to bob's, amounts as they are."""
    inputs = [AccountInput(own(ALICE), asset, units) for units in taken]
    outputs = [AccountOutput(own(BOB), asset, units) for units in given]
    return sign(world.body(inputs, outputs, **fields), ALICE)


def _64_bytes(world: World) -> Transaction:
    base = sign(world.body([], [], action=Mint(TOKEN, 1)))
    return sign(world.body([], [], action=Mint(TOKEN, 1), memo=bytes(64 - base.size)))


def _with(world: World, change: Callable[[bytes], bytes]) -> bytes:
    return change(world.pay().raw)


def _leased(world: World, intent: bytes) -> Transaction:
    return world.pay(lease=Lease(own(ALICE), LEASE_ID, intent))


def _nested(levels: int) -> Policy:
    policy: Policy = Pk(ALICE.public)
    for _ in range(levels):
        policy = And(policy, Sha256(bytes(32)))
    return policy


def _keys(count: int) -> tuple[bytes, ...]:
    return tuple(SecretKey(bytes([2]) * 31 + bytes([i + 1])).public for i in range(count))


def _act(world: World, action: Any, key: SecretKey = ALICE) -> Transaction:
    return sign(world.body([], [], action=action), key)


def _twice(world: World) -> Transaction:
    transaction = world.pay()
    witness = key_witness(ALICE, transaction.sighash)
    return world.witnessed(transaction, witness, witness)


def _stuffed(world: World) -> Transaction:
    transaction = world.pay()
    return world.witnessed(transaction, *[key_witness(ALICE, transaction.sighash)] * 4)


FORM = [
    Row("nothing", lambda w: b"", "undecodable", 400, ("transaction",), False),
    Row("no messagepack", lambda w: b"\xc1", "undecodable", 400, (), False),
    Row("a number", lambda w: b"\x07", "undecodable", 400, (), False),
    Row("half of one", lambda w: _with(w, lambda raw: raw[:-40]), "undecodable", 400, (), False),
    Row("one and a byte", lambda w: _with(w, lambda raw: raw + b"\0"), "undecodable", 400, (),
        False),
    Row("deep nesting", lambda w: b"\x91" * 5_000, "undecodable", 400, (), False),
    Row("no utf-8", lambda w: _with(
        w, lambda raw: raw.replace(b"\xa0", b"\xa1\xff", 1)), "undecodable", 400, (), False),
    Row("a float", lambda w: _with(
        w, lambda raw: raw.replace(b"\xcd\x03\xe8", b"\xca\x44\x7a\0\0")), "undecodable", 400, (),
        False),
    Row("a long number", lambda w: _with(
        w, lambda raw: raw.replace(b"\xcd\x03\xe8", b"\xce\0\0\x03\xe8")), "non-canonical", 400,
        ("bytes",), False),
    Row("a long length", lambda w: _with(
        w, lambda raw: b"\xdc\0\x02" + raw[1:]), "non-canonical", 400, (), False),
    Row("64 bytes", _64_bytes, "transaction-malformed", 400, ("64 bytes",)),
    Row("version", lambda w: w.pay(version=2), "transaction-malformed", 400, ("version 2",)),
    Row("salt", lambda w: w.pay(salt=b"1234567"), "transaction-malformed", 400, ("salt of 7",)),
    Row("no end", lambda w: w.pay(valid_until=None), "transaction-malformed", 400,
        ("valid_until",)),
    Row("zero", lambda w: _moving(w, [0], [0]), "transaction-malformed", 400, ("amount 0",), False),
    Row("negative", lambda w: _moving(w, [-5], [-5]), "transaction-malformed", 400,
        ("amount -5",), False),
    Row("overflow", lambda w: _moving(w, [2**63], [2**63]), "transaction-malformed", 400,
        (str(2**63),), False),
    Row("overflowing sum", lambda w: _moving(w, [AMOUNT_MAX, 1], [1, AMOUNT_MAX]),
        "transaction-malformed", 400, ("2^63-1",)),
    Row("symbol", lambda w: w.pay(asset="gold"), "transaction-malformed", 400, ("'gold'",)),
    Row("address", lambda w: sign(
        w.body([AccountInput(own(ALICE), NATIVE, 5)], [AccountOutput(bytes(19), NATIVE, 5)]),
        ALICE), "transaction-malformed", 400, ("19 bytes",), False),
    Row("one coin twice", lambda w: sign(
        w.body([ALICE_COIN, ALICE_COIN], [CoinOutput(own(BOB), 5)]), ALICE),
        "transaction-malformed", 400, ("twice",)),
    Row("nothing happens", lambda w: sign(w.body([], [])), "transaction-malformed", 400),
    Row("too long", lambda w: w.witnessed(_moving(w, [1] * 200, [200]), *[KeyWitness(
        ALICE.public, bytes(64))] * 200), "transaction-too-large", 422, ("20000",)),
    Row("memo", lambda w: w.pay(memo=bytes(257)), "transaction-too-large", 422, ("memo", "257")),
    Row("inputs", lambda w: _moving(w, [1] * 257, [257]), "transaction-too-large", 422,
        ("inputs 257",)),
    Row("stuffed witnesses", _stuffed, "transaction-too-large", 422, ("witnesses 4",)),
]  # fmt: skip

RULES = [
    Row("money from nothing", lambda w: _moving(w, [5], [6]), "unbalanced", 422, ("5", "6")),
    Row("an asset from nothing", lambda w: _moving(w, [5], [6], TOKEN), "unbalanced", 422,
        (TOKEN,)),
    Row("a coin that grows", lambda w: w.spend(ALICE_COIN, 500_000_001, ALICE), "unbalanced",
        422, ("500000000",)),
    Row("another chain", lambda w: w.pay(chain=b"12345678"), "wrong-chain", 422,
        (b"12345678".hex(),)),
    Row("another's signature", lambda w: w.witnessed((t := w.pay()), KeyWitness(
        ALICE.public, BOB.sign(t.sighash))), "bad-signature", 422, (ALICE.public.hex(),)),
    Row("signature of something else", lambda w: w.witnessed(w.pay(), KeyWitness(
        ALICE.public, ALICE.sign(bytes(32)))), "bad-signature", 422),
    Row("high S", _high_s, "witness-invalid", 422, ("high S",)),
    Row("short signature", lambda w: w.witnessed(w.pay(), KeyWitness(ALICE.public, bytes(63))),
        "witness-invalid", 422, ("64 bytes",)),
    Row("no witness", lambda w: w.witnessed(w.pay()), "witness-mismatch", 422),
    Row("two witnesses of one", _twice, "witness-mismatch", 422),
    Row("someone else's account", lambda w: w.witnessed((t := w.pay(BOB)), key_witness(
        ALICE, t.sighash)), "witness-mismatch", 422, (own(BOB).hex(),)),
    Row("someone else's coin", lambda w: w.spend(STRANGER_COIN, 7_750_000_000, ALICE),
        "witness-mismatch", 422, (own(STRANGER).hex(),)),
    Row("spent coin", lambda w: w.spend(SPENT_COIN, 600_000_000, ALICE), "coin-missing", 422,
        (SPENT_COIN.txid.hex(),)),
    Row("coin that never was", lambda w: w.spend(CoinInput(b"\x77" * 32, 3), 5, ALICE),
        "coin-missing", 422, (":3",)),
    Row("immature coinbase", lambda w: w.spend(MINED, 500, ALICE), "coin-immature", 422,
        ("1000001",)),
    Row("expired", lambda w: w.pay(valid_until=w.genesis.time_ms), "expired", 422,
        ("valid_until",)),
    Row("valid for ever", lambda w: w.pay(valid_until=w.now_ms + HOUR_MS * 2), "valid-too-long",
        422, (str(HOUR_MS),)),
    Row("leased again", lambda w: _leased(w, INTENT), "lease-taken", 409, (INTENT.hex(),)),
    Row("leased for something else", lambda w: _leased(w, sha256(b"other")), "lease-taken", 409,
        (INTENT.hex(),)),
    Row("insufficient", lambda w: w.pay(units=10**12), "insufficient-funds", 422, ("10000",)),
    Row("insufficient from nobody", lambda w: w.pay(NOBODY), "insufficient-funds", 422, ("0",)),
    Row("unknown asset", lambda w: w.pay(asset="TIN"), "asset-unknown", 422, ("TIN",)),
    Row("mint of an unknown asset", lambda w: _act(w, Mint("TIN", 5)), "asset-unknown", 422,
        ("TIN",)),
    Row("burn of an unknown asset", lambda w: _act(w, Burn(own(ALICE), "TIN", 5)), "asset-unknown",
        422, ("TIN",)),
    Row("asset again", lambda w: _act(w, Issue(TOKEN, own(ALICE), 5, True)), "asset-exists", 422,
        (TOKEN,)),
    Row("mint of a fixed supply", lambda w: _act(w, Mint(FIXED, 5)), "asset-not-mintable", 422,
        (FIXED,)),
    Row("mint by another", lambda w: _act(w, Mint(TOKEN, 5), BOB), "witness-mismatch", 422),
    Row("supply beyond 63 bits", lambda w: _act(w, Mint(TOKEN, AMOUNT_MAX)), "supply-exceeded",
        422, (str(AMOUNT_MAX),)),
]  # fmt: skip

POLICIES = [
    Row("too early", lambda w: w.policy_pay(TIMED), "too-early", 422, ("after",)),
    Row("policy of depth 9", lambda w: w.policy_pay(_nested(8)), "witness-invalid", 422,
        ("deeper than 8",), False),
    Row("policy of depth 3,000", lambda w: w.policy_pay(b"\x93\x05" * 3_000), "witness-invalid",
        422, (), False),
    Row("policy of 17 keys", lambda w: w.policy_pay(Multi(1, _keys(17))), "witness-invalid", 422,
        ("16",), False),
    Row("policy of 5 KiB", lambda w: w.policy_pay(bytes(5_000)), "witness-invalid", 422,
        ("4096",), False),
    Row("policy with a key that is none", lambda w: w.policy_pay(Pk(b"\2" + b"\xff" * 32)),
        "witness-invalid", 422, (), False),
    Row("unused preimage", lambda w: w.policy_pay(TIMED, preimages=(bytes(32),)),
        "witness-invalid", 422, ("not used",)),
    Row("unused branch", lambda w: w.policy_pay(TIMED, branches=(1,)), "witness-invalid", 422),
    Row("missing signature", lambda w: w.policy_pay(TIMED, signatures=()), "witness-invalid", 422,
        ("missing",)),
    Row("key out of place", lambda w: w.policy_pay(TIMED, signatures=((9, bytes(64)),)),
        "witness-invalid", 422, ("key 9",)),
    Row("long non-canonical policy", lambda w: w.policy_pay(encode(TIMED) + b"\0"),
        "witness-invalid", 422, (), False),
]  # fmt: skip

ROWS = [*FORM, *RULES, *POLICIES]
