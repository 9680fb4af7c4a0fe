"""A machine of random payments and orders over branches: books, money and rows move as one.

Blocks are made as a proposer makes them, undone, redone, left for other branches, abandoned half
way, settled. After each step reserves and balances come to the supply; books are what the rows
say, in every queue and index; and a head that was seen before is that head again. In the end the
branch is replayed from genesis.
"""

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ledger_builders import ALICE, BOB, pay_in, pay_out, plus
from ledger_chain import TIME_MS
from trading_kit import SYMBOL, TRADERS, Pit, check_books, check_money, dump, order

from chaind.ledger.block import Applying, Executed, apply_genesis, execute_block
from chaind.ledger.checks import Checked
from chaind.ledger.errors import REFUSALS
from chaind.ledger.execute import Context
from chaind.ledger.journal import State, load_books
from chaind.market.exchange import Exchange
from chaind.market.turns import in_turn
from chaind.primitives.hashes import sha256
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Limits,
    PlaceOrder,
    SelfTrade,
    Side,
    TimeInForce,
    Trigger,
)

STEPS = int(os.environ.get("CHAIND_TEST_STEPS", "3000"))
RUN_STEPS = 30
LIMITS = {
    "fills_per_order_max": 3,
    "open_orders_max": 6,
    "expiries_per_block_max": 2,
    "triggers_per_block_max": 2,
}
SEEN: Counter[str] = Counter()

traders = st.sampled_from(TRADERS)
sides = st.sampled_from(Side)
orders = st.fixed_dictionaries(
    {
        "lots": st.sampled_from([*range(1, 7), 40]),
        "ticks": st.sampled_from([*range(7, 14), 0, 16]),
        "self_trade": st.sampled_from(SelfTrade),
        "client_id": st.sampled_from(["", "", "a"]),
    }
)
ways = st.sampled_from(["gtc", "gtc", "gtc", "gtt", "ioc", "fok", "post", "stop", "profit"])


class Step:
    """One executed block, and what the head was after it."""

    def __init__(
        self, checked: list[Checked], context: Context, executed: Executed, head: bytes
    ) -> None:
        self.checked = checked
        self.context = context
        self.executed = executed
        self.head = head


class TradingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pit = Pit(**LIMITS)
        self.state = self.pit.state
        self.genesis_rows = dict(self.pit.rows)
        self.genesis_head = dump(self.state.books)
        self.chain: list[Step] = []
        self.undone: list[Step] = []
        self.settled = 0
        self.waiting: list[Checked] = []
        self.ids: list[bytes] = []
        self.made = 0

    # --- what waits

    def offer(self, who: Any, action: Any, **fields: Any) -> bytes:
        self.made += 1
        salt = self.made.to_bytes(8, "big")
        if action is not None:
            transaction = self.pit.act(who, action, fee=self.made % 3, salt=salt, **fields)
        else:
            transaction = self.pit.transaction(who, salt=salt, **fields)
        self.waiting += self.pit.check([transaction])
        return transaction.txid

    @rule(
        several=st.lists(
            st.tuples(traders, sides, orders, ways, st.integers(1, 4)), min_size=3, max_size=9
        )
    )
    def place_several(self, several: list[Any]) -> None:
        for each in several:
            self.place(*each)

    def place(self, who: Any, side: Any, values: Any, way: str, number: int) -> None:
        more = dict(values)
        if way == "gtt":
            more |= {"time_in_force": TimeInForce.GTT, "expires_ms": self.now_ms + number}
        elif way in ("ioc", "fok"):
            more["time_in_force"] = TimeInForce[way.upper()]
        elif way == "post":
            more["post_only"] = True
        elif way in ("stop", "profit"):
            kind = Trigger.STOP if way == "stop" else Trigger.TAKE_PROFIT
            more |= {"trigger": kind, "stop_ticks": 8 + number, "time_in_force": TimeInForce.GTC}
        if not more["ticks"]:
            if way not in ("stop", "profit"):
                more["time_in_force"] = TimeInForce.IOC
            more |= {"post_only": False, "expires_ms": 0}
        self.ids.append(self.offer(who, PlaceOrder(who.address, order(side, **more))))

    @precondition(lambda self: self.ids)
    @rule(who=traders, data=st.data(), lots=st.integers(0, 7), ticks=st.sampled_from([0, 0, 9, 10]))
    def change(self, who: Any, data: Any, lots: int, ticks: int) -> None:
        order_id = data.draw(st.sampled_from(self.ids[-12:]))
        standing = self.state.books.order(order_id)
        owner = standing.owner.account if standing and ticks != 10 else who.address
        who = next(one for one in TRADERS if one.address == owner)
        if lots == 7:
            self.offer(who, CancelOrder(who.address, order_id))
        else:
            self.offer(who, AmendOrder(who.address, order_id, lots, ticks))

    @rule(who=traders, symbol=st.sampled_from(["", SYMBOL]), side=st.none() | sides)
    def cancel_all(self, who: Any, symbol: str, side: Any) -> None:
        self.offer(who, CancelOrders(who.address, symbol, side))

    @rule(units=st.integers(1, 10**10), asset=st.sampled_from(["", "GOLD"]))
    def pay(self, units: int, asset: str) -> None:
        ends = {"inputs": [pay_in(ALICE, units, asset)], "outputs": [pay_out(BOB, units, asset)]}
        self.offer(ALICE, None, **ends)

    # --- blocks

    @property
    def now_ms(self) -> int:
        return self.chain[-1].context.chain_time_ms if self.chain else TIME_MS

    @property
    def head(self) -> bytes:
        return self.chain[-1].head if self.chain else self.genesis_head

    def fill(self, applying: Applying, parent_hash: bytes) -> None:
        """Everything that waits, as a proposer does; what does not apply is left out."""
        left = {one.txid: one for one in self.waiting if one.order is not None}
        turns = in_turn(parent_hash, [(txid, one.order) for txid, one in left.items()])  # type: ignore[misc]
        others = [one for one in self.waiting if one.order is None]
        for checked in [*others, *(left[txid] for txid in turns)]:
            try:
                applying.add(checked)
            except REFUSALS as error:
                SEEN[error.code] += 1

    @rule(later_ms=st.integers(1, 3))
    def block(self, later_ms: int) -> None:
        height = len(self.chain) + 1
        parameters, symbol = self.pit.genesis.parameters, "COIN"
        context = Context(height, self.now_ms + later_ms, parameters, symbol)
        applying = Applying(self.state, context)
        self.fill(applying, sha256(self.head))
        executed = applying.seal(bytes(32), ALICE.address, None)
        for receipt in executed.receipts:
            if receipt.refused is not None:
                SEEN[receipt.refused.code] += 1
        for _, events in executed.events:
            SEEN.update(type(event).__name__ for event in events)
        SEEN["by nobody"] += any(who is None for who, _ in executed.events)
        checked = [receipt.checked for receipt in executed.receipts]
        self.chain.append(Step(checked, context, executed, dump(self.state.books)))
        self.undone.clear()
        self.waiting = []

    @precondition(lambda self: self.waiting)
    @rule()
    def abandon(self) -> None:
        context = Context(len(self.chain) + 1, self.now_ms + 2, self.pit.genesis.parameters, "COIN")
        self.fill(Applying(self.state, context), bytes(32))
        self.state.abandon()
        SEEN["abandoned"] += 1

    @precondition(lambda self: len(self.chain) > self.settled)
    @rule(count=st.integers(1, 3))
    def undo(self, count: int) -> None:
        for _ in range(min(count, len(self.chain) - self.settled)):
            step = self.chain.pop()
            assert self.state.undo() is step.executed.delta
            self.undone.append(step)
        SEEN["undone"] += 1

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        step = self.undone.pop()
        self.state.redo(step.executed.delta)
        self.chain.append(step)
        SEEN["redone"] += 1

    @precondition(lambda self: len(self.chain) > self.settled)
    @rule()
    def settle(self) -> None:
        delta = self.chain[self.settled].executed.delta
        written = plus(self.pit.rows, [delta])
        self.pit.rows.clear()
        self.pit.rows.update(written)
        self.state.settle(delta)
        self.settled += 1

    # --- what must always hold

    @invariant()
    def rows_money_and_books_are_one(self) -> None:
        rows = plus(self.genesis_rows, [step.executed.delta for step in self.chain])
        assert {key: self.state.get(key) for key in rows} == rows
        check_money(rows)
        books = self.state.books
        assert dump(books) == self.head
        check_books(books)
        assert books.journal.depth == self.state.depth
        again = load_books(
            lambda prefix: [(key, rows[key]) for key in sorted(rows) if key.startswith(prefix)],
            rows,
            Limits(),
        )
        assert dump(again) == self.head

    def teardown(self) -> None:
        """The branch from genesis."""
        base: dict[bytes, bytes] = {}
        state = State(base, books=Exchange(self.pit.genesis.parameters.order_limits))
        base.update(plus({}, [first := apply_genesis(state, self.pit.genesis).delta]))
        state.settle(first)
        for step in self.chain:
            again = execute_block(state, step.checked, step.context, bytes(32), ALICE.address)
            assert again.root == step.executed.root
            assert again.events == step.executed.events
            assert again.delta.books.digest == step.executed.delta.books.digest
        assert dump(state.books) == self.head


TestTrading = TradingMachine.TestCase
TestTrading.settings = settings(
    max_examples=STEPS // RUN_STEPS,
    stateful_step_count=RUN_STEPS,
    suppress_health_check=list(HealthCheck),
)


def test_the_runs_above_had_everything_in_them() -> None:
    print(f"\n{dict(SEEN)}")
    kinds = {
        "Accepted",
        "Matched",
        "Triggered",
        "Done",
        "by nobody",
        "undone",
        "redone",
        "abandoned",
        "order-not-open",
    }
    assert not [kind for kind in sorted(kinds) if not SEEN[kind]]
