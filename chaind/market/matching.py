"""An arriving order meets the book: best price first, then the oldest, at the resting price.

The work of one order is bounded: it meets at most `fills_per_order_max` resting orders, and each
counts, whether they trade, are of its own account, or have expired and are only cleared away.
"""

from chaind.market.events import Done, Event, Matched, Reason, Reduced
from chaind.market.journal import Journal
from chaind.market.orders import Book, Order
from chaind.primitives.orders import (
    BUY,
    CANCEL_NEWEST,
    CANCEL_OLDEST,
    DECREMENT,
    GTC,
    GTT,
    LIMIT,
    NEVER_MS,
    PPM,
    Limits,
    Terms,
)


class Matching:
    """Moves orders of a journal's books; `chain_time_ms` and the places are the block's."""

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self.limits = limits
        self.chain_time_ms = 0
        self._journal = journal
        self._place = 0

    def open_block(self, height: int, chain_time_ms: int) -> None:
        """Places of a block are (height, index): no later block has an earlier one."""
        self.chain_time_ms = chain_time_ms
        self._place = height << 32

    def next_place(self) -> int:
        """Height and index in one integer, of the next arrival or trade of this block."""
        self._place += 1
        return self._place

    def arrive(self, order: Order, limit_ticks: int, events: list[Event]) -> None:
        """Match an order at prices up to `limit_ticks`; let it rest, or be done."""
        terms = order.terms
        reason = self._match(order, limit_ticks, events)
        if reason is None and order.lots:
            if terms.kind is LIMIT and terms.time_in_force in (GTC, GTT):
                order.level = order.book.level_for(terms, order.ticks)
                self._journal.join(order)
                return
            reason = Reason.UNFILLED
        events.append(_done(order, reason or Reason.FILLED))

    def take_out(self, order: Order, reason: Reason, events: list[Event]) -> None:
        """An open order is done; its reserve goes back."""
        self._journal.leave(order)
        events.append(_done(order, reason))

    def reduce(self, order: Order, lots: int, reason: Reason, events: list[Event]) -> None:
        """An open order loses a part and keeps its place."""
        self._journal.shrink(order, lots)
        events.append(_reduced(order, lots, reason))

    def first_live(self, book: Book, terms: Terms, limit_ticks: int) -> int | None:
        """The first price at which an order would meet a live one.

        Where the bound on its work ends the search, the price reached counts as live.
        """
        levels = book.asks if terms.side is BUY else book.bids
        worst = limit_ticks * levels.sign
        met = 0
        for level in levels:
            if level.key > worst:
                break
            for order in level:
                if met == self.limits.fills_per_order_max or not self.expired(order):
                    return level.ticks
                met += 1
        return None

    def fillable(self, book: Book, terms: Terms, account: bytes, limit_ticks: int) -> int:
        """Lots, up to its quantity, that an order would trade if it arrived now."""
        levels = book.asks if terms.side is BUY else book.bids
        worst = limit_ticks * levels.sign
        lots, met = 0, 0
        for level in levels:
            if level.key > worst:
                break
            for order in level:
                if met == self.limits.fills_per_order_max:
                    return lots
                met += 1
                if self.expired(order):
                    continue
                if order.owner.account == account:
                    if terms.self_trade is CANCEL_OLDEST:
                        continue
                    return lots
                lots += order.lots
                if lots >= terms.lots:
                    return terms.lots
        return lots

    def expired(self, order: Order) -> bool:
        """Whether its time has passed, though it may still stand in its queue."""
        return order.expires_ms != NEVER_MS and order.expires_ms <= self.chain_time_ms

    def _match(self, taker: Order, limit_ticks: int, events: list[Event]) -> Reason | None:
        """Trade while the other side's best reaches the limit; why it may not rest, if so."""
        book, owner = taker.book, taker.owner
        levels = book.asks if taker.buys else book.bids
        worst = limit_ticks * levels.sign
        meets = self.limits.fills_per_order_max
        while taker.lots:
            level = levels.best
            if level is None or level.key > worst:
                break
            if not meets:
                return Reason.FILLS_EXCEEDED
            meets -= 1
            maker = level.next
            assert isinstance(maker, Order)
            if maker.expires_ms != NEVER_MS and maker.expires_ms <= self.chain_time_ms:
                self.take_out(maker, Reason.EXPIRED, events)
            elif maker.owner is not owner:
                self._trade(book, taker, maker, events)
            elif self._prevent(taker, maker, events):
                return Reason.SELF_TRADE
        return None

    def _trade(self, book: Book, taker: Order, maker: Order, events: list[Event]) -> None:
        market, journal = book.market, self._journal
        lots = min(taker.lots, maker.lots)
        ticks = maker.ticks
        base_units = lots * book.lot_units
        quote_units = lots * ticks * book.step_units
        buys = taker.buys
        taker_gets, maker_gets = (base_units, quote_units) if buys else (quote_units, base_units)
        taker_fee, maker_fee = taker_gets * market.taker_fee_ppm, maker_gets * market.maker_fee_ppm
        taker_before, maker_before = taker.fee_ppm_units, maker.fee_ppm_units
        taker.lots -= lots
        taker.filled += lots
        taker.fee_ppm_units += taker_fee
        journal.fill(maker, lots, maker_fee)
        book.last_ticks = ticks
        events.append(
            Matched(
                market.symbol,
                self.next_place(),
                taker.id,
                taker.owner.account,
                maker.id,
                maker.owner.account,
                taker.terms.side,
                ticks,
                lots,
                base_units,
                quote_units,
                _charged(taker_before, taker_fee),
                _charged(maker_before, maker_fee),
                lots * (taker.ticks - ticks) * book.step_units if buys else 0,
            )
        )
        if not maker.lots:
            journal.leave(maker)
            events.append(_done(maker, Reason.FILLED))

    def _prevent(self, taker: Order, maker: Order, events: list[Event]) -> bool:
        """Two orders of one account meet; whether the arriving one is done."""
        mode = taker.terms.self_trade
        if mode is DECREMENT:
            lots = min(taker.lots, maker.lots)
            done = lots == taker.lots
            if lots == maker.lots:
                self.take_out(maker, Reason.SELF_TRADE, events)
            else:
                self.reduce(maker, lots, Reason.SELF_TRADE, events)
            if not done:
                events.append(_reduced(taker, lots, Reason.SELF_TRADE))
                taker.lots -= lots
            return done
        if mode is not CANCEL_NEWEST:
            self.take_out(maker, Reason.SELF_TRADE, events)
        return mode is not CANCEL_OLDEST


def _charged(before_ppm_units: int, added_ppm_units: int) -> int:
    """ceil(cumulative fee) − already charged, in base units; never more than was received."""
    if not added_ppm_units:
        return 0
    return -(-(before_ppm_units + added_ppm_units) // PPM) + -before_ppm_units // PPM


def _done(order: Order, reason: Reason) -> Done:
    terms, lots = order.terms, order.lots
    return Done(
        terms.symbol,
        order.id,
        order.owner.account,
        terms.side,
        lots,
        reason,
        order.reserve(lots),
    )


def _reduced(order: Order, lots: int, reason: Reason) -> Reduced:
    terms = order.terms
    return Reduced(
        terms.symbol,
        order.id,
        order.owner.account,
        terms.side,
        lots,
        reason,
        order.reserve(lots),
    )
