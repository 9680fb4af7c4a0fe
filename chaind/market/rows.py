"""The rows of the state that books are derived from, and back.

    m ‖ symbol        market: its rules and the last price
    o ‖ order id      open order, with its place in the one order of all arrivals

Books hold nothing that does not follow from these, so a node that reads them has the books of
every other.
"""

from collections.abc import Sequence

import msgspec

from chaind.market.orders import Book, Order, Owner
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.hashes import sha256
from chaind.primitives.orders import PPM, Market, Terms

MARKET = b"m"
ORDER = b"o"

Writes = tuple[tuple[bytes, bytes | None], ...]


class MarketRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A market and its last price, zero before the first trade."""

    market: Market
    last_ticks: int


class OrderRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An open order. All its fees are whole base units less `fee_spare` millionths of one.

    How many base units decides nothing, and over many amendments no integer of a row would hold it.
    """

    rank: int
    account: bytes
    terms: Terms
    ticks: int
    lots: int
    filled: int
    fee_spare: int


market_decoder: Decoder[MarketRow] = Decoder("market row", MarketRow)
order_decoder: Decoder[OrderRow] = Decoder("order row", OrderRow)


def market_key(symbol: str) -> bytes:
    """Row of one market."""
    return MARKET + symbol.encode("ascii")


def order_key(order_id: bytes) -> bytes:
    """Row of one open order."""
    return ORDER + order_id


def market_value(book: Book) -> bytes:
    """Value of a market's row."""
    return encode(MarketRow(book.market, book.last_ticks))


def order_value(order: Order) -> bytes:
    """Value of an order's row: the fields of `OrderRow`, without the detour of making one."""
    return encode(
        (
            order.rank,
            order.owner.account,
            order.terms,
            order.ticks,
            order.lots,
            order.filled,
            -order.fee_ppm_units % PPM,
        )
    )


def order_of(order_id: bytes, row: OrderRow, book: Book, owner: Owner) -> Order:
    """Inverse of `order_value`, but for whole units of fees; the order stands nowhere yet."""
    order = Order(order_id, owner, book, row.terms, row.ticks, row.rank)
    order.lots, order.filled = row.lots, row.filled
    order.fee_ppm_units = -row.fee_spare
    order.level = book.level_for(row.terms, row.ticks)
    return order


def next_digest(digest: bytes, writes: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    """sha256(digest ‖ sha256(net writes of a block in key order)), as the state root is made."""
    return sha256(digest + sha256(encode(writes)))
