"""A client process: signs payments, sends them to all nodes in turn, records every answered id.

    python payer.py GENESIS RECORD RATE URL…

Runs until SIGTERM. A line of RECORD is "answered TXID" or "sent TXID"; it is written before the
next batch is sent. A node that does not answer loses its batch: those payments stay "sent".
"""

import asyncio
import os
import signal
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import TextIO

import aiohttp

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import SALT_BYTES, Transaction
from chaind.wallet.builder import build_payment
from chaind.wallet.derivation import development_key

BATCH = 20
UNITS = 1_000
ANSWER_S = 5.0  # a node without quorum still answers: it accepts, and waits for finality
IN_FLIGHT_MAX = 40  # batches; beyond, the nodes are slower than the rate and the run is no test


class Payer:
    """Payments from the development accounts to one another."""

    def __init__(self, genesis: Genesis, record: TextIO) -> None:
        self._genesis = genesis
        self._prefix = genesis.chain_prefix
        self._record = record
        self._keys = [development_key(index) for index in range(10)]
        self._next = 0

    def batch(self) -> list[Transaction]:
        """The next signed payments."""
        valid_until_ms = time.time_ns() // 1_000_000 + 1_800_000
        found = []
        for _ in range(BATCH):
            self._next += 1
            target = self._keys[(self._next + 3) % 10].public
            found.append(
                build_payment(
                    key=self._keys[self._next % 10],
                    target=key_address(target),
                    asset="",
                    units=UNITS,
                    memo=b"",
                    lease=None,
                    valid_until_ms=valid_until_ms,
                    salt=os.urandom(SALT_BYTES),
                    chain_prefix=self._prefix,
                    parameters=self._genesis.parameters,
                )
            )
        return found

    async def send(self, session: aiohttp.ClientSession, url: str) -> None:
        """Send one batch to one node and record what it said."""
        batch = self.batch()
        for transaction in batch:
            self._record.write(f"sent {transaction.txid.hex()}\n")
        self._record.flush()
        body = [{"raw": transaction.raw.hex()} for transaction in batch]
        try:
            async with session.post(f"{url}/api/v1/transactions", json=body) as answer:
                if answer.status >= 400:
                    return  # a node that is ending says so, of all of them
                results = (await answer.json())["results"]
        except (aiohttp.ClientError, TimeoutError):
            return  # killed before it answered
        for result in results:
            if result["status"] != "refused":
                self._record.write(f"answered {result['tx_id']}\n")
            else:
                self._record.write(f"refused {result['tx_id']} {result['problem']['code']}\n")
        self._record.flush()


async def run(genesis: Genesis, record: TextIO, rate: float, urls: list[str]) -> None:
    """Send at a fixed rate, whatever the answers take, until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    payer, targets = Payer(genesis, record), cycle(urls)
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    slots = asyncio.Semaphore(IN_FLIGHT_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:

        async def send(url: str) -> None:
            async with slots:
                await payer.send(session, url)

        due = loop.time()
        while not stop.is_set():
            group.create_task(send(next(targets)))
            due = max(due + BATCH / rate, loop.time() - 1)
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                continue


if __name__ == "__main__":
    genesis_file, record_file, rate_text, *node_urls = sys.argv[1:]
    with Path(record_file).open("a") as output:
        asyncio.run(run(Genesis.load(Path(genesis_file)), output, float(rate_text), node_urls))
