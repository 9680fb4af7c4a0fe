"""Order books through consensus: orders a second, from an order to all books, and many subscribers.

python benchmarks/exchange.py
python benchmarks/exchange.py --seconds 10 --subscribers 100
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import aiohttp
import click
from common import CpuUse, Nodes, RealNode, Table, output_options, running

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis
from chaind.primitives.orders import (
    CancelOrders,
    Kind,
    OrderAction,
    PlaceOrder,
    Side,
    Terms,
    TimeInForce,
)
from chaind.primitives.transaction import Transaction
from chaind.wallet.builder import build_action
from chaind.wallet.client_trading import TradingClient, subscribe
from chaind.wallet.derivation import FIXED_NAMES, TRADER_NAMES, development_key

SYMBOL, CHANNEL = "BTC/USD", "book:BTC-USD"
PRICE_TICKS = 4_500_000
PROBE_TICKS = 3_800_000  # where nobody sells, and the price band still reaches
TRADES_PER_S = 1_000
SLICE_S = 0.1  # trades are handed in by so much of a second
SUBSCRIBED = (CHANNEL, "trades:BTC-USD")
PROBE_PAUSE_S = 0.05
FOUND_S_MAX = 30.0
MAKER, TAKER = (development_key(FIXED_NAMES.index(name)) for name in TRADER_NAMES)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


def signed(genesis: Genesis, key: Any, action: OrderAction, number: int) -> Transaction:
    """An action that is valid for minutes."""
    return build_action(
        key=key,
        action=action,
        memo=b"",
        lease=None,
        valid_until_ms=time.time_ns() // 1_000_000 + 1_200_000,
        salt=number.to_bytes(8, "big"),
        chain_prefix=genesis.chain_prefix,
        parameters=genesis.parameters,
    )


# From an order to all books.


async def order_to_books(nodes: Nodes, probes: int) -> list[float]:
    """Milliseconds from handing an order in at the first node until every node's book tells of it,
    one order after the other."""
    found: list[float] = []
    random = Random(time.time_ns())
    async with AsyncExitStack() as stack:
        sockets = []
        for node in nodes:
            client = await stack.enter_async_context(TradingClient.open([node.url]))
            assert isinstance(client, TradingClient)
            socket = await stack.enter_async_context(client.live())
            await subscribe(socket, [CHANNEL], None)
            sockets.append(socket)
        first = await stack.enter_async_context(TradingClient.open([nodes.all[0].url]))
        genesis = await first.genesis()
        for number in range(probes):
            ticks = PROBE_TICKS - number
            price = f"{ticks // 100}.{ticks % 100:02d}".rstrip("0").rstrip(".")
            terms = Terms(SYMBOL, Side.BUY, Kind.LIMIT, random.randint(10, 99), ticks)
            action = PlaceOrder(key_address(MAKER.public), terms)
            order = signed(genesis, MAKER, action, random.getrandbits(63))
            begun = time.perf_counter()
            _, *seen = await asyncio.gather(
                first.submit(order, final=False), *(_told(socket, price) for socket in sockets)
            )
            found.append((max(seen) - begun) * 1_000)
            await asyncio.sleep(PROBE_PAUSE_S)
    return found


async def _told(socket: aiohttp.ClientWebSocketResponse, price: str) -> float:
    """When a book tells of a bid at this price."""
    async with asyncio.timeout(FOUND_S_MAX):
        async for message in socket:
            if f'["{price}",' in message.data:
                return time.perf_counter()
    raise RuntimeError("the node closed the channel")


# Many subscribers.


def trades_of(genesis: Genesis, seconds: float) -> Iterator[list[Transaction]]:
    """Slices of orders: one ask, and as many bids of a lot each as it has lots."""
    random, count = Random(time.time_ns()), int(TRADES_PER_S * SLICE_S)
    for _ in range(int(seconds / SLICE_S)):
        ask = Terms(SYMBOL, Side.SELL, Kind.LIMIT, count, PRICE_TICKS)
        bid = Terms(SYMBOL, Side.BUY, Kind.LIMIT, 1, PRICE_TICKS, TimeInForce.IOC)
        orders = [(MAKER, ask)] + [(TAKER, bid)] * count
        yield [
            signed(genesis, key, PlaceOrder(key_address(key.public), terms), random.getrandbits(63))
            for key, terms in orders
        ]


async def trade(node: RealNode, slices: Sequence[list[Transaction]]) -> tuple[float, CpuUse]:
    """Hand the slices in on schedule; trades a second that came of it, and the node's CPU.

    Asks go first and are final before the bids of their slice come: those of a block that stand
    beside them would wait for nobody.
    """
    async with TradingClient.open([node.url]) as client:
        assert isinstance(client, TradingClient)
        genesis, random = await client.genesis(), Random(int(time.time()))
        await client.submit_all(
            [
                signed(genesis, key, CancelOrders(key_address(key.public)), random.getrandbits(63))
                for key in (MAKER, TAKER)
            ]
        )
        before = (await client.ticker(SYMBOL)).trades
        await client.submit_all([ask for ask, *_ in slices])
        used, begun = node.cpu(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, (_, *bids) in enumerate(slices):
                await asyncio.sleep(max(0.0, begun + number * SLICE_S - time.monotonic()))
                group.create_task(client.submit_all(bids))
        seconds = time.monotonic() - begun
        made = (await client.ticker(SYMBOL)).trades - before
        return made / seconds, node.cpu().since(used)


async def listen(url: str, count: int, heard: list[int], ready: asyncio.Event) -> None:
    """So many WebSockets that follow a book and its trades, in this process."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        opened = 0

        async def one() -> None:
            nonlocal opened
            async with session.ws_connect(f"{url}/ws") as socket:
                await subscribe(socket, SUBSCRIBED, None)
                async for message in socket:
                    if '"subscribed"' in message.data[:40]:
                        opened += 1
                        if opened == count:
                            ready.set()
                    heard[0] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())


async def subscribers(
    node: RealNode, genesis: Genesis, seconds: float, count: int
) -> dict[str, float]:
    """What so many subscribers add to a node that trades."""
    alone_rate, alone = await trade(node, list(trades_of(genesis, seconds)))
    heard, ready = [0], asyncio.Event()
    crowd = asyncio.create_task(listen(node.url, count, heard, ready))
    await asyncio.wait([crowd, asyncio.create_task(ready.wait())], return_when="FIRST_COMPLETED")
    begun = heard[0]
    rate, crowded = await trade(node, list(trades_of(genesis, seconds)))
    frames = heard[0] - begun
    crowd.cancel()
    await asyncio.gather(crowd, return_exceptions=True)
    return {
        "alone_rate": alone_rate,
        "rate": rate,
        "alone": (alone.loop_s + alone.threads_s) / seconds,
        "crowded": (crowded.loop_s + crowded.threads_s) / seconds,
        "frames": frames / seconds,
    }


@click.command()
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Of each part.")
@click.option("--probes", type=int, default=200, show_default=True, help="Orders to all books.")
@click.option("--subscribers", "count", type=int, default=500, show_default=True)
@output_options
def main(seconds: float, probes: int, count: int, as_json: bool, record: bool) -> None:
    """Order books of one node and of four, on this machine."""
    table = Table("exchange", "Order books through consensus")
    words = ("--exchange", "--rate", "max", "--duration", str(seconds))
    for nodes_count in (1, 4):
        with running(nodes_count) as nodes:
            nodes.load("--exchange", "--rate", "max", "--count", "500")  # code paths, caches
            told = nodes.load(*words)
            who = f"{nodes_count} node" + "s" * (nodes_count > 1)
            table.add(f"{who}: order actions, final", told["final_per_s"], "a second")
            table.add(f"{who}: trades", told["trades_per_s"], "a second")
            table.add(f"{who}: refused", sum(told["refused"].values()), "")
            found = asyncio.run(order_to_books(nodes, probes))
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                what = f"{who}: from an order to all books, {name}"
                table.add(what, round(percentile(found, share), 2), "ms")
            if nodes_count == 1:
                node = nodes.all[0]
                crowd = asyncio.run(subscribers(node, nodes.genesis, seconds, count))
                table.add("trades, without subscribers", round(crowd["alone_rate"]), "a second")
                table.add(f"trades, with {count} subscribers", round(crowd["rate"]), "a second")
                table.add("CPU of the node without them", round(crowd["alone"], 3), "cores")
                table.add("CPU of the node with them", round(crowd["crowded"], 3), "cores")
                added = round(crowd["crowded"] - crowd["alone"], 3)
                table.add("CPU that they add", added, "cores", "< 0.5")
                table.add("frames sent to them", round(crowd["frames"]), "a second")
    table.note("Actions are 11 of a market maker (1 cancels all, 10 quote) for 3 of a trader.")
    table.note("Every subscriber hears a book and its trades; they run on the same cores.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
