"""A bank on a network under faults: tellers who pay through any node, readers who add up.

A teller with an idempotency key asks until somebody answers, every time another node, now and then
two at once, and now and then again when it has its answer. One without a key asks once. Some pay
from purses that do not hold enough for all who want to. A reader asks its own node for all
balances; what it hears while that node stays at one height is a read of that height.
"""

import asyncio
import time
from collections import Counter
from random import Random
from typing import Any

import aiohttp
from bank_history import Applied, Chain, History, Order, Read, Told
from links import Background
from local_network import PATIENCE_S, LocalNetwork, NodeProcess
from witness import raw_blocks

from chaind.primitives.address import key_address
from chaind.primitives.amounts import UNIT, format_amount, parse_amount
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import NATIVE, AccountInput, AccountOutput
from chaind.wallet.derivation import DEVELOPMENT_NAMES, development_key

TELLERS = 6
PAUSE_S = 0.15  # of a teller between payments
RETRY_S = (0.05, 0.3)  # after a try without an answer
READ_PAUSE_S = 0.25
ANSWER_S = 4.0  # then another node is asked
PURSES = (11, 12)  # account numbers beside the funded ones
PURSE_UNITS = 5 * UNIT
POOR = "insufficient-funds"


class Bank:
    """Clients of a network, in the loop of `background`. All `history` is written there."""

    def __init__(self, network: LocalNetwork, background: Background, dice: Random) -> None:
        self._nodes = network.nodes
        self._background = background
        self._dice = dice
        self._addresses = network.genesis.addresses
        self._numbers = [*range(1, len(DEVELOPMENT_NAMES) + 1), *PURSES]
        self._accounts = {
            number: key_address(development_key(number - 1).public) for number in self._numbers
        }
        self.opening = opening_balances(network.genesis)
        self._read_addresses = list(dict.fromkeys([*self.opening, *self._accounts.values()]))
        self.history = History()
        self.answers: Counter[str] = Counter()  # by status and code
        self._stopping = asyncio.Event()
        self._refused: set[str] = set()  # memos of orders that a purse could not pay
        self._made = 0
        self._work: list[Any] = []
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Fill the purses, then open."""
        self._background.spawn(self._fill_purses()).result()
        tellers = [self._teller(Random(self._dice.random())) for _ in range(TELLERS)]
        readers = [self._reader(number) for number in range(len(self._nodes))]
        self._work = [self._background.spawn(one) for one in (*tellers, *readers)]

    def stop(self) -> None:
        """Close: every keyed order that was begun gets its answer first."""
        self._background.loop.call_soon_threadsafe(self._stopping.set)
        for work in self._work:
            work.result(300)
        if self._session is not None:
            self._background.spawn(self._session.close()).result()

    def check(self) -> None:
        """Raise what ended a client."""
        for work in self._work:
            if work.done():
                work.result()

    def pay_anew(self) -> bytes:
        """Begin a payment now; its id, once a node says that it is final."""
        source, target = self._dice.sample(self._numbers[: -len(PURSES)], 2)
        order = self._order(source, target, UNIT, keyed=True)
        work = self._pay(order, source, target, self._dice)
        txid = self._background.spawn(work).result(PATIENCE_S)
        assert txid is not None, "refused for want of funds, of which there are enough"
        return txid

    def acknowledged(self) -> int:
        """Answers that bind, so far."""
        return len(self.history.told)

    async def _fill_purses(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        for number in PURSES:
            order = self._order(1, number, PURSE_UNITS, keyed=True)
            await self._pay(order, 1, number, self._dice)

    # Tellers

    def _order(self, source: int, target: int, units: int, *, keyed: bool) -> Order:
        self._made += 1
        order = Order(
            f"order {self._made}", self._accounts[source], self._accounts[target], units, keyed
        )
        self.history.ask(order)
        return order

    async def _teller(self, dice: Random) -> None:
        while not await self._stopped(dice.uniform(0.2, 1.8) * PAUSE_S):
            source, target = dice.sample(self._numbers, 2)
            small = not {source, target}.isdisjoint(PURSES)
            units = dice.randrange(1, (3 if small else 1_000) * UNIT)
            order = self._order(source, target, units, keyed=dice.random() < 0.75)
            await self._pay(order, source, target, dice)

    async def _pay(self, order: Order, source: int, target: int, dice: Random) -> bytes | None:
        """Ask until it is answered; without a key, once. The id of the payment, where there is
        one."""
        body = {
            "from": source,
            "to": target,
            "amount": format_amount(order.units),
            "memo": order.memo,
        }
        if not order.keyed:
            return await self._ask(dice.randrange(len(self._nodes)), order, body)
        while True:
            first, second = dice.sample(range(len(self._nodes)), 2)
            asked = [first, second] if dice.random() < 0.2 else [first]
            answers = await asyncio.gather(*(self._ask(node, order, body) for node in asked))
            paid = [txid for txid in answers if txid is not None]
            if paid or order.memo in self._refused:
                break
            await asyncio.sleep(dice.uniform(*RETRY_S))
        if paid and dice.random() < 0.1:
            await self._ask(dice.randrange(len(self._nodes)), order, body)
        return paid[0] if paid else None

    async def _ask(self, number: int, order: Order, body: dict[str, Any]) -> bytes | None:
        """Ask one node; the id of the payment, where it is made."""
        headers = {"Idempotency-Key": order.memo} if order.keyed else {}
        try:
            url = self._nodes[number].url + "/transfer"
            assert self._session is not None
            async with self._session.post(url, json=body, headers=headers) as answer:
                said = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            self.answers["none"] += 1
            return None
        self.answers[f"{answer.status} {said.get('code', said.get('status'))}"] += 1
        if answer.status in (200, 202):
            txid = bytes.fromhex(said["tx_id"])
            final = answer.status == 200
            self.history.told.append(Told(order.memo, txid, number, time.monotonic(), final))
            return txid
        if answer.status == 422 and said["code"] == POOR:
            self._refused.add(order.memo)
        return None

    async def _stopped(self, within_s: float) -> bool:
        """Wait so long, or until the bank closes."""
        try:
            async with asyncio.timeout(within_s):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    # Readers

    async def _reader(self, number: int) -> None:
        while not await self._stopped(READ_PAUSE_S):
            try:
                read = await self._read(number)
            except (aiohttp.ClientError, TimeoutError):
                continue
            if read is not None:
                self.history.reads.append(read)

    async def _read(self, number: int) -> Read | None:
        """All balances; None where they are not all of one height."""
        since_s = time.monotonic()
        before = (await self._get(number, "/status")).get("height")
        balances = {}
        for address in self._read_addresses:
            said = await self._get(number, f"/balance/{self._addresses.show(address)}")
            if "balance" not in said:
                return None
            balances[address] = parse_amount(said["balance"])
        after = (await self._get(number, "/status")).get("height")
        if before is None or before != after:
            return None
        return Read(number, before, balances, since_s)

    async def _get(self, number: int, path: str) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.get(self._nodes[number].url + path) as answer:
            said: dict[str, Any] = await answer.json()
            return said


def opening_balances(genesis: Genesis) -> dict[bytes, int]:
    """What the genesis gives to whom, of the native asset."""
    return {
        genesis.addresses.parse(entry.address): parse_amount(entry.amount)
        for entry in genesis.allocations
        if not entry.asset
    }


def chain_of(node: NodeProcess) -> Chain:
    """Everything that a running node has final, by its own word."""
    hashes: list[bytes] = []
    applied: list[Applied] = []
    while page := raw_blocks(node, len(hashes) + 1, 512):
        for raw in page:
            block = Block.decode(raw)
            assert block.height == len(hashes) + 1
            hashes.append(block.hash)
            for transaction in block.transactions:
                [source], [target] = transaction.body.inputs, transaction.body.outputs
                assert isinstance(source, AccountInput)
                assert isinstance(target, AccountOutput)
                assert (source.asset, target.asset) == (NATIVE, NATIVE)
                assert source.amount == target.amount, "a fee on a chain without fees"
                applied.append(
                    Applied(
                        block.height,
                        transaction.txid,
                        transaction.body.memo.decode(),
                        source.address,
                        target.address,
                        source.amount,
                    )
                )
    return Chain(hashes, applied)
