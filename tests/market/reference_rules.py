"""The exchange's rules, slow and obvious, and what they are asked about: a few dicts.

Written from the design's words, without a look at the engine's structures. Orders are frozen, so
a copy of the dicts is a snapshot.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from chaind.primitives.orders import (
    Kind,
    Limits,
    Market,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)

Told = tuple[Any, ...]
UNITS_MAX = 2**63 - 1


class Refused(Exception):
    """An action changed nothing; the argument is the code of the rule."""


@dataclass(frozen=True)
class Open:
    """One order. `due` is all its fees, exactly; `arrived` is (height, index)."""

    id: bytes
    account: bytes
    terms: Terms
    worst: int
    left: int
    arrived: tuple[int, int]
    filled: int = 0
    due: Fraction = Fraction(0)

    @property
    def waits(self) -> bool:
        return self.terms.trigger is not Trigger.NONE


@dataclass
class Rules:
    """See the module's law; what is open, and what was traded last."""

    limits: Limits
    markets: dict[str, Market] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    orders: dict[bytes, Open] = field(default_factory=dict)
    money: dict[tuple[bytes, str], int] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)
    around: dict[str, int] = field(default_factory=dict)  # of this block's price bands
    told: list[Told] = field(default_factory=list)
    height: int = 0
    now_ms: int = 0
    index: int = 0

    def facing(self, terms: Terms, limit: int) -> Iterator[Open]:
        """Resting orders of the other side at the limit or better, in the order they would meet."""
        sign = 1 if terms.side is Side.BUY else -1
        found = [
            order
            for order in self.orders.values()
            if order.terms.symbol == terms.symbol
            and not order.waits
            and order.terms.side is not terms.side
            and order.worst * sign <= limit * sign
        ]
        found.sort(key=lambda order: (order.worst * sign, order.arrived))
        return iter(found)

    # --- rules

    def check_worth(self, market: Market, terms: Terms) -> None:
        """What the order's whole value must be, where its own prices tell it."""
        if terms.kind is Kind.LIMIT:
            self.check_size(market, terms.lots, terms.ticks)
            self.check_notional(market, terms.lots, terms.ticks)
        elif terms.trigger is not Trigger.NONE:
            self.check_size(market, terms.lots, self.worst(terms, 0))
            self.check_notional(market, terms.lots, terms.stop_ticks)
        else:
            self.check_size(market, terms.lots, 1)

    def check_size(self, market: Market, lots: int, price: int) -> None:
        quote = lots * price * market.tick_units * market.lot_units // 10**8
        if quote > UNITS_MAX or lots * market.lot_units > UNITS_MAX:
            raise Refused("notional-too-large")

    def check_notional(self, market: Market, lots: int, price: int) -> None:
        if lots * price * market.tick_units * market.lot_units // 10**8 < market.min_notional_units:
            raise Refused("notional-too-small")

    def check_book(self, account: bytes, terms: Terms, worst: int) -> None:
        """What the book says of an order that would arrive now."""
        if terms.trigger is not Trigger.NONE:
            return
        market, around = self.markets[terms.symbol], self.around[terms.symbol]
        if terms.kind is Kind.MARKET:
            self.check_size(market, terms.lots, worst)
            self.check_notional(market, terms.lots, around)
        elif self.is_worse(terms.side, worst, self.edge(terms.symbol, terms.side, around)):
            raise Refused("price-out-of-band")
        if terms.post_only:
            for met, other in enumerate(self.facing(terms, worst)):
                if not self.is_late(other) or met == self.limits.fills_per_order_max:
                    raise Refused("post-only-would-take")
        if (
            terms.time_in_force is TimeInForce.FOK
            and self.at_once(account, terms, worst) < terms.lots
        ):
            raise Refused("fill-or-kill-unfilled")

    def at_once(self, account: bytes, terms: Terms, worst: int) -> int:
        lots = 0
        for met, other in enumerate(self.facing(terms, worst)):
            if met == self.limits.fills_per_order_max:
                break
            if self.is_late(other):
                continue
            if other.account == account:
                if terms.self_trade is SelfTrade.CANCEL_OLDEST:
                    continue
                break
            lots += other.left
        return lots

    def worst(self, terms: Terms, around: int) -> int:
        """The worst price at which an order can trade."""
        if terms.kind is Kind.LIMIT:
            return terms.ticks
        if terms.trigger is not Trigger.NONE:
            around = terms.stop_ticks
        return self.edge(terms.symbol, terms.side, around)

    def edge(self, symbol: str, side: Side, around: int) -> int:
        reach = max(1, around * self.markets[symbol].band_ppm // 10**6)
        return around + reach if side is Side.BUY else max(1, around - reach)

    @staticmethod
    def is_worse(side: Side, price: int, edge: int) -> bool:
        return price > edge if side is Side.BUY else price < edge

    def is_late(self, order: Open) -> bool:
        return 0 < order.terms.expires_ms <= self.now_ms

    @staticmethod
    def is_falling(order: Open) -> bool:
        """Whether it waits for a price at or below its own."""
        sells = order.terms.side is Side.SELL
        return sells == (order.terms.trigger is Trigger.STOP)

    def is_reached(self, order: Open) -> bool:
        last = self.last.get(order.terms.symbol)
        if last is None:
            return False
        stop = order.terms.stop_ticks
        return last <= stop if self.is_falling(order) else last >= stop

    # --- small things

    def market(self, symbol: str) -> Market:
        if symbol not in self.markets:
            raise Refused("market-unknown")
        return self.markets[symbol]

    def mine(self, account: bytes, order_id: bytes) -> Open:
        order = self.orders.get(order_id)
        if order is None or order.account != account:
            raise Refused("order-not-open")
        return order

    def replaced(self, order: Open, **values: Any) -> Open:
        terms = order.terms
        kept = {name: getattr(terms, name) for name in terms.__struct_fields__}
        return replace(order, terms=Terms(**{**kept, **values}))

    def place_in_block(self) -> tuple[int, int]:
        self.index += 1
        return self.height, self.index

    def reserve(self, order: Open, lots: int) -> tuple[str, int]:
        market = self.markets[order.terms.symbol]
        if order.terms.side is Side.BUY:
            return market.quote, lots * order.worst * market.tick_units * market.lot_units // 10**8
        return market.base, lots * market.lot_units

    def pay(self, account: bytes, asset: str, units: int) -> None:
        self.money[account, asset] = self.money.get((account, asset), 0) + units

    def queue(self, symbol: str, name: str) -> list[Told]:
        """A side of the book, or what waits for the price to fall or to rise, in its order."""
        waits = name in ("falls", "rises")
        found = []
        for order in self.orders.values():
            if order.terms.symbol != symbol or order.waits != waits:
                continue
            first = self.is_falling(order) if waits else order.terms.side is Side.BUY
            if first == (name in ("falls", "bids")):
                at = order.terms.stop_ticks if waits else order.worst
                sign = -1 if first else 1
                found.append((at * sign, order.arrived, at, order))
        return [
            (order.id, order.left, order.filled, order.worst, at)
            for _, _, at, order in sorted(found, key=lambda one: one[:2])
        ]

    @staticmethod
    def by_age(orders: Any) -> list[Open]:
        return sorted(orders, key=lambda order: order.arrived)

    def reserved(self) -> dict[tuple[bytes, str], int]:
        """What each account has reserved of each asset."""
        sums: dict[tuple[bytes, str], int] = {}
        for order in self.orders.values():
            asset, units = self.reserve(order, order.left)
            sums[order.account, asset] = sums.get((order.account, asset), 0) + units
        return sums
