"""Orders in the pool: queues of their own, reserves that are owed, what a failed one waits for."""

import pytest
from pool_kit import ALICE, BOB, NOW_MS, SHOP, Person, ordering, payment

from chaind.ledger.execute import Receipt
from chaind.ledger.keys import balance_key
from chaind.market.rows import market_key
from chaind.mempool.entries import Kind
from chaind.mempool.errors import Overcommitted, PoolFull
from chaind.mempool.pool import Dropped, Pool, PoolLimits
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    PlaceOrder,
    Side,
    Terms,
)
from chaind.primitives.orders import Kind as OrderKind

RICH = 10**12
TERMS = Terms("GOLD/COIN", Side.BUY, OrderKind.LIMIT, 5, 10)


def make_pool(**limits: int) -> Pool:
    return Pool(PoolLimits(**limits), "COIN")


def add(pool: Pool, receipt: Receipt, balance: int = RICH) -> list[Dropped]:
    return list(pool.add(receipt, NOW_MS, lambda _row: balance))


def placing(who: Person = ALICE, fee: int = 0, reserve: int = 0) -> Receipt:
    return ordering(who, PlaceOrder(who.address, TERMS), fee=fee, reserve=reserve)


def waiting(pool: Pool, kind: Kind) -> list[bytes]:
    return [entry.checked.txid for entry in pool.select(kind)]


def test_payments_cancels_and_orders_wait_apart() -> None:
    pool = make_pool()
    receipts = [
        payment(),
        placing(),
        ordering(ALICE, CancelOrder(ALICE.address, bytes(32))),
        ordering(BOB, CancelOrders(BOB.address)),
        ordering(ALICE, AmendOrder(ALICE.address, bytes(32), lots=1)),
        placing(BOB, fee=9),
    ]
    for receipt in receipts:
        add(pool, receipt)
    names = [receipt.checked.txid for receipt in receipts]
    assert waiting(pool, Kind.OTHER) == [names[0]]
    assert waiting(pool, Kind.CANCEL) == [names[2], names[3]]
    assert waiting(pool, Kind.ORDER) == [names[5], names[1], names[4]]
    assert pool.selectable == len(pool) == 6
    pool.hide(names)
    assert not pool.has_work()
    pool.show(reversed(names))
    assert waiting(pool, Kind.CANCEL) == [names[2], names[3]]
    for name in names:
        pool.remove(name)
    assert not pool.has_work()
    assert pool.bytes_total == 0


def test_a_reserve_is_owed_beside_the_fee() -> None:
    pool = make_pool()
    add(pool, placing(fee=10, reserve=50), balance=100)
    assert pool.pending_debit(ALICE.row) == 60
    with pytest.raises(Overcommitted):
        add(pool, placing(fee=1, reserve=40), balance=100)
    add(pool, payment(amount=40), balance=100)
    [entry] = pool.select(Kind.ORDER)
    pool.remove(entry.checked.txid)
    assert pool.pending_debit(ALICE.row) == 40


def test_whoever_pays_least_makes_room_whatever_it_is() -> None:
    pool = make_pool(transactions_max=3)
    order, paid, cancel = (
        placing(fee=20),
        payment(fee=900),
        ordering(BOB, CancelOrders(BOB.address), fee=30),
    )
    for receipt in (order, paid, cancel):
        add(pool, receipt)
    with pytest.raises(PoolFull):
        add(pool, placing(BOB, fee=1))
    (gone,) = add(pool, payment(fee=5_000))
    assert gone.entry.checked is order.checked
    (gone,) = add(pool, placing(BOB, fee=6_000))
    assert gone.entry.checked is cancel.checked


@pytest.mark.parametrize(
    ("row", "returns"),
    [
        (ALICE.row, True),
        (balance_key(ALICE.address, "GOLD"), True),  # an order of hers ended, whatever it traded
        (market_key("GOLD/COIN"), True),
        (market_key("TIN/COIN"), False),
        (SHOP.row, False),
        (b"o" + bytes(32), False),
    ],
)
def test_a_failed_order_waits_for_its_owner_or_its_market(row: bytes, returns: bool) -> None:
    pool = make_pool()
    add(pool, placing())
    [entry] = pool.select(Kind.ORDER)
    pool.park(entry)
    assert not pool.has_work()
    pool.settle((), [row], 0)
    assert pool.has_work() is returns
    pool.remove(entry.checked.txid)
    assert not pool._parked
