"""A machine of random operations: what must always hold, holds after every step.

Random valid and invalid transactions go into blocks that are applied, undone, redone and settled
over a cache of a few rows. After each step: every asset adds up to its supply and to a supply
that is counted here, no amount is negative or zero, the state equals a replay from genesis byte
for byte, and each lease and each coin had one effect.

CHAIND_TEST_STEPS is about how many steps all runs together take, a thousand a second:

    export CHAIND_TEST_FRESH=1 CHAIND_TEST_STEPS=120000
    .venv/bin/pytest tests/ledger/test_ledger_machine.py -s
"""

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    CHAIN,
    HEIGHT,
    NOW_MS,
    SYMBOL,
    coin_out,
    lease_of,
    make,
    pay_in,
    pay_out,
    plus,
)
from ledger_draws import (
    APPLIED,
    COIN_UNITS,
    OWNERS,
    PARAMETERS,
    REFUSED,
    START_UNITS,
    SWAP,
    TIMED,
    Step,
    amounts,
    height_of,
    note,
    owners,
    payments,
    signer_of,
    ways,
)

from chaind.ledger.block import execute_block, subsidy
from chaind.ledger.checks import Checked, check_transaction, verify_signatures
from chaind.ledger.errors import REFUSALS, BlockInvalid
from chaind.ledger.execute import Context, check_on_state
from chaind.ledger.journal import State
from chaind.ledger.keys import (
    Asset,
    Coin,
    asset_key,
    balance_key,
    coin_key,
    decode_units,
    encode_units,
    supply_key,
)
from chaind.primitives.coinbase import Coinbase, CoinbaseOutput
from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import Burn, CoinInput, Issue, Mint, Transaction

STEPS = int(os.environ.get("CHAIND_TEST_STEPS", "3200"))
LONG_STEPS = 20_000
RUN_STEPS = 40  # of one run: every step replays the chain so far
SEEN: Counter[str] = Counter()  # what happened over all runs, so that none of it can be missing


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.base: dict[bytes, bytes] = {}
        for asset in ("", "GOLD"):
            for owner in OWNERS:
                self.base[balance_key(owner.address, asset)] = encode_units(100) or b""
            self.base[supply_key(asset)] = encode_units(100 * len(OWNERS)) or b""
        for index, owner in enumerate(OWNERS):
            coin = Coin(owner.address, COIN_UNITS, HEIGHT - 1, coinbase=index == 0)
            self.base[coin_key(bytes(32), index)] = coin.encode()
        self.base[supply_key("")] = encode_units(START_UNITS) or b""
        self.base[asset_key("GOLD")] = Asset(ALICE.address, mintable=True).encode()
        self.genesis = dict(self.base)
        self.state = State(self.base, cache_rows_max=7)
        self.chain: list[Step] = []
        self.settled = 0
        self.undone: list[Step] = []
        self.pending: list[Checked] = []
        self.past: list[Transaction] = []
        self.made = 0
        self.now_ms = NOW_MS

    # --- transactions: whatever the ledger lets through waits for the next block

    @rule(
        owner=st.sampled_from((ALICE, BOB)),
        first=st.integers(0, 3),
        count=st.integers(1, 5),
        expired=st.booleans(),
    )
    def lease(self, owner: Any, first: int, count: int, expired: bool) -> None:
        """The same few leases again and again: with the same intent, with another, after expiry."""
        if expired:
            self.apply(PARAMETERS.lease_ms, mined=False, claim=0)
        for number in range(first, first + count):
            self.make(
                owner,
                inputs=[pay_in(owner, 1)],
                outputs=[pay_out(owner, 1)],
                lease=lease_of(owner, 100 + number, bytes([count]) * 32),
                valid_until=self.deadline,
            )

    @precondition(lambda self: self.coins((TIMED, SWAP)))
    @rule(data=st.data())
    def spend_aged_coin(self, data: Any) -> None:
        """By the way that asks for its age: the oldest there are, or any."""
        coins = self.coins((TIMED, SWAP))
        outpoint, coin = data.draw(st.sampled_from((min(coins, key=height_of), coins[-1])))
        vault = next(who for who in (TIMED, SWAP) if who.address == coin.address)
        paid = [coin_out(vault, coin.amount)]
        self.make(signer_of(vault, 1), inputs=[outpoint], outputs=paid, valid_until=self.deadline)

    def make(self, *signers: Any, **fields: Any) -> None:
        """Offer a transaction; salts count, so that hypothesis can repeat a run."""
        self.made += 1
        self.offer(make(*signers, salt=self.made.to_bytes(8, "big"), **fields))

    def offer(self, transaction: Transaction) -> None:
        self.past.append(transaction)
        SEEN["offered"] += 1
        try:
            checked = check_transaction(transaction, PARAMETERS, CHAIN)
            verify_signatures(checked)
            check_on_state(self.state, checked, self.context)
        except REFUSALS as error:
            SEEN[error.code] += 1
            return
        self.pending.append(checked)

    def coins(self, whose: tuple[Any, ...] = OWNERS) -> list[tuple[CoinInput, Coin]]:
        addresses = {owner.address for owner in whose}
        rows = plus(self.genesis, [step.executed.delta for step in self.chain])
        return [
            (CoinInput(key[1:33], int.from_bytes(key[33:], "big")), coin)
            for key, value in sorted(rows.items())
            if key[:1] == b"c" and (coin := Coin.decode(value)).address in addresses
        ]

    @property
    def context(self) -> Context:
        return Context(HEIGHT + len(self.chain), self.now_ms, PARAMETERS, SYMBOL)

    @property
    def deadline(self) -> int:
        return self.now_ms + 5_000

    @rule(several=st.lists(payments, min_size=1, max_size=6))
    def pay(self, several: list[Any]) -> None:
        for payer, payee, amount, fee, asset, as_coin, way, lease, late in several:
            native_coin = as_coin and not asset
            output = coin_out(payee, amount) if native_coin else pay_out(payee, amount, asset)
            self.make(
                signer_of(payer, way),
                inputs=[pay_in(payer, amount + (fee == 3 if asset else fee), asset)],
                outputs=[output],
                lease=None if lease is None else lease_of(payer, lease),
                valid_until=self.now_ms + late,
            )

    @precondition(lambda self: self.coins())
    @rule(
        data=st.data(),
        payee=owners,
        extra=st.integers(0, 20),
        change=st.integers(0, 100),
        ways=st.tuples(ways, ways),
        forever=st.booleans(),
    )
    def spend_coins(
        self,
        data: Any,
        payee: Any,
        extra: int,
        change: int,
        ways: tuple[int, int],
        forever: bool,
    ) -> None:
        """One or two coins, sometimes an account beside them, to an account and change."""
        chosen = data.draw(st.lists(st.sampled_from(self.coins()), min_size=1, max_size=2))
        holders = [next(who for who in OWNERS if who.address == coin.address) for _, coin in chosen]
        total = sum(coin.amount for _, coin in chosen) + extra
        inputs: list[Any] = [outpoint for outpoint, _ in chosen]
        inputs += [pay_in(holders[0], extra)] if extra else []
        back = min(change, total - 1)
        outputs = [pay_out(payee, total - back)]
        outputs += [coin_out(holders[0], back)] if back else []
        signers = [
            signer_of(who, way) for who, way in zip(dict.fromkeys(holders), ways, strict=False)
        ]
        until = None if forever else self.deadline
        self.make(*signers, inputs=inputs, outputs=outputs, valid_until=until)

    @rule(
        owner=owners,
        signer=st.sampled_from([ALICE, ALICE, BOB]),
        kind=st.sampled_from(["issue", "fixed", "mint", "burn", "burn"]),
        asset=st.sampled_from(["", "GOLD", "TIN"]),
        amount=amounts,
        way=ways,
    )
    def act(self, owner: Any, signer: Any, kind: str, asset: str, amount: int, way: int) -> None:
        """Mostly by the owner who may, sometimes by another who may not."""
        action: Any = {
            "issue": Issue(asset or "ORE", owner.address, amount, True),
            "fixed": Issue(asset or "TIN", owner.address, amount, False),
            "mint": Mint(asset or "GOLD", amount),
            "burn": Burn(owner.address, asset, amount),
        }[kind]
        who = signer if kind == "mint" or amount % 7 == 0 else owner
        self.make(signer_of(who, way), action=action, valid_until=self.deadline)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def replay(self, data: Any) -> None:
        self.offer(data.draw(st.sampled_from(self.past)))

    # --- blocks

    @rule(
        later_ms=st.sampled_from([*[1] * 5, 1_000, 6_000, 20_000]),
        mined=st.booleans(),
        claim=st.integers(0, 12),
    )
    def block(self, later_ms: int, mined: bool, claim: int) -> None:
        self.apply(later_ms, mined=mined, claim=claim)

    def apply(self, later_ms: int, *, mined: bool, claim: int) -> None:
        """Apply what waits; a transaction that broke since is dropped and the rest tried again."""
        context, coinbase, proposer = self.context, None, CAROL.address
        if mined:
            outputs = (CoinbaseOutput(address=BOB.address, amount=claim),)
            self.made += 1
            txid = sha256(b"coinbase %d" % self.made)
            coinbase = (txid, Coinbase(height=context.height, outputs=outputs))
        waiting, self.pending = self.pending, []
        while True:
            before = self.state.depth
            try:
                executed = execute_block(
                    self.state, waiting, context, bytes(32), None if mined else proposer, coinbase
                )
                break
            except BlockInvalid as error:
                assert self.state.depth == before
                if "index" not in error.values:
                    return  # it claims too much
                index = error.values["index"]
                assert isinstance(index, int)
                waiting = waiting[:index] + waiting[index + 1 :]
        note(SEEN, self.chain, waiting)
        self.chain.append(Step(tuple(waiting), context, coinbase, executed))
        self.undone.clear()
        self.now_ms += later_ms

    @precondition(lambda self: len(self.chain) > self.settled)
    @rule()
    def undo(self) -> None:
        step = self.chain.pop()
        assert self.state.undo() is step.executed.delta
        self.undone.append(step)
        self.now_ms = step.context.chain_time_ms

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        step = self.undone.pop()
        self.state.redo(step.executed.delta)
        self.chain.append(step)
        self.now_ms = step.context.chain_time_ms + 1

    @precondition(lambda self: len(self.chain) > self.settled)
    @rule()
    def settle(self) -> None:
        delta = self.chain[self.settled].executed.delta
        written = plus(self.base, [delta])
        self.base.clear()
        self.base.update(written)
        self.state.settle(delta)
        self.settled += 1

    # --- what must always hold

    @invariant()
    def counts_as_a_step(self) -> None:
        SEEN["steps"] += 1

    @invariant()
    def money_adds_up_and_nothing_is_negative(self) -> None:
        rows = plus(self.genesis, [step.executed.delta for step in self.chain])
        held: dict[str, int] = {}
        for key, value in rows.items():
            if key[:1] == b"a":
                units, asset = decode_units(value), key[2 + key[1] :].decode()
            elif key[:1] == b"c":
                units, asset = Coin.decode(value).amount, ""
            else:
                continue
            assert 0 < units < 2**63
            held[asset] = held.get(asset, 0) + units
        counted = self.counted_supply()
        for asset in sorted({*held, *counted}):
            supply = decode_units(rows.get(supply_key(asset)))
            assert held.get(asset, 0) == supply == counted.get(asset, 0), asset

    def counted_supply(self) -> dict[str, int]:
        """genesis + subsidy claimed − burnt, issued + minted − burnt; from blocks, not rows."""
        supply = {"": START_UNITS, "GOLD": 100 * len(OWNERS)}
        for step in self.chain:
            due = step.executed.fees + subsidy(step.context.height, PARAMETERS)
            if step.coinbase is not None:
                due = sum(output.amount for output in step.coinbase[1].outputs)
            supply[""] += due - step.executed.fees
            for checked in step.transactions:
                match checked.transaction.body.action:
                    case Issue(asset, _, amount) | Mint(asset, amount):
                        supply[asset] = supply.get(asset, 0) + amount
                    case Burn(_, asset, amount):
                        supply[asset] -= amount
        return supply

    @invariant()
    def state_equals_a_replay_from_genesis(self) -> None:
        replayed = State(self.genesis)
        for step in self.chain:
            proposer = None if step.coinbase else CAROL.address
            again = execute_block(
                replayed, step.transactions, step.context, bytes(32), proposer, step.coinbase
            )
            assert again.delta.writes == step.executed.delta.writes
            assert again.root == step.executed.root
        rows = plus(self.genesis, [step.executed.delta for step in self.chain])
        final = plus(self.genesis, [step.executed.delta for step in self.chain[: self.settled]])
        assert self.base == final
        keys = sorted({*rows, *final})
        for key in keys:
            assert self.state.get(key) == rows.get(key)
            assert self.state.get_final(key) == final.get(key)

    @invariant()
    def one_effect_per_lease_coin_and_transaction(self) -> None:
        leases: dict[tuple[bytes, bytes], int] = {}
        coins: set[bytes] = set()
        txids: set[bytes] = set()
        for step in self.chain:
            now_ms = step.context.chain_time_ms
            for checked in step.transactions:
                body = checked.transaction.body
                assert checked.txid not in txids
                txids.add(checked.txid)
                assert body.valid_until is None or now_ms < body.valid_until <= now_ms + 10_000
                for entry in checked.coin_inputs:
                    row = coin_key(entry.txid, entry.index)
                    assert row not in coins
                    coins.add(row)
                if body.lease is not None:
                    name = (body.lease.owner, body.lease.id)
                    assert leases.get(name, 0) <= now_ms
                    leases[name] = now_ms + PARAMETERS.lease_ms


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=STEPS // RUN_STEPS,
    stateful_step_count=RUN_STEPS,
    suppress_health_check=list(HealthCheck),
)


def test_nothing_was_missing_in_the_runs_above() -> None:
    """A machine that never does a thing proves nothing about it. Only a long run does them all."""
    print(f"\n{dict(SEEN)}")
    missing = [kind for kind in (*APPLIED, *REFUSED) if not SEEN[kind]]
    assert not missing or STEPS < LONG_STEPS
    assert SEEN["steps"] > STEPS // 4
    assert SEEN["offered"] > STEPS // 4
