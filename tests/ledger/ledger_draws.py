"""What the ledger machine draws from: owners of every kind, payments, what is kept of blocks."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st
from ledger_builders import ALICE, BOB, CAROL, HEIGHT, NOW_MS, Vault

from chaind.ledger.block import Executed
from chaind.ledger.checks import Checked
from chaind.ledger.execute import Context
from chaind.ledger.keys import Coin
from chaind.primitives.coinbase import Coinbase
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import sha256
from chaind.primitives.policy import After, And, Multi, Older, Or, Pk, Sha256, Thresh
from chaind.primitives.transaction import (
    AccountInput,
    AccountOutput,
    CoinInput,
    CoinOutput,
    PolicyWitness,
)

PARAMETERS = Parameters(
    validity_window_ms=10_000,
    lease_ms=20_000,
    leases_per_owner_max=4,
    subsidy_units=8,
    halving_interval=HEIGHT + 5,
    coinbase_maturity=2,
)
SHARED = Vault(Multi(2, (ALICE.public, BOB.public, CAROL.public)))
TIMED = Vault(Or(And(Pk(BOB.public), After(NOW_MS + 5_000)), And(Pk(CAROL.public), Older(2))))
SECRET = sha256(b"swapped")
SWAP = Vault(Or(And(Pk(BOB.public), Sha256(sha256(SECRET))), And(Pk(ALICE.public), Older(3))))
SAFE = Vault(Thresh(2, (Pk(ALICE.public), Pk(CAROL.public), After(NOW_MS + 20_000))))
PEOPLE = (ALICE, BOB, CAROL)
OWNERS = (*PEOPLE, SHARED, TIMED, SWAP, SAFE)
WAYS = {  # one that mostly holds, one that sometimes does
    SHARED: (SHARED.way(keys=[(0, ALICE), (2, CAROL)]), SHARED.way(keys=[(0, ALICE)])),
    TIMED: (TIMED.way(0, keys=[(0, BOB)]), TIMED.way(1, keys=[(1, CAROL)])),
    SWAP: (SWAP.way(0, keys=[(0, BOB)], preimages=[SECRET]), SWAP.way(1, keys=[(1, ALICE)])),
    SAFE: (SAFE.way(0b011, keys=[(0, ALICE), (1, CAROL)]), SAFE.way(0b110, keys=[(1, CAROL)])),
}

VAULTS = {SHARED: "multi", TIMED: "time or age", SWAP: "swap", SAFE: "threshold"}

owners = st.sampled_from(OWNERS)
COIN_UNITS = 30
START_UNITS = (100 + COIN_UNITS) * len(OWNERS)

amounts = st.sampled_from([*range(1, 40), 1000, 2**63 - 1])
ways = st.sampled_from([0, 0, 0, 1])
late_ms = st.sampled_from([*[5_000] * 8, 0, 10_000, 10_001])
payments = st.tuples(
    owners,  # from
    owners,  # to
    amounts,
    st.integers(0, 3),  # fee, or units too few of an asset
    st.sampled_from(["", "", "", "GOLD"]),
    st.booleans(),  # as a coin
    ways,
    st.one_of(st.none(), st.none(), st.integers(0, 5)),  # lease
    late_ms,
)


# What a long run must have applied, and what it must have refused.
APPLIED = (
    *("coins to accounts", "accounts to coins", "coins and accounts to both"),
    *("leases retaken", "Issue", "Mint", "Burn", "NoneType"),
    *("multi way ()", "time or age way (0,)", "time or age way (1,)"),
    *("swap way (0,)", "swap way (1,)", "threshold way (3,)"),
)
REFUSED = (
    *("lease-taken", "already-applied", "insufficient-funds", "coin-missing", "too-early"),
    *("coin-immature", "expired", "valid-too-long", "witness-invalid", "witness-mismatch"),
    *("unbalanced", "asset-exists", "asset-unknown", "leases-exhausted"),
    *("supply-exceeded", "transaction-malformed"),
)


def signer_of(owner: Any, way: int) -> Any:
    return WAYS[owner][way] if isinstance(owner, Vault) else owner


def height_of(entry: tuple[CoinInput, Coin]) -> int:
    return entry[1].height


class Step(msgspec.Struct, frozen=True):
    """One executed block with what is needed to execute it again."""

    transactions: tuple[Checked, ...]
    context: Context
    coinbase: tuple[bytes, Coinbase] | None
    executed: Executed


def note(seen: Counter[str], chain: Sequence[Step], applied: Sequence[Checked]) -> None:
    """Count what kinds of things a new block on `chain` applies."""
    held = {
        (body.lease.owner, body.lease.id)
        for step in chain
        for checked in step.transactions
        if (body := checked.transaction.body).lease is not None
    }
    for checked in applied:
        body = checked.transaction.body
        kinds = {type(entry) for entry in (*body.inputs, *body.outputs)}
        seen["coins to accounts"] += kinds >= {CoinInput, AccountOutput}
        seen["coins and accounts to both"] += len(kinds) == 4
        seen["accounts to coins"] += kinds >= {AccountInput, CoinOutput}
        seen["leases retaken"] += (
            body.lease is not None and (body.lease.owner, body.lease.id) in held
        )
        seen[type(body.action).__name__] += 1
        for witness in checked.transaction.witnesses:
            if isinstance(witness, PolicyWitness):
                vault = next(v for v in WAYS if v.encoded == witness.policy)
                seen[f"{VAULTS[vault]} way {witness.branches}"] += 1
