"""Orders of accounts whose keys this node keeps, and how the index names what is final.

An order is a transaction like any other: it is made once per Idempotency-Key, and whoever keeps its
key signs for it. This module finds out which market, which order and which account are meant.
"""

from collections.abc import Callable
from typing import NamedTuple

from chaind.market.checks import to_lots, to_ticks
from chaind.market.errors import MarketUnknown
from chaind.node.payments import Payment, Payments, Spending, lease_of
from chaind.node.queries import Queries, TransactionUnknown
from chaind.primitives.codec import encode
from chaind.primitives.errors import Conflict, NotAllowed, Temporary, Unknown
from chaind.primitives.hashes import tagged_hash
from chaind.primitives.orders import Market, OrderAction, PlaceOrder
from chaind.primitives.transaction import Lease
from chaind.storage.chain_store import ChainStore
from chaind.storage.market_rows import OrderRecord, OrderStatus
from chaind.wallet.derivation import TRADER_NAMES

DEFAULT_TRADER = TRADER_NAMES[0]
PLACING_MS_MAX = 5_000.0  # how long an amendment or a cancellation waits for what it is about


class OrderUnknown(Unknown):
    code = "order-unknown"
    text = "there is no order {order_id}"
    advice = "An order's id is its transaction's: GET /api/v1/orders lists those of an account."


class OrderDone(Conflict):
    code = "order-done"
    text = "order {order_id} is done already: {status}"
    advice = "Nothing of it is open any more; GET /api/v1/orders/ID shows what became of it."


class OrderPending(Conflict, Temporary):
    code = "order-pending"
    text = "order {order_id} waits for a block"
    advice = "Ask again: what is not in the book yet cannot be taken from it."


class NotYourOrder(NotAllowed):
    code = "not-your-order"
    text = "order {order_id} is of another account than {account}"
    advice = "Name the account that placed it, or leave the account out."


class OrderState(NamedTuple):
    """An order as it is now; `final` is False while its transaction waits."""

    order_id: bytes
    record: OrderRecord
    final: bool


class Orders:
    """See the module's law."""

    def __init__(
        self,
        *,
        payments: Payments,
        queries: Queries,
        store: ChainStore,
        show: Callable[[bytes], str],
    ) -> None:
        self._payments = payments
        self._queries = queries
        self._store = store
        self._show = show
        self.reads = store.trading

    def account(self, who: str | int | None) -> bytes:
        """Address of whoever trades; of the funded trader of a development chain without a name."""
        return self._payments.resolve(DEFAULT_TRADER if who is None else who)

    def market(self, symbol: str) -> Market:
        """A final market, by either of its names. Raises `MarketUnknown`."""
        market = self.reads.market(market_name(symbol))
        if market is None:
            raise MarketUnknown(symbol=repr(symbol[:32]))
        return market

    def find(self, order_id: bytes) -> OrderState:
        """An order that is final, or waits here. Raises `OrderUnknown`."""
        record = self.reads.order(order_id)
        if record is not None:
            return OrderState(order_id, record, final=True)
        try:
            info = self._queries.transaction(order_id)
        except TransactionUnknown:
            raise OrderUnknown(order_id=order_id.hex()) from None
        action = info.transaction.body.action if info.transaction is not None else None
        if not isinstance(action, PlaceOrder):
            raise OrderUnknown(order_id=order_id.hex())
        record = OrderRecord.of(action.terms, action.owner, height=0, place=0, time_ms=0)
        return OrderState(order_id, record, final=False)

    async def open(self, order_id: bytes) -> OrderRecord:
        """An order that is open, as soon as it is final where it was placed just now.

        Raises `OrderUnknown`, `OrderPending` or `OrderDone`.
        """
        state = self.find(order_id)
        if not state.final:
            await self._payments.wait_final(order_id, PLACING_MS_MAX)
            state = self.find(order_id)
        if not state.final:
            raise OrderPending(order_id=order_id.hex())
        if state.record.status is not OrderStatus.OPEN:
            raise OrderDone(order_id=order_id.hex(), status=status_word(state.record))
        return state.record

    def raise_refused(self, txid: bytes) -> None:
        """Raise what the book had against a final action, if anything."""
        row = self._store.transaction_row(txid)
        if row is not None and row.refused is not None:
            raise row.refused.error()

    def is_new(self, action: OrderAction, key: str | None) -> bool:
        """Whether no earlier request had this key, so that this one is for the first time."""
        lease = _lease_of(action, key)
        return lease is None or self._queries.lease(lease.owner, lease.id) is None

    async def act(self, action: OrderAction, key: str | None, *, wait: bool) -> Payment:
        """Sign an action of an account of this node and hand it in; once per key.

        Raises `CustodyDisabled`, and every rule that keeps an action out of blocks.
        """
        lease = _lease_of(action, key)
        who = self._show(action.owner)
        return await self._payments.spend(
            Spending(who, action.owner, (), b"", lease, action), wait=wait
        )


def _lease_of(action: OrderAction, key: str | None) -> Lease | None:
    return lease_of(action.owner, key, tagged_hash("chaind/order-intent", encode(action)))


def market_name(symbol: str) -> str:
    """BTC-USD and BTC/USD name the same market."""
    return symbol.replace("-", "/", 1)


def ticks_of(market: Market, units: int | None) -> int:
    """Ticks of a price that may be left out. Raises `PriceOffTick`."""
    return 0 if units is None else to_ticks(market, units)


def lots_of(market: Market, units: int | None) -> int:
    """Lots of a quantity that may be left out. Raises `QuantityOffLot`."""
    return 0 if units is None else to_lots(market, units)


def status_word(record: OrderRecord) -> str:
    """What traders call it."""
    if record.status is OrderStatus.REFUSED:
        return "rejected"
    if record.status is OrderStatus.OPEN:
        if record.waits:
            return "untriggered"
        return "partially_filled" if record.filled else "open"
    assert record.reason is not None, "what is done has a reason"
    return _DONE.get(record.reason.name, "cancelled")


_DONE = {"FILLED": "filled", "EXPIRED": "expired"}
