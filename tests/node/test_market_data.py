"""Levels, trades, candles and records follow the books exactly, block by block, by events alone."""

from collections import Counter
from types import SimpleNamespace

import pytest
from books_kit import ACCOUNTS, MARKETS, DrawnBlock, Pit

from chaind.market.book_feed import BookFollower, book_checksum
from chaind.market.errors import MarketUnknown
from chaind.market.exchange import Exchange
from chaind.node.market_data import DAY_MS, MarketData
from chaind.primitives.amounts import AMOUNT_MAX, UNIT, format_amount
from chaind.primitives.orders import BUY, LIMIT, SELL, AmendOrder, Market, PlaceOrder, Side, Terms
from chaind.storage.kv import MemoryStore
from chaind.storage.market_index import MarketChange, MarketIndex
from chaind.storage.market_reads import MarketReads
from chaind.storage.market_rows import (
    INTERVALS,
    OrderRecord,
    OrderStatus,
    order_record,
    trade_number,
    trade_place,
    value_of,
)

BLOCKS, ACTIONS = 60, 12


class Line:
    """A pit, and beside it all that a node keeps of it."""

    def __init__(self, seed: int) -> None:
        self.store = MemoryStore()
        self.pit = Pit(seed, self.store)
        self.index = MarketIndex(self.store)
        self.reads = MarketReads(self.store)
        self.data = MarketData.load(self.pit.exchange, self.reads, 0, self.pit.time_ms)

    def block(self, actions: int = ACTIONS, wait_ms: int = 700) -> tuple[DrawnBlock, MarketChange]:
        block = self.pit.block(actions, wait_ms)
        change = self.index.take(block.height, block.time_ms, block.receipts, block.told)
        self.store.write(change.rows, sync=False)
        self.data.take(block.height, block.time_ms, change)
        return block, change


def levels_of(exchange: Exchange, symbol: str, side: Side) -> list[tuple[str, str, int]]:
    market = next(one for one in MARKETS if one.symbol == symbol)
    return [
        (
            format_amount(level.ticks * market.tick_units),
            format_amount(level.lots * market.lot_units),
            level.orders,
        )
        for level in exchange.depth(symbol, side, 1_000)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_levels_are_the_books_after_every_block(seed: int) -> None:
    line = Line(seed)
    followers = {market.symbol: BookFollower() for market in MARKETS}
    for symbol, follower in followers.items():
        assert follower.take(line.data.view(symbol).snapshot())
    for _ in range(BLOCKS):
        before = {symbol: line.data.view(symbol).seq for symbol in followers}
        _, change = line.block()
        for symbol, follower in followers.items():
            view = line.data.view(symbol)
            for side in (BUY, SELL):
                assert view.levels(side) == levels_of(line.pit.exchange, symbol, side)
            changed = {(one.side, one.ticks) for one in change.levels if one.symbol == symbol}
            if changed:
                assert follower.take(view.delta(before[symbol], changed))
            assert follower.bids == view.levels(BUY)
            assert follower.asks == view.levels(SELL)
            assert follower.mismatches == 0


@pytest.mark.parametrize("seed", range(4))
def test_records_say_what_became_of_every_order(seed: int) -> None:
    line = Line(seed)
    for _ in range(BLOCKS):
        line.block()
    open_orders = line.pit.exchange.journal.orders
    seen: Counter[str] = Counter()
    listed = 0
    for account in ACCOUNTS:
        placed = line.reads.orders(account, None, 10_000)
        assert [(one.height, one.place) for one in placed] == sorted(
            ((one.height, one.place) for one in placed), reverse=True
        )
        listed += len(placed)
        for one in placed:
            record = one.record
            seen[record.status.name] += 1
            order = open_orders.get(one.order_id)
            assert (record.status is OrderStatus.OPEN) is (order is not None)
            if order is not None:
                assert (record.lots, record.filled, record.ticks) == (
                    order.lots,
                    order.filled,
                    order.ticks,
                )
                assert record.terms.stop_ticks == order.terms.stop_ticks or not record.waits
                seen["waiting"] += record.waits
        fills = line.reads.fills(account, None, 10_000)
        by_order: Counter[bytes] = Counter()
        for _, fill in fills:
            by_order[fill.order_id] += fill.lots
        assert by_order == Counter(
            {one.order_id: one.record.filled for one in placed if one.record.filled}
        )
    assert {"OPEN", "DONE", "REFUSED", "waiting"} <= set(seen), seen
    assert listed == sum(seen.values()) - seen["waiting"]


def test_an_index_that_begins_anew_writes_the_same_rows() -> None:
    line, again = Line(5), MemoryStore()
    for number in range(BLOCKS):
        block, change = line.block()
        index = MarketIndex(again) if number % 3 == 0 else index  # noqa: F821 - of an earlier turn
        other = index.take(block.height, block.time_ms, block.receipts, block.told)
        assert other == change
        again.write(other.rows, sync=False)


def test_a_start_in_between_knows_what_was_known() -> None:
    line = Line(6)
    for number in range(BLOCKS):
        line.block(wait_ms=700 if number % 7 else DAY_MS // 5)
        loaded = MarketData.load(line.pit.exchange, line.reads, line.data.height, line.data.time_ms)
        for market in MARKETS:
            ours, theirs = line.data.view(market.symbol), loaded.view(market.symbol)
            assert ours.day(line.data.time_ms) == theirs.day(line.data.time_ms)
            assert ours.last_ticks == theirs.last_ticks
            assert ours.levels(BUY) == theirs.levels(BUY)
            assert ours.checksum() == theirs.checksum()


def test_candles_and_the_day_are_sums_of_trades() -> None:
    line = Line(7)
    trades = []
    for number in range(BLOCKS):
        block, change = line.block(wait_ms=700 if number % 9 else DAY_MS // 4)
        trades += [(block.time_ms, trade) for trade in change.trades]
    for market in MARKETS:
        mine = [(when, one) for when, one in trades if one.symbol == market.symbol]
        assert [(one.number, one.row) for _, one in mine] == line.reads.trades_from(
            market.symbol, 0, 10_000
        )
        for interval in INTERVALS:
            by_start: dict[int, list[int]] = {}
            volumes: Counter[int] = Counter()
            for when, one in mine:
                start_ms = when - when % interval.length_ms
                by_start.setdefault(start_ms, []).append(one.row.ticks)
                volumes[start_ms] += one.row.base_units
            candles = line.reads.candles(market.symbol, interval, 0, None, 10_000)
            assert [
                (start, row.open, row.high, row.low, row.close, row.trades, row.base_units)
                for start, row in candles
            ] == [
                (start, t[0], max(t), min(t), t[-1], len(t), volumes[start])
                for start, t in by_start.items()
            ]
        now_ms = line.data.time_ms
        since_ms = now_ms - DAY_MS
        recent = [one.row for when, one in mine if when - when % 60_000 > since_ms]
        day = line.data.view(market.symbol).day(now_ms)
        assert day is not None
        assert len(recent) < len(mine), "a part of the trades is older than a day"
        assert day.trades == len(recent)
        assert day.quote_units == sum(row.quote_units for row in recent)
        assert (day.open, day.last) == (recent[0].ticks, recent[-1].ticks)
        assert day.high == max(row.ticks for row in recent)


def test_pages_of_trades_go_back_without_a_gap() -> None:
    line = Line(8)
    for _ in range(BLOCKS):
        line.block()
    whole = line.reads.trades("BTC/USD", None, 10_000)
    pages, before = [], None
    while page := line.reads.trades("BTC/USD", before, 7):
        pages += page
        before = page[-1][0]
    assert pages == whole
    assert len(whole) > 14
    height, index = trade_place(whole[0][0])
    assert trade_number(height, index) == whole[0][0]
    assert height <= line.data.height


def test_a_block_without_orders_changes_nothing() -> None:
    line = Line(9)
    line.block()
    seq = line.data.view("BTC/USD").seq
    _, change = line.block(actions=0, wait_ms=1)
    assert not change.trades
    assert line.data.view("BTC/USD").seq == seq
    assert line.data.height == 2


def test_what_is_no_market_is_unknown() -> None:
    with pytest.raises(MarketUnknown):
        Line(10).data.view("NO/USD")


def test_a_follower_that_lost_its_place_says_so() -> None:
    line = Line(11)
    line.block()
    view = line.data.view("BTC/USD")
    follower = BookFollower()
    assert not follower.take(view.delta(0, ()))  # no snapshot yet
    assert follower.take(view.snapshot())
    later = view.delta(view.seq + 1, ())._replace(seq=view.seq + 2)
    assert not follower.take(later)  # a frame is missing in between
    assert follower.seq is None
    assert follower.take(view.snapshot())
    wrong = view.delta(view.seq, ())._replace(seq=view.seq + 1, checksum=1)
    assert not follower.take(wrong)
    assert follower.mismatches == 1


def test_the_checksum_is_of_prices_and_quantities_as_they_are_written() -> None:
    assert book_checksum([], []) == 0
    # zlib.crc32(b"45000:1.5:45001:2")
    assert book_checksum([("45000", "1.5")], [("45001", "2")]) == 0xCFDF099E


def test_no_volume_is_too_large_for_a_row() -> None:
    """Two who have all there is of both assets hand it to and fro: a node writes what they did."""
    store = MemoryStore()
    exchange, index, reads = Exchange(), MarketIndex(store), MarketReads(store)
    exchange.begin(0, 0)
    exchange.list_market(Market("BIG/COIN", "BIG", "COIN", UNIT, 1, 1, 0, 50_000, 50_000))
    exchange.journal.seal()
    seller, buyer, rounds = b"s" * 20, b"b" * 20, 3
    for number in range(1, rounds + 1):
        told, receipts = [], []
        exchange.begin(number, 0)
        for side, account in ((SELL, seller), (BUY, buyer)):
            txid = bytes([number, side]) * 16
            action = PlaceOrder(account, Terms("BIG/COIN", side, LIMIT, AMOUNT_MAX, 1))
            told.append((txid, tuple(exchange.apply(txid, action))))
            checked = SimpleNamespace(txid=txid, order=action)
            receipts.append(SimpleNamespace(checked=checked, refused=None))
        exchange.journal.seal()
        store.write(index.take(number, 1_000, receipts, told).rows, sync=False)
    volume = rounds * AMOUNT_MAX
    for interval in INTERVALS:
        ((_, row),) = reads.candles("BIG/COIN", interval, 0, None, 10)
        assert (row.trades, row.base_units, row.quote_units) == (rounds, volume, volume)


@pytest.mark.parametrize(("ticks", "rests_only"), [(0, False), (96, True)])
def test_an_amendment_is_recorded_as_the_book_took_it(ticks: int, *, rests_only: bool) -> None:
    """Less quantity alone keeps the order's place and its terms, whatever else is asked for."""
    store = MemoryStore()
    exchange = Pit(0, store).exchange
    index, account, order_id = MarketIndex(store), ACCOUNTS[0], b"o" * 32
    place = PlaceOrder(account, Terms("BTC/USD", BUY, LIMIT, 5, 95))
    amend = AmendOrder(account, order_id, 3, ticks, post_only=True)
    told, receipts = [], []
    exchange.begin(1, 0)
    for txid, action in ((order_id, place), (b"a" * 32, amend)):
        told.append((txid, tuple(exchange.apply(txid, action))))
        checked = SimpleNamespace(txid=txid, order=action)
        receipts.append(SimpleNamespace(checked=checked, refused=None))
    exchange.journal.seal()
    store.write(index.take(1, 1_000, receipts, told).rows, sync=False)
    record, order = MarketReads(store).order(order_id), exchange.order(order_id)
    assert record is not None
    assert order is not None
    assert record.terms.post_only is order.terms.post_only is rests_only
    assert (record.quantity, record.lots, record.ticks) == (3, 3, order.ticks)


def test_an_order_has_traded_more_than_a_row_has_integers_for() -> None:
    record = OrderRecord.of(
        Terms("BIG/COIN", SELL, LIMIT, 5, 1), b"s" * 20, height=1, place=0, time_ms=0
    )
    for _ in range(5):
        record.traded(1, AMOUNT_MAX, AMOUNT_MAX)
    again = order_record.decode(value_of(record))
    assert again == record
    assert (again.lots, again.filled) == (0, 5)
    assert again.quote_units == again.fee_units == 5 * AMOUNT_MAX
