"""Orders in a node: what its proposer takes, what its pool counts, what a restart, an audit, the
trail and statements make of them."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from audited import audit_world, database_of
from harness import QUICK, address, make_genesis, secret
from parts import SEED_KEYS, START_MS, World

from chaind.ledger.errors import InsufficientFunds
from chaind.ledger.execute import check_on_state
from chaind.ledger.journal import FinalState
from chaind.ledger.keys import BALANCE, balance_key, decode_units
from chaind.market.rows import ORDER
from chaind.mempool.entries import Kind
from chaind.mempool.errors import Overcommitted, WaitingOrdersExceeded
from chaind.node.movements import EVERYTHING, START, Feed
from chaind.node.replay import open_state
from chaind.node.statements import Range, Statements
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.orders import (
    BUY,
    SELL,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    PlaceOrder,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.primitives.orders import (
    Kind as OrderKind,
)
from chaind.primitives.transaction import NATIVE, Action, Part, Transaction
from chaind.storage.schema import STATE
from chaind.wallet.builder import Rest, build_action, build_payout

UNIT = 10**8
SYMBOL = "BTC/USD"  # a lot is 0.0001 BTC, a tick 0.01 USD: a lot at a tick is 100 base units
PRICE = 4_500_000
_salts = count(1)


class Desk(World):
    """A world whose clock moves a block at a time, and words to trade in it."""

    def __init__(self, path: Path, *, owner_orders_max: int = 1_000, **parameters: int) -> None:
        super().__init__(path, genesis_with(parameters), owner_orders_max=owner_orders_max)
        self.view = 0

    def common(self) -> Rest:
        """What all transactions are made of."""
        return {
            "memo": b"",
            "lease": None,
            "valid_until_ms": self.clock.ms + 60_000,
            "salt": next(_salts).to_bytes(8, "big"),
            "chain_prefix": self.genesis.chain_prefix,
            "parameters": self.genesis.parameters,
        }

    def act(self, who: str, action: Action) -> Transaction:
        return build_action(key=secret(who), action=action, **self.common())

    def pay(self, who: str, asset: str, units: int) -> Transaction:
        parts = [Part(address("bob"), asset, units)]
        return build_payout(key=secret(who), parts=parts, **self.common())

    def place(
        self, who: str, side: Side, lots: int, ticks: int = PRICE, **more: Any
    ) -> Transaction:
        values = {"symbol": SYMBOL, "side": side, "kind": OrderKind.LIMIT, **more}
        return self.act(who, PlaceOrder(address(who), Terms(**values, lots=lots, ticks=ticks)))

    def cancel(self, who: str, order_id: bytes) -> Transaction:
        return self.act(who, CancelOrder(address(who), order_id))

    def offer(self, *transactions: Transaction) -> None:
        """Into the pool, as the intake takes them."""
        final = FinalState(self.chain.state)
        for transaction in transactions:
            receipt = check_on_state(final, self.check(transaction), self.chain.final_context())
            self.pool.add(receipt, 0, lambda row: decode_units(final.get(row)))

    def build(self) -> Block:
        """A block of what the pool has."""
        self.view += 1
        self.clock.ms += 1_000
        candidate = self.chain.build(self.chain.head.hash, self.view, self.clock.ms)
        assert candidate is not None
        return candidate.body.block

    async def trade(self, *transactions: Transaction) -> Block:
        """A final block of these."""
        self.offer(*transactions)
        block = self.build()
        assert {one.txid for one in block.transactions} >= {one.txid for one in transactions}
        await self.make_final(block)
        return block

    def balance(self, who: str, asset: str) -> int:
        return decode_units(self.chain.state.get(balance_key(address(who), asset)))


def genesis_with(parameters: dict[str, int]) -> Genesis:
    return make_genesis(SEED_KEYS, START_MS, parameters, QUICK, coins=[("alice", "5")])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "desk")
    yield desk
    desk.close()


async def busy(desk: Desk) -> bytes:
    """Four blocks with trades, an expiry and a trigger in them; an order that stays."""
    kept = desk.place("trader1", BUY, 10, PRICE - 10)
    soon = {"time_in_force": TimeInForce.GTT, "expires_ms": desk.clock.ms + 1_500}
    await desk.trade(
        kept,
        desk.place("trader1", BUY, 30),
        desk.place("trader1", BUY, 5, PRICE - 20, **soon),
        desk.place("trader2", SELL, 7, PRICE - 15, trigger=Trigger.STOP, stop_ticks=PRICE),
    )
    await desk.trade(desk.place("trader2", SELL, 12), desk.pay("trader1", "USD", 5 * UNIT))
    await desk.trade(desk.cancel("trader2", bytes(32)))
    await desk.trade(desk.payment())
    return kept.txid


# The proposer.


def test_a_proposer_puts_payments_first_and_orders_in_their_turns(tmp_path: Path) -> None:
    maker, voter = Desk(tmp_path / "maker"), Desk(tmp_path / "voter")
    bids = [maker.place("trader1", BUY, 1, PRICE - number) for number in range(5)]
    asks = [maker.place("trader2", SELL, 1, PRICE + number) for number in range(5)]
    payments = [maker.payment(), maker.pay("trader2", "BTC", UNIT)]
    maker.offer(*bids, payments[0], *asks, payments[1])
    block = maker.build()
    assert {one.txid for one in block.transactions[:2]} == {one.txid for one in payments}
    assert len(block.transactions) == 12
    candidate = voter.give(block)
    assert voter.chain.execute(block.hash).error is None
    assert candidate.info == maker.chain.info(block.hash)
    maker.close(), voter.close()


def room(desk: Desk) -> int:
    """Of an order that may take."""
    return desk.check(desk.place("trader1", BUY, 1)).room


def test_a_flood_of_orders_leaves_room_for_payments_and_cancels(tmp_path: Path) -> None:
    desk = Desk(tmp_path, block_cost_max=40_000)
    resting = desk.place("trader2", SELL, 1, PRICE + 5)
    desk.offer(resting)
    desk.build()
    desk.offer(*(desk.place("trader1", BUY, 1, PRICE - 5) for _ in range(100)))
    cancel, payments = desk.cancel("trader2", resting.txid), [desk.payment() for _ in range(600)]
    desk.offer(cancel, *payments)
    first = {one.txid for one in desk.build().transactions}
    paid = len(first & {one.txid for one in payments})
    assert cancel.txid in first
    assert paid * desk.check(payments[0]).cost > 40_000 // 2 - 100
    taken = len(first) - paid - 1
    assert 0 < taken * room(desk) <= 40_000 // 2
    second = {one.txid for one in desk.build().transactions}
    assert first.isdisjoint(second)
    assert second >= {one.txid for one in payments} - first  # then nobody pays any more, and
    assert len(second) == 600 - paid + 100 - taken  # orders have all the rest


def test_who_has_nothing_to_cancel_takes_no_room_from_who_has(tmp_path: Path) -> None:
    desk = Desk(tmp_path, block_cost_max=100_000)
    resting = desk.place("trader2", SELL, 1, PRICE + 5)
    desk.offer(resting)
    desk.build()
    idle = [desk.act("trader1", CancelOrders(address("trader1"))) for _ in range(100)]
    desk.offer(*idle, desk.cancel("trader2", resting.txid))
    desk.offer(*(desk.payment() for _ in range(2_500)))
    block = desk.build()
    assert len(block.transactions) < 2_500
    assert not desk.chain.state.books.journal.orders
    assert {one.txid for one in idle} <= {one.txid for one in block.transactions}


def test_orders_that_do_not_fit_wait(tmp_path: Path) -> None:
    desk = Desk(tmp_path, block_cost_max=2_300)
    assert 2 * room(desk) > 2_300
    orders = [desk.place("trader1", BUY, 1, PRICE - 5) for _ in range(8)]
    desk.offer(*orders)
    built = [desk.build() for _ in range(3)]
    found = [one.txid for block in built for one in block.transactions]
    assert sorted(found) == sorted(one.txid for one in orders)
    assert len(built[0].transactions) < 8


def test_payments_that_fail_take_no_turn_of_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.mempool.selection.FAILURES_MAX", 2)
    maker, desk = Desk(tmp_path / "maker"), Desk(tmp_path / "desk")
    maker.offer(maker.pay("trader1", "BTC", maker.balance("trader1", "BTC")))
    spent = maker.build()
    desk.offer(*(desk.pay("trader1", "BTC", number) for number in range(1, 4)))
    order = desk.place("trader2", SELL, 1)
    desk.offer(order)
    desk.give(spent)
    assert desk.chain.execute(spent.hash).error is None
    desk.view = maker.view
    assert [one.txid for one in desk.build().transactions] == [order.txid]
    assert desk.pool.has_work(), "one of the payments was not tried"
    maker.close(), desk.close()


def test_an_order_that_is_early_is_tried_again(desk: Desk) -> None:
    desk.clock.ms += 2_000
    window_ms = desk.genesis.parameters.validity_window_ms
    common = desk.common() | {"valid_until_ms": START_MS + window_ms + 1_500}
    terms = Terms(SYMBOL, SELL, OrderKind.LIMIT, 1, PRICE)
    early = build_action(
        key=secret("trader1"), action=PlaceOrder(address("trader1"), terms), **common
    )
    ahead = desk.chain.final_context()._replace(chain_time_ms=START_MS + 2_000)
    receipt = check_on_state(FinalState(desk.chain.state), desk.check(early), ahead)
    desk.pool.add(receipt, 0, lambda _row: 10**15)
    assert desk.build().transactions == ()  # on a branch whose time is behind
    assert [one.txid for one in desk.build().transactions] == [early.txid]


# The pool.


def test_reserves_are_pending_debits(desk: Desk) -> None:
    desk.offer(desk.place("trader1", BUY, 1_300_000))  # 5.85 million USD of ten
    with pytest.raises(Overcommitted):
        desk.offer(desk.place("trader1", BUY, 1_300_000))
    with pytest.raises(InsufficientFunds):
        desk.offer(desk.place("trader1", BUY, 2_600_000))
    with pytest.raises(Overcommitted):
        desk.offer(desk.pay("trader1", "USD", 5_000_000 * UNIT))
    desk.offer(desk.place("trader1", SELL, 1_300_000))


async def test_an_order_waits_until_its_owner_may_have_one_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path, open_orders_max=1)
    first, second = (desk.place("trader1", BUY, 1, PRICE - 5) for _ in range(2))
    desk.offer(first, second)
    block = desk.build()
    assert len(block.transactions) == 1
    (done,) = block.transactions
    (waiting,) = {first.txid, second.txid} - {done.txid}
    await desk.make_final(block)
    assert desk.build().transactions == ()
    desk.offer(desk.cancel("trader1", done.txid))
    await desk.make_final(desk.build())
    assert [entry.checked.txid for entry in desk.pool.select(Kind.ORDER)] == [waiting]
    assert [one.txid for one in desk.build().transactions] == [waiting]
    desk.close()


async def test_room_for_an_order_is_noticed_where_no_balance_changes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, open_orders_max=1)
    first, second = (desk.place("trader1", BUY, 1, PRICE - 5) for _ in range(2))
    desk.offer(first, second)
    (done,) = (block := desk.build()).transactions
    await desk.make_final(block)
    assert desk.build().transactions == ()
    before, reserve = desk.balance("trader1", "USD"), (PRICE - 5) * 100
    desk.offer(desk.cancel("trader1", done.txid), desk.pay("trader1", "USD", reserve))
    await desk.make_final(desk.build())
    assert desk.balance("trader1", "USD") == before
    (waiting,) = {first.txid, second.txid} - {done.txid}
    assert [one.txid for one in desk.build().transactions] == [waiting]
    desk.close()


async def test_orders_that_cannot_apply_are_not_kept_by_the_thousands(tmp_path: Path) -> None:
    desk = Desk(tmp_path, owner_orders_max=3)
    orders = [desk.place("trader1", BUY, 1, PRICE - 5) for _ in range(7)]
    desk.offer(*orders[:3])
    with pytest.raises(WaitingOrdersExceeded) as caught:
        desk.offer(orders[3])
    assert caught.value.values["count"] == 3
    now = {"time_in_force": TimeInForce.IOC}
    desk.offer(desk.place("trader1", BUY, 1, **now), desk.cancel("trader1", bytes(32)))
    desk.offer(desk.place("trader2", BUY, 1))
    change = AmendOrder(address("trader1"), orders[0].txid, lots=AMOUNT_MAX // PRICE // 1_000)
    with pytest.raises(WaitingOrdersExceeded):
        desk.offer(desk.act("trader1", change))
    start = desk.chain.head.hash
    block = desk.build()
    desk.offer(*orders[3:5])  # those of an executed block wait no more
    desk.chain.move_to(start)
    with pytest.raises(WaitingOrdersExceeded):
        desk.offer(orders[5])  # now they wait again, and are five
    desk.chain.move_to(block.hash)
    await desk.make_final(block)
    desk.offer(orders[5])
    with pytest.raises(WaitingOrdersExceeded):
        desk.offer(orders[6])
    desk.pool.remove(orders[3].txid)
    desk.offer(orders[6])
    desk.close()


# Final.


async def test_books_are_read_from_final_rows_on_start(desk: Desk) -> None:
    kept = await busy(desk)
    books, again = desk.chain.state.books, open_state(desk.store, desk.genesis).books
    assert list(again.rows()) == list(books.rows())
    assert again.journal.digest == books.journal.digest
    assert again.limits == books.limits == desk.genesis.parameters.order_limits
    order = again.order(kept)
    assert order is not None
    assert order.lots == 10


async def test_the_audit_counts_reserves(desk: Desk) -> None:
    await busy(desk)
    report = audit_world(desk)
    assert report.violations == []
    assert report.orders == len(desk.chain.state.books.journal.orders) == 2
    [(key, value), *_] = database_of(desk).scan(STATE + ORDER, STATE + b"p")
    database_of(desk).write([(key, None)], sync=True)
    found = {(one.invariant, one.what.split(":")[0]) for one in audit_world(desk).violations}
    assert ("conservation", "USD") in found
    assert value


async def test_the_trail_sums_up_to_the_balances(desk: Desk) -> None:
    await busy(desk)
    feed = Feed(desk.genesis, desk.chain, desk.store)
    at, sums, kinds = START, dict[bytes, int](), set[str]()
    while at < feed.tip:
        page = feed.page(at, EVERYTHING, 2)
        for movement in page.movements:
            if movement.held == "account":
                key = balance_key(movement.account, movement.asset)
                sums[key] = sums.get(key, 0) + movement.units
            kinds.add(movement.kind)
        at = page.next
    assert sums == {key: decode_units(value) for key, value in desk.store.state_rows(BALANCE)}
    assert "trade" in kinds
    assert "burn" not in kinds
    assert desk.store.block_trades(2) is not None


@pytest.mark.parametrize("asset", ["USD", "BTC", NATIVE])
async def test_statements_end_with_the_balance(desk: Desk, asset: str) -> None:
    await busy(desk)
    statements = Statements(desk.genesis, desk.store)
    for who in ("trader1", "trader2"):
        page = await statements.page(address(who), asset, Range(), None, 100)
        later = await statements.page(address(who), asset, Range(from_height=3), None, 100)
        changes = sum(entry.movement.change for entry in page.entries)
        assert page.opening + changes == page.closing == desk.balance(who, asset)
        assert later.closing == page.closing


async def test_activity_tells_transactions_alone(desk: Desk) -> None:
    await busy(desk)
    found = desk.store.activity(address("trader2"), None, 100)
    assert [place.height for place, _ in found] == [3, 2, 1]
    assert all(desk.store.location(activity.txid) for _, activity in found)
    (refused,) = [desk.store.transaction_row(found[0][1].txid)]
    assert refused is not None
    assert refused.refused is not None
    assert refused.refused.code == "order-not-open"


async def test_an_expiry_is_the_last_that_happened_to_an_account(desk: Desk) -> None:
    """A balance changed by it: whoever compares balances has to know at which height."""
    until = {"time_in_force": TimeInForce.GTT, "expires_ms": desk.clock.ms + 500}
    order = desk.place("trader1", BUY, 5, **until)
    await desk.trade(order)
    assert desk.store.last_active(address("trader1")) == 1
    held = desk.balance("trader1", "USD")
    await desk.trade(desk.payment())
    await desk.trade(desk.payment())
    assert desk.balance("trader1", "USD") > held
    assert desk.store.last_active(address("trader1")) == 2
    [(place, _)] = desk.store.activity(address("trader1"), None, 9)
    assert place.height == 1
    assert desk.store.last_active(address("judy")) is None


async def test_the_books_of_another_branch(tmp_path: Path) -> None:
    """A proposal on another parent undoes what stood, and what it stood for comes back."""
    desk = Desk(tmp_path)
    ask = desk.place("trader2", SELL, 5)
    await desk.trade(ask)
    parent = desk.chain.head.hash
    desk.offer(desk.place("trader1", BUY, 3))
    one = desk.build()
    assert desk.balance("trader1", "BTC") > 1_000 * UNIT
    other = desk.chain.build(parent, desk.view + 1, desk.clock.ms)
    assert other is not None
    assert desk.chain.select(parent) is not None
    order = desk.chain.state.books.order(ask.txid)
    assert order is not None
    assert order.lots == 5
    desk.chain.move_to(one.hash)
    assert order.lots == 2
    desk.close()
