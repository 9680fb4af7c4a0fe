"""What a test sees of an exchange: all of it as bytes, and whether it contradicts itself."""

from collections.abc import Iterator

from chaind.market.exchange import Exchange
from chaind.market.orders import Book, Levels, Order
from chaind.primitives.codec import encode

QUEUES = ("bids", "asks", "falls", "rises")


def dump(exchange: Exchange) -> bytes:
    """Rows, queues in their order, sums and every index. Equal bytes are equal books."""
    journal = exchange.journal
    books = [
        (symbol, book.last_ticks, [[*queue_dump(getattr(book, name))] for name in QUEUES])
        for symbol, book in journal.books.items()
    ]
    owners = [
        (
            account,
            sorted(owner.orders),
            sorted((name, order.id) for name, order in owner.by_client_id.items()),
        )
        for account, owner in sorted(journal.owners.items())
    ]
    expiring = [(*key, order.id) for key, order in journal.expiring.items()]
    rows = list(exchange.rows())
    return encode((journal.digest, sorted(journal.pressing), rows, books, owners, expiring))


def queue_dump(levels: Levels) -> Iterator[tuple[int, int, int, list[bytes]]]:
    for level in levels:
        yield level.ticks, level.lots, level.count, [order.id for order in level]


def check_books(exchange: Exchange) -> None:
    """Every order stands in its queue and in the indexes, sums hold, no book is crossed."""
    standing: list[Order] = []
    for book in exchange.journal.books.values():
        standing += check_book(book)
    assert sorted(order.id for order in standing) == sorted(exchange.journal.orders)
    owned = [o.id for one in exchange.journal.owners.values() for o in one.orders.values()]
    assert sorted(owned) == sorted(exchange.journal.orders)
    assert all(one.orders for one in exchange.journal.owners.values())


def check_book(book: Book) -> list[Order]:
    standing = []
    for name in QUEUES:
        levels: Levels = getattr(book, name)
        keys = [level.key for level in levels]
        assert keys == sorted(set(keys))
        assert levels.best is next(iter(levels), None)
        for level in levels:
            orders = list(level)
            assert orders, "an empty level stands"
            assert [order.prev for order in orders] == [level, *orders[:-1]]
            assert level.prev is orders[-1]
            assert level.lots == sum(order.lots for order in orders)
            assert level.count == len(orders)
            assert all(order.lots > 0 and order.level is level for order in orders)
            ranks = [order.rank for order in orders]
            assert ranks == sorted(set(ranks)), "a queue is not in order of arrival"
            standing += orders
    bid, ask = book.bids.best, book.asks.best
    assert bid is None or ask is None or bid.ticks < ask.ticks, "the book is crossed"
    return standing
