"""Clients that build books from frames alone, beside nodes whose markets are live.

    python tests/e2e/exchange_soak.py --minutes 10 --record

Four nodes trade (`chaind load --exchange`); one is killed and started again every now and then.
Each follower hears one market of one node, by snapshots, deltas and checksums, and finds its
place again by itself. At the end every follower's book is its node's, and every node's books are
the same at every height. `--record` adds the run to benchmarks/results/exchange_soak.md. The exit
status is 1 where a book differs.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import long_runs
from local_network import COMMAND, LocalNetwork, NodeProcess, until

from chaind.market.book_feed import BookFollower
from chaind.wallet.client_trading import TradingClient

SYMBOLS = ("BTC-USD", "COIN-USD")
DEPTH = 5_000
KILL_EVERY_S = 60.0
NODES = 4


@dataclass(slots=True)
class Followed:
    """One follower: whom it hears, and what of."""

    node: NodeProcess
    symbol: str
    frames: int = 0
    snapshots: int = 0
    book: BookFollower | None = None

    async def follow(self) -> None:
        """Until cancelled."""
        async with TradingClient.open([self.node.url]) as client:
            assert isinstance(client, TradingClient)
            async for book, frame in client.follow_book(self.symbol):
                self.book = book
                self.frames += 1
                self.snapshots += frame.prev_seq is None


def start_load(urls: Sequence[str], rate: float, seconds: float, seed: int) -> Any:
    """The pair of traders, as a process of its own."""
    words = ["load", "--exchange", "--rate", str(rate), "--duration", str(seconds), "--json"]
    words += ["--seed", str(seed)]
    for url in urls:
        words += ["--url", url]
    mine = {key: value for key, value in os.environ.items() if not key.startswith("CHAIND_")}
    return subprocess.Popen([*COMMAND, *words], env=mine, stdout=subprocess.PIPE)


def digests(node: NodeProcess, upto: int) -> list[str]:
    """Of all books at every height."""
    return [
        node.get(f"/api/v1/markets?height={height}")["books_digest"] for height in range(upto + 1)
    ]


def level_lists(side: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Levels as JSON has them."""
    return [list(level) for level in side]


def same_as_node(one: Followed) -> bool:
    """Whether a follower's book is its node's, whole."""
    shown = one.node.get(f"/api/v1/orderbook/{one.symbol}?depth={DEPTH}")
    book = one.book
    assert book is not None, "it never had a snapshot"
    return (
        level_lists(book.bids) == shown["bids"]
        and level_lists(book.asks) == shown["asks"]
        and book.checksum() == shown["checksum"]
    )


async def soak(
    network: LocalNetwork,
    *,
    seconds: float,
    rate: float,
    seed: int,
    followers_per_book: int = 2,
    kill_every_s: float = KILL_EVERY_S,
) -> dict[str, Any]:
    """Trade for so long; the figures, whose faults are counts that should be zero."""
    nodes = network.nodes
    followers = [
        Followed(node, symbol)
        for node in nodes
        for symbol in SYMBOLS
        for _ in range(followers_per_book)
    ]
    tasks = [asyncio.create_task(one.follow()) for one in followers]
    load = start_load([node.url for node in nodes[:-1]], rate, seconds, seed)
    begun, kills = time.monotonic(), 0
    while load.poll() is None:
        done, _ = await asyncio.wait(tasks, timeout=kill_every_s)
        for task in done:
            task.result()  # it only ends by failing
        if load.poll() is None:
            await asyncio.to_thread(again, nodes[-1])
            kills += 1
    told = json.loads((await asyncio.to_thread(load.communicate))[0])
    await asyncio.to_thread(settled, nodes)
    await asyncio.to_thread(
        until, lambda: all(same_as_node(one) for one in followers), "followers are in step"
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    height = min(node.height() for node in nodes)
    history = [await asyncio.to_thread(digests, node, height) for node in nodes]
    differing = sum(len(set(found)) > 1 for found in zip(*history, strict=True))
    return {
        "actions": told["sent"],
        "trades": told["trades"],
        "refused": told["refused"],
        "kills": kills,
        "followers": len(followers),
        "frames": sum(one.frames for one in followers),
        "snapshots": sum(one.snapshots for one in followers),
        "mismatches": sum(one.book.mismatches for one in followers if one.book is not None),
        "heights": height + 1,
        "books_changed": len(set(history[0])),
        "heights_that_differ": differing,
        "seconds": time.monotonic() - begun,
    }


def again(node: NodeProcess) -> None:
    """Kill a node and start it, until it is ready."""
    node.kill()
    node.start()
    until(node.ready, "the killed node is ready again")


def settled(nodes: Sequence[NodeProcess]) -> None:
    """Wait until all nodes have the same books."""

    def same() -> bool:
        found = [node.get("/api/v1/markets") for node in nodes]
        return all(found) and len({one["books_digest"] for one in found}) == 1

    until(same, "all nodes have the same books")


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="exchange_soak",
        title="Books built from frames alone, beside nodes that trade and are killed",
        seed=seed,
        fill=_fill,
        sentence=lambda run: (
            f"{run['trades']:,} trades, {run['kills']} kills, {run['followers']} followers, "
            f"{run['heights_that_differ']} heights differ"
        ),
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    for name, words, budget in (
        ("actions", "actions of traders", ""),
        ("trades", "trades", ""),
        ("kills", "kills of a node meanwhile", ""),
        ("frames", "frames that followers took", ""),
        ("snapshots", "of these snapshots, after a start or a lost place", ""),
        ("mismatches", "frames whose checksum was another", "0"),
        ("heights", "heights at which all books were compared", ""),
        ("heights_that_differ", "of these with a difference", "0"),
    ):
        table.add(words, long_runs.total(runs, name), "", budget)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=100.0, help="actions a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="add to results/exchange_soak.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaind-soak-") as directory:
        network = LocalNetwork(Path(directory) / "net", NODES)
        try:
            network.start()
            seconds = options.minutes * 60
            figures = asyncio.run(
                soak(network, seconds=seconds, rate=options.rate, seed=options.seed)
            )
        finally:
            network.close()
    if options.record:
        record(figures, seed=options.seed)
    print(json.dumps(figures, indent=1))
    return 1 if figures["mismatches"] or figures["heights_that_differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
