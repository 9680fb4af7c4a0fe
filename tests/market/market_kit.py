"""A market with round numbers, and words to trade on it."""

from typing import Any

from chaind.market.events import Event
from chaind.market.exchange import Exchange
from chaind.primitives.orders import (
    AmendOrder,
    Kind,
    Limits,
    Market,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)

BUY, SELL = Side.BUY, Side.SELL
ALICE, BOB, CAROL = b"alice", b"bob", b"carol"
NOW_MS = 1_000
# A lot is 0.01 BTC, a tick 1 USD: a lot at a tick moves 0.01 USD, a million base units.
LOT, STEP = 1_000_000, 1_000_000
BTC_USD = Market(
    "BTC/USD", "BTC", "USD", 100_000_000, LOT, 100, maker_fee_ppm=1_000, taker_fee_ppm=2_000
)


class Floor:
    """An exchange inside its second block; orders are named by their number."""

    def __init__(self, *markets: Market, limits: Limits | None = None) -> None:
        self.exchange = Exchange(limits)
        self.count = 0
        self.height = 0
        self.begin(0)
        for market in markets or (BTC_USD,):
            self.exchange.list_market(market)
        self.next_block(NOW_MS)

    def begin(self, now_ms: int) -> list[Event]:
        self.height += 1
        return list(self.exchange.begin(self.height, now_ms))

    def next_block(self, now_ms: int) -> tuple[list[Event], list[Event]]:
        """What is triggered at the end of this block, and what expires in the next one."""
        triggered = list(self.exchange.trigger())
        self.exchange.journal.seal()
        return triggered, self.begin(now_ms)

    def place(self, account: bytes, side: Side, lots: int, ticks: int = 0, **more: Any) -> bytes:
        """Place an order; its id. `self.told` has what came of it."""
        self.count += 1
        order_id = self.count.to_bytes(32, "big")
        terms = order(side, lots, ticks, **more)
        self.told = list(self.exchange.place(account, order_id, terms))
        return order_id

    def amend(self, account: bytes, order_id: bytes, **values: Any) -> list[Event]:
        return list(self.exchange.amend(AmendOrder(account, order_id, **values)))

    def queue(self, side: Side) -> list[tuple[int, int]]:
        """(number of the order, open lots), best first."""
        book = self.exchange.journal.books["BTC/USD"]
        return [
            (int.from_bytes(one.id, "big"), one.lots)
            for level in (book.bids if side is BUY else book.asks)
            for one in level
        ]


def order(side: Side, lots: int, ticks: int = 0, **more: Any) -> Terms:
    """A limit order, or without a price a market order."""
    if not ticks:
        more = {"kind": Kind.MARKET, "time_in_force": TimeInForce.IOC} | more
    return Terms(
        **{"symbol": "BTC/USD", "side": side, "kind": Kind.LIMIT} | more, lots=lots, ticks=ticks
    )


def stop(side: Side, lots: int, at: int, ticks: int = 0, **more: Any) -> Terms:
    """A stop order that becomes a limit order, or without a price a market order."""
    kept = {"trigger": Trigger.STOP, "stop_ticks": at, "time_in_force": TimeInForce.GTC}
    return order(side, lots, ticks, **kept | more)
