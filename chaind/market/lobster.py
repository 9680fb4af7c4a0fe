"""LOBSTER message files through the engine: does price-time priority explain every execution?

A message is a line `time,type,order id,size,price,direction`: seconds after midnight, what
happened, whole shares, dollars times 10,000, and 1 for a buy order or −1 for a sell order (of an
execution: the order that was resting). The engine gets the orders and, for every execution, an
immediate order of the other side with that size and price; where it trades something else than
the exchange did, the two disagree, and the file's word stands for what follows.

A file begins with the day, not with the book: what happens to orders that were there before is
counted and left out, so the engine's book holds the file's orders alone.
"""

import re
from collections import Counter
from enum import IntEnum
from typing import NamedTuple

from chaind.market.errors import PostOnlyWouldTake
from chaind.market.events import Matched
from chaind.market.exchange import Exchange
from chaind.market.orders import Order
from chaind.primitives.amounts import UNIT
from chaind.primitives.errors import Malformed
from chaind.primitives.orders import (
    BAND_PPM_MAX,
    AmendOrder,
    Kind,
    Limits,
    Market,
    Side,
    Terms,
    TimeInForce,
)

SYMBOL = "SHARE/USD"
TAKER = b"taker"
FIELDS = 6
SIZE_MAX = 2**28  # shares, more than any order has
PRICE_MAX = 2**34  # beyond the 9999999999 of an empty level; times SIZE_MAX it is an amount
SHOWN_MAX = 20  # disagreements that a report describes
_TIME = re.compile(r"(\d{1,6})(?:\.(\d{1,12}))?", re.ASCII)  # to the picosecond
_WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


class MessageMalformed(Malformed):
    """A line is no message, or one that cannot come after those before it."""

    code = "lobster-message-malformed"
    text = "line {line} is no message: {reason}"
    advice = "Give a LOBSTER message file: time,type,order id,size,price,direction on each line."


class What(IntEnum):
    """Types of messages, as LOBSTER numbers them."""

    ORDER = 1
    REDUCTION = 2
    DELETION = 3
    EXECUTION = 4
    HIDDEN_EXECUTION = 5
    CROSS_TRADE = 6
    HALT = 7


class Message(NamedTuple):
    """One line. `order_id` is zero where a message is about none."""

    line: int
    time_ps: int
    what: What
    order_id: int
    size: int
    price: int
    side: Side


class Disagreement(NamedTuple):
    """An execution that the engine would have made otherwise, or an order it would have traded."""

    line: int
    reason: str


class Report(NamedTuple):
    """What a file held. `executions` are of orders in the file; `agreed` of them agree."""

    messages: int
    orders: int
    executions: int
    agreed: int
    disagreed: int
    unknown: int
    hidden: int
    halts: int
    resting: int
    disagreements: tuple[Disagreement, ...]


def parse_message(line: int, text: str) -> Message:
    """The message of a line; raises `MessageMalformed`."""
    fields = text.strip().split(",")
    if len(fields) != FIELDS:
        raise MessageMalformed(line=line, reason=f"{len(fields)} fields, not {FIELDS}")
    time, *rest = (field.strip() for field in fields)
    found = _TIME.fullmatch(time)
    if found is None:
        raise MessageMalformed(line=line, reason=f"time {time[:20]!r} is no number of seconds")
    for name, field in zip(("type", "order id", "size", "price", "direction"), rest, strict=True):
        if not _WHOLE.fullmatch(field):
            raise MessageMalformed(line=line, reason=f"{name} {field[:20]!r} is no whole number")
    kind, order_id, size, price, direction = map(int, rest)
    if kind not in tuple(What):
        raise MessageMalformed(line=line, reason=f"type {kind} is none of 1 to 7")
    what = What(kind)
    if direction not in (1, -1):
        raise MessageMalformed(line=line, reason=f"direction {direction} is neither 1 nor -1")
    if what in (What.ORDER, What.REDUCTION, What.DELETION, What.EXECUTION):
        if order_id <= 0:
            raise MessageMalformed(line=line, reason=f"order id {order_id} is not positive")
        for name, value, most in (("size", size, SIZE_MAX), ("price", price, PRICE_MAX)):
            if not 0 < value <= most:
                reason = f"{name} {value} is not within 1 and {most}"
                raise MessageMalformed(line=line, reason=reason)
    time_ps = int(found[1] + (found[2] or "").ljust(12, "0"))
    side = Side.BUY if direction == 1 else Side.SELL
    return Message(line, time_ps, what, order_id, size, price, side)


class Replay:
    """Takes the lines of a file in order; `report` tells what came of them so far."""

    def __init__(self) -> None:
        self._exchange = Exchange(Limits())
        self._counts: Counter[str] = Counter()
        self._disagreements: list[Disagreement] = []
        self._time_ps = 0

    def take(self, line: int, text: str) -> None:
        """The next line; raises `MessageMalformed` and then is not to be used any more."""
        message = parse_message(line, text)
        if message.time_ps < self._time_ps:
            raise MessageMalformed(line=line, reason="its time is before the last one's")
        self._time_ps = message.time_ps
        self._counts["messages"] += 1
        if message.what is What.HALT:
            self._counts["halts"] += 1
        elif message.what in (What.HIDDEN_EXECUTION, What.CROSS_TRADE):
            self._counts["hidden"] += 1
        elif message.what is What.ORDER:
            self._place(message)
        else:
            self._follow(message)

    def report(self) -> Report:
        """Counts, and the first disagreements in words."""
        counts = self._counts
        return Report(
            counts["messages"],
            counts["orders"],
            counts["executions"],
            counts["agreed"],
            counts["disagreed"],
            counts["unknown"],
            counts["hidden"],
            counts["halts"],
            len(self._exchange.journal.orders),
            tuple(self._disagreements),
        )

    def _place(self, message: Message) -> None:
        """A new order rests: what it traded on arrival is told as executions before it."""
        order_id = _id(message.order_id)
        if self._exchange.order(order_id) is not None:
            reason = f"order {message.order_id} is open already"
            raise MessageMalformed(line=message.line, reason=reason)
        self._begin(message)
        terms = Terms(SYMBOL, message.side, Kind.LIMIT, message.size, message.price, post_only=True)
        try:
            self._exchange.place(order_id, order_id, terms)
        except PostOnlyWouldTake as refused:
            best = refused.values["best_ticks"]
            self._disagree(message, f"an order at {message.price} rests, {best} stands against it")
            self._exchange.journal.abandon()
            return
        self._counts["orders"] += 1
        self._seal()

    def _follow(self, message: Message) -> None:
        """Something happens to an order that is there."""
        order = self._exchange.order(_id(message.order_id))
        if order is None:
            self._counts["unknown"] += 1
            return
        if message.side is not order.terms.side:
            reason = f"order {message.order_id} is of the other direction"
            raise MessageMalformed(line=message.line, reason=reason)
        if message.what is not What.EXECUTION:
            gone = order.lots if message.what is What.DELETION else message.size
            self._take_from(message, order, gone)
            return
        self._counts["executions"] += 1
        otherwise = self._trade(message)
        if otherwise is None:
            self._counts["agreed"] += 1
            self._seal()
        else:
            self._disagree(message, otherwise)
            self._exchange.journal.abandon()
            self._take_from(message, order, message.size)

    def _trade(self, message: Message) -> str | None:
        """Let the engine trade what was executed; in words where it trades something else."""
        self._begin(message)
        side = Side.SELL if message.side is Side.BUY else Side.BUY
        terms = Terms(
            SYMBOL,
            side,
            Kind.LIMIT,
            message.size,
            message.price,
            time_in_force=TimeInForce.IOC,
        )
        events = self._exchange.place(TAKER, _id(0), terms)
        trades = [event for event in events if isinstance(event, Matched)]
        for trade in trades:
            number = int.from_bytes(trade.maker_id, "big")
            if trade.ticks != message.price:
                return f"order {number} at {trade.ticks} has the better price"
            if number != message.order_id:
                return f"order {number} came before order {message.order_id}"
        traded = sum(trade.lots for trade in trades)
        if traded != message.size:
            return f"order {message.order_id} has {traded} open at {message.price}"
        return None

    def _take_from(self, message: Message, order: Order, size: int) -> None:
        self._begin(message)
        left = order.lots - size
        if left > 0:
            self._exchange.amend(AmendOrder(order.id, order.id, lots=order.filled + left))
        else:
            self._exchange.cancel(order.id, order.id)
        self._seal()

    def _disagree(self, message: Message, reason: str) -> None:
        self._counts["disagreed"] += 1
        if len(self._disagreements) < SHOWN_MAX:
            self._disagreements.append(Disagreement(message.line, reason))

    def _begin(self, message: Message) -> None:
        """Every message is a block of its own, so that it can be taken back."""
        self._exchange.begin(message.line, 0)
        if not self._exchange.markets():
            self._exchange.list_market(
                Market(
                    SYMBOL,
                    "SHARE",
                    "USD",
                    tick_units=UNIT,
                    lot_units=1,
                    reference_ticks=message.price,
                    band_ppm=BAND_PPM_MAX,
                )
            )

    def _seal(self) -> None:
        journal = self._exchange.journal
        journal.settle(journal.seal())


def _id(number: int) -> bytes:
    return number.to_bytes(8, "big")
