"""What the engine tells, in order, and what of it moves money.

An event holds what an index, a feed and the ledger need without asking the book. `moves` says
what the ledger books for it; summed over all events they move nothing but between balances,
reserves and fees.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

from chaind.primitives.orders import BUY, SELL, Market, Side


class Reason(IntEnum):
    """Why an order, or a part of it, is no longer open."""

    FILLED = 0
    CANCELLED = 1  # its account asked for it
    EXPIRED = 2
    UNFILLED = 3  # immediate or fill-or-kill, and the book held no more at its price
    FILLS_EXCEEDED = 4  # it met as many makers as one order may
    SELF_TRADE = 5
    AMENDED = 6  # its account asked for less
    OUT_OF_BAND = 7  # triggered where its price would be refused


class Accepted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A new order stands or starts to match; `reserve_units` leave the balance for its reserve."""

    symbol: str
    order_id: bytes
    account: bytes
    side: Side
    lots: int
    ticks: int  # its worst price
    reserve_units: int


class Matched(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A trade at the maker's price. A fee is in the asset that its payer receives."""

    symbol: str
    trade: int  # height and index, see `terms`
    taker_id: bytes
    taker: bytes
    maker_id: bytes
    maker: bytes
    taker_side: Side
    ticks: int
    lots: int
    base_units: int
    quote_units: int
    taker_fee_units: int
    maker_fee_units: int
    released_units: int  # quote that the buyer had reserved for a worse price


class Reduced(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An order lost `lots` without a trade and keeps its place."""

    symbol: str
    order_id: bytes
    account: bytes
    side: Side
    lots: int
    reason: Reason
    released_units: int


class Amended(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An order has new terms and became the newest; `lots` of it are open."""

    symbol: str
    order_id: bytes
    account: bytes
    side: Side
    lots: int
    ticks: int
    stop_ticks: int
    reserve_units: int  # what joins its reserve, or leaves it where negative


class Triggered(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The last price reached an order's stop price: it enters the book."""

    symbol: str
    order_id: bytes
    account: bytes
    side: Side
    lots: int


class Done(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An order is no longer open; `lots` of it never traded."""

    symbol: str
    order_id: bytes
    account: bytes
    side: Side
    lots: int
    reason: Reason
    released_units: int


Event = Accepted | Matched | Reduced | Amended | Triggered | Done


class Move(NamedTuple):
    """Base units of `asset` that an account gains; where `account` is None they are fees."""

    account: bytes | None
    asset: str
    available: int
    reserved: int


def moves(market: Market, event: Event) -> Iterator[Move]:
    """What the ledger books for an event of that market."""
    if isinstance(event, Matched):
        yield from _trade_moves(market, event)
    elif not isinstance(event, Triggered):
        asset = market.quote if event.side is BUY else market.base
        held = (
            event.reserve_units if isinstance(event, Accepted | Amended) else -event.released_units
        )
        yield Move(event.account, asset, -held, held)


def _trade_moves(market: Market, trade: Matched) -> Iterator[Move]:
    buyer, seller = trade.taker, trade.maker
    buyer_fee, seller_fee = trade.taker_fee_units, trade.maker_fee_units
    if trade.taker_side is SELL:
        buyer, seller, buyer_fee, seller_fee = seller, buyer, seller_fee, buyer_fee
    paid, back = trade.quote_units, trade.released_units
    yield Move(buyer, market.quote, back, -paid - back)
    yield Move(buyer, market.base, trade.base_units - buyer_fee, 0)
    yield Move(seller, market.base, 0, -trade.base_units)
    yield Move(seller, market.quote, paid - seller_fee, 0)
    yield Move(None, market.base, buyer_fee, 0)
    yield Move(None, market.quote, seller_fee, 0)
