"""The client of order books against a node: books that follow, orders that are signed elsewhere."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest
from api_kit import Door
from exchange_kit import TRADERS, Trader, trading_changes

from chaind.primitives.address import key_address
from chaind.primitives.orders import BUY, SELL, CancelOrder, Kind, PlaceOrder, Terms
from chaind.wallet.client_trading import TradingClient, market_of, steps_of
from chaind.wallet.errors import NotThere, Refused
from chaind.wallet.trading_answers import MarketList


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    return trading_changes()


@pytest.fixture
async def client(door: Door) -> Any:
    async with TradingClient.open([door.url]) as found:
        yield found


async def test_an_order_that_is_signed_here_is_the_keys_own(
    door: Door, client: TradingClient
) -> None:
    key = TRADERS[0]
    owner = key_address(key.public)
    terms = Terms("BTC/USD", BUY, Kind.LIMIT, lots=1_500, ticks=90_000)
    now_ms = time.time_ns() // 1_000_000
    placed = await client.submit_action(
        key, PlaceOrder(owner, terms), now_ms=now_ms, salt=b"\x01" * 8
    )
    order = await client.order(placed.tx_id)
    assert (order.status, order.price, order.quantity) == ("open", "45000", "1.5")
    assert order.account == door.show(key)
    cancel = CancelOrder(owner, bytes.fromhex(placed.tx_id))
    await client.submit_action(key, cancel, now_ms=now_ms, salt=b"\x02" * 8)
    assert (await client.order(placed.tx_id)).status == "cancelled"
    with pytest.raises(NotThere):
        await client.order("0" * 64)


async def test_a_book_is_followed_over_a_lost_connection(door: Door, client: TradingClient) -> None:
    trader = Trader(door, "trader1")
    view = door.node.market_data.view("BTC/USD")
    async with aclosing(client.follow_book("BTC/USD")) as frames:
        book, first = await anext(frames)
        assert (first.prev_seq, book.bids) == (None, [])
        await trader.place("buy", "1", "44000")
        await anext(frames)
        assert book.bids == view.levels(BUY)
        for socket in tuple(door.server._api.sockets):  # type: ignore[union-attr]
            await socket.close()
        await trader.place("sell", "1", "46000")
        again = await anext(frames)
        assert again[1].prev_seq is None
        assert (book.bids, book.asks) == (view.levels(BUY), view.levels(SELL))
        assert book.mismatches == 0


async def test_what_is_refused_is_raised(client: TradingClient) -> None:
    with pytest.raises(Refused) as refused:
        async with aclosing(client.follow_book("NO/USD")) as frames:
            await anext(frames)
    assert refused.value.problem == "market-unknown"
    with pytest.raises(Refused) as refused:
        async with aclosing(client.watch(["depth:BTC-USD"])) as messages:
            await anext(messages)
    assert refused.value.problem == "channel-invalid"
    bid = {"symbol": "BTC/USD", "side": "buy", "quantity": "1", "price": "45000.1"}
    with pytest.raises(Refused) as refused:
        await client.place(bid)
    assert refused.value.problem == "price-off-tick"


async def test_a_key_places_once_at_whatever_time(client: TradingClient) -> None:
    bid = {"symbol": "BTC/USD", "side": "buy", "quantity": "1", "price": "45000"}
    both = await asyncio.gather(*(client.place(bid, key="one") for _ in range(2)))
    assert both[0].order_id == both[1].order_id
    assert len(await client.orders(status="active")) == 1
    pages = await client.orders(limit=1)
    assert [order.order_id for order in pages] == [both[0].order_id]


def test_names_and_steps() -> None:
    assert market_of(MarketList(markets=[], height=0, books_digest=""), "BTC-USD") is None
    assert steps_of("45000", "0.5") == 90_000
    assert steps_of("45000.25", "0.5") is None
