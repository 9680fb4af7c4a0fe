"""Blocks of random orders on an exchange, with what index and feeds are told of them."""

from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from chaind.ledger.block import Told
from chaind.ledger.trading import apply_order
from chaind.market.errors import REFUSALS
from chaind.market.exchange import Exchange
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Kind,
    Limits,
    Market,
    OrderAction,
    PlaceOrder,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.storage.kv import Change, MemoryStore
from chaind.storage.schema import STATE

MARKETS = (
    Market("BTC/USD", "BTC", "USD", 100_000_000, 1_000_000, 100, taker_fee_ppm=2_000),
    Market("COIN/USD", "COIN", "USD", 1_000_000, 100_000_000, 200, maker_fee_ppm=500),
)
ACCOUNTS = tuple(bytes([number]) * 20 for number in range(1, 6))
BLOCK_MS = 700  # some blocks share a second, and a day passes within a test where one waits


class DrawnBlock(NamedTuple):
    """A block as the index takes it."""

    height: int
    time_ms: int
    receipts: Any
    told: Told


class Pit:
    """An exchange on which everybody does anything."""

    def __init__(self, seed: int, store: MemoryStore) -> None:
        self.random = Random(seed)
        self.exchange = Exchange(Limits(fills_per_order_max=4, open_orders_max=30))
        self.height = 0
        self.time_ms = 1_700_000_000_000
        self._made = 0
        self._store = store
        self.exchange.begin(0, 0)
        for market in MARKETS:
            self.exchange.list_market(market)
        self._settle()

    def block(self, actions: int, wait_ms: int = BLOCK_MS) -> DrawnBlock:
        """The next block of so many actions."""
        self.height += 1
        told: list[Any] = []
        receipts = []
        begun = self.exchange.begin(self.height, self.time_ms)
        self.time_ms += wait_ms
        if begun:
            told.append((None, tuple(begun)))
        for _ in range(actions):
            self._made += 1
            txid = self._made.to_bytes(32, "big")
            action = self._draw()
            try:
                events, refused = apply_order(self.exchange, txid, action)
            except REFUSALS:  # such an action is in no block
                continue
            told.append((txid, tuple(events)))
            checked = SimpleNamespace(txid=txid, order=action)
            receipts.append(SimpleNamespace(checked=checked, refused=refused))
        triggered = self.exchange.trigger()
        if triggered:
            told.append((None, tuple(triggered)))
        self._settle()
        return DrawnBlock(self.height, self.time_ms, receipts, tuple(told))

    def _settle(self) -> None:
        """The state's rows as a final block leaves them."""
        delta = self.exchange.journal.seal()
        self.exchange.journal.settle(delta)
        rows: list[Change] = [(STATE + key, value) for key, value in delta.writes]
        self._store.write(rows, sync=False)

    def _draw(self) -> OrderAction:
        random = self.random
        account = random.choice(ACCOUNTS)
        orders = sorted(self.exchange.journal.orders)
        if orders and random.random() < 0.45:
            order = self.exchange.journal.orders[random.choice(orders)]
            owner = order.owner.account
            match random.randrange(8):
                case 0 | 1 | 2:
                    return CancelOrder(owner, order.id)
                case 3:
                    return CancelOrder(account, order.id)
                case 4:
                    return CancelOrders(account, random.choice(("", "BTC/USD")), None)
                case _:
                    lots = random.choice((0, 1, order.lots, order.lots + 3))
                    ticks = order.terms.ticks and random.choice((0, order.ticks + 1))
                    return AmendOrder(owner, order.id, lots, ticks)
        return PlaceOrder(account, self._terms())

    def _terms(self) -> Terms:
        random = self.random
        market = random.choice(MARKETS)
        centre = market.reference_ticks
        trigger = random.choices(tuple(Trigger), (9, 2, 1))[0]
        kind = random.choices(tuple(Kind), (5, 1))[0]
        time_in_force = random.choices(tuple(TimeInForce), (8, 2, 2, 1))[0]
        if kind is Kind.MARKET:
            time_in_force = TimeInForce.IOC
        elif trigger is not Trigger.NONE:
            time_in_force = TimeInForce.GTC
        rests = time_in_force <= TimeInForce.GTT and trigger is Trigger.NONE
        return Terms(
            market.symbol,
            random.choice(tuple(Side)),
            kind,
            lots=random.randrange(1, 9),
            ticks=0 if kind is Kind.MARKET else centre + random.randrange(-6, 7),
            time_in_force=time_in_force,
            expires_ms=self.time_ms + random.randrange(1, 4_000)
            if time_in_force is TimeInForce.GTT
            else 0,
            post_only=rests and random.random() < 0.2,
            trigger=trigger,
            stop_ticks=0 if trigger is Trigger.NONE else centre + random.randrange(-5, 6),
            self_trade=random.choice(tuple(SelfTrade)),
            client_id=random.choice("abc") if random.random() < 0.2 else "",
        )
