"""The exchange again, slow and obvious: a list of orders that is searched anew for every step.

Money is kept here too: what a balance holds is counted, and what is reserved always follows from
the open orders.
"""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

from reference_rules import Open, Refused, Rules, Told

from chaind.primitives.orders import Kind, SelfTrade, Side, Terms, TimeInForce, Trigger


class Reference(Rules):
    """See the module's law."""

    def snapshot(self) -> "Reference":
        copied = {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }
        return Reference(**{**copied, "told": []})

    # --- a block

    def begin(self, height: int, now_ms: int) -> list[Told]:
        self.height, self.now_ms, self.index, self.told = height, now_ms, 0, []
        self.around = {
            symbol: self.last.get(symbol, market.reference_ticks)
            for symbol, market in self.markets.items()
        }
        late = [order for order in self.orders.values() if self.is_late(order)]
        late.sort(key=lambda order: (order.terms.expires_ms, order.arrived))
        for order in late[: self.limits.expiries_per_block_max]:
            self.finish(order, "EXPIRED")
        return self.told

    def trigger(self) -> list[Told]:
        self.told = []
        due = [order for order in self.orders.values() if order.waits and self.is_reached(order)]
        symbols = sorted({order.terms.symbol for order in due})
        turn = self.height % len(symbols) if symbols else 0
        symbols = symbols[turn:] + symbols[:turn]

        def key(order: Open) -> tuple[Any, ...]:
            falls = self.is_falling(order)
            stop = order.terms.stop_ticks
            return (
                symbols.index(order.terms.symbol),
                0 if falls else 1,
                -stop if falls else stop,
                order.arrived,
            )

        for order in sorted(due, key=key)[: self.limits.triggers_per_block_max]:
            self.set_off(order)
        return self.told

    def set_off(self, order: Open) -> None:
        terms = order.terms
        if self.is_late(order):
            self.finish(order, "EXPIRED")
            return
        self.told.append(
            ("Triggered", terms.symbol, order.id, order.account, terms.side, order.left)
        )
        edge = self.edge(terms.symbol, terms.side, self.around[terms.symbol])
        if terms.kind is Kind.LIMIT and self.is_worse(terms.side, order.worst, edge):
            self.finish(order, "OUT_OF_BAND")
            return
        del self.orders[order.id]
        now = self.replaced(order, trigger=Trigger.NONE, stop_ticks=0)
        now = replace(now, arrived=self.place_in_block())
        limit = order.worst
        if terms.kind is Kind.MARKET and self.is_worse(terms.side, limit, edge):
            limit = edge
        self.meet(now, limit)

    # --- actions

    def place(self, account: bytes, order_id: bytes, terms: Terms) -> list[Told]:
        self.told = []
        market = self.market(terms.symbol)
        self.check_worth(market, terms)
        mine = [order for order in self.orders.values() if order.account == account]
        if terms.client_id and any(o.terms.client_id == terms.client_id for o in mine):
            raise Refused("client-order-id-taken")
        at_once = terms.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        never_open = at_once and terms.trigger is Trigger.NONE
        if not never_open and len(mine) >= self.limits.open_orders_max:
            raise Refused("open-orders-exceeded")
        if terms.expires_ms and terms.expires_ms <= self.now_ms:
            raise Refused("expiry-passed")
        worst = self.worst(terms, self.around[terms.symbol])
        self.check_book(account, terms, worst)
        order = Open(order_id, account, terms, worst, terms.lots, self.place_in_block())
        asset, units = self.reserve(order, order.left)
        self.pay(account, asset, -units)
        self.told.append(
            ("Accepted", terms.symbol, order_id, account, terms.side, terms.lots, worst, units)
        )
        self.enter(order)
        return self.told

    def cancel(self, account: bytes, order_id: bytes) -> list[Told]:
        self.told = []
        self.finish(self.mine(account, order_id), "CANCELLED")
        return self.told

    def cancel_all(self, account: bytes, symbol: str, side: Side | None) -> list[Told]:
        self.told = []
        if symbol:
            self.market(symbol)
        for order in self.by_age(self.orders.values()):
            if order.account != account or (symbol and order.terms.symbol != symbol):
                continue
            if side is None or order.terms.side is side:
                self.finish(order, "CANCELLED")
        return self.told

    def amend(
        self, account: bytes, order_id: bytes, lots: int, ticks: int, stop: int, post_only: bool
    ) -> list[Told]:
        self.told = []
        old = self.mine(account, order_id)
        if self.is_late(old):
            raise Refused("order-not-open")
        whole = lots or old.left + old.filled
        new = self.replaced(
            old,
            lots=whole,
            ticks=ticks or old.terms.ticks,
            stop_ticks=stop or old.terms.stop_ticks,
            post_only=post_only or old.terms.post_only,
        )
        terms, left = new.terms, whole - old.filled
        self.check_worth(self.markets[terms.symbol], terms)
        if left <= 0:
            self.finish(old, "AMENDED")
            return self.told
        stays = terms.ticks == old.terms.ticks and terms.stop_ticks == old.terms.stop_ticks
        if stays and left == old.left:
            raise Refused("amendment-empty")
        if stays and left < old.left:
            self.lose(old, old.left - left, "AMENDED")
            return self.told
        worst = self.worst(terms, self.around[terms.symbol])
        self.check_book(account, terms, worst)
        del self.orders[old.id]
        new = replace(new, worst=worst, left=left, arrived=self.place_in_block())
        asset, before = self.reserve(old, old.left)
        _, after = self.reserve(new, left)
        self.pay(account, asset, before - after)
        self.told.append(
            (
                "Amended",
                terms.symbol,
                old.id,
                account,
                terms.side,
                left,
                worst,
                terms.stop_ticks,
                after - before,
            )
        )
        self.enter(new)
        return self.told

    # --- meeting the book

    def enter(self, order: Open) -> None:
        if order.waits:
            self.orders[order.id] = order
        else:
            self.meet(order, order.worst)

    def meet(self, order: Open, limit: int) -> None:
        terms, met = order.terms, 0
        while order.left:
            other = next(self.facing(terms, limit), None)
            if other is None:
                break
            if met == self.limits.fills_per_order_max:
                return self.finish(order, "FILLS_EXCEEDED")
            met += 1
            if self.is_late(other):
                self.finish(other, "EXPIRED")
            elif other.account != order.account:
                order = self.trade(order, other)
            elif terms.self_trade is SelfTrade.CANCEL_NEWEST:
                return self.finish(order, "SELF_TRADE")
            elif terms.self_trade is SelfTrade.CANCEL_OLDEST:
                self.finish(other, "SELF_TRADE")
            elif terms.self_trade is SelfTrade.CANCEL_BOTH:
                self.finish(other, "SELF_TRADE")
                return self.finish(order, "SELF_TRADE")
            else:
                less = min(order.left, other.left)
                self.lose(other, less, "SELF_TRADE")
                if less == order.left:
                    return self.finish(order, "SELF_TRADE")
                order = self.lose(order, less, "SELF_TRADE", keep=False)
        if not order.left:
            return self.finish(order, "FILLED")
        if terms.kind is Kind.MARKET or terms.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            return self.finish(order, "UNFILLED")
        self.orders[order.id] = order
        return None

    def trade(self, taker: Open, maker: Open) -> Open:
        market = self.markets[taker.terms.symbol]
        lots, price = min(taker.left, maker.left), maker.worst
        base = lots * market.lot_units
        quote = lots * price * market.tick_units * market.lot_units // 10**8
        buyer, seller = (taker, maker) if taker.terms.side is Side.BUY else (maker, taker)
        charged = {}
        traded = {}
        for order in (taker, maker):
            gets = base if order is buyer else quote
            ppm = market.taker_fee_ppm if order is taker else market.maker_fee_ppm
            due = order.due + Fraction(gets * ppm, 10**6)
            charged[order.id] = math.ceil(due) - math.ceil(order.due)
            traded[order.id] = replace(
                order, left=order.left - lots, filled=order.filled + lots, due=due
            )
        better = self.reserve(buyer, lots)[1] - quote
        self.pay(buyer.account, market.base, base - charged[buyer.id])
        self.pay(buyer.account, market.quote, better)
        self.pay(seller.account, market.quote, quote - charged[seller.id])
        self.fees[market.base] = self.fees.get(market.base, 0) + charged[buyer.id]
        self.fees[market.quote] = self.fees.get(market.quote, 0) + charged[seller.id]
        self.last[market.symbol] = price
        height, index = self.place_in_block()
        self.told.append(
            (
                "Matched",
                market.symbol,
                (height << 32) + index,
                taker.id,
                taker.account,
                maker.id,
                maker.account,
                taker.terms.side,
                price,
                lots,
                base,
                quote,
                charged[taker.id],
                charged[maker.id],
                better,
            )
        )
        self.orders[maker.id] = traded[maker.id]
        if not traded[maker.id].left:
            self.finish(traded[maker.id], "FILLED")
        return traded[taker.id]

    def finish(self, order: Open, reason: str) -> None:
        """The order is done; what is left of its reserve goes back."""
        self.orders.pop(order.id, None)
        asset, units = self.reserve(order, order.left)
        self.pay(order.account, asset, units)
        terms = order.terms
        self.told.append(
            ("Done", terms.symbol, order.id, order.account, terms.side, order.left, reason, units)
        )

    def lose(self, order: Open, lots: int, reason: str, *, keep: bool = True) -> Open:
        """Quantity goes without a trade; all of it means that the order is done."""
        if lots == order.left:
            self.finish(order, reason)
            return order
        asset, units = self.reserve(order, lots)
        self.pay(order.account, asset, units)
        terms = order.terms
        self.told.append(
            ("Reduced", terms.symbol, order.id, order.account, terms.side, lots, reason, units)
        )
        less = replace(order, left=order.left - lots)
        if keep:
            self.orders[order.id] = less
        return less
