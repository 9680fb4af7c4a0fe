"""A load run against running nodes: fund, sign ahead, send on schedule, count what comes back.

Law: the loop is open. A request has a time at which it is due, whatever became of those before it;
where all connections are still busy then, it goes out late, and its latency counts from when it was
due. Only `rate` None ("max") sends as fast as answers and finality come.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import aiohttp
import msgspec

from chaind.cli.load_funds import Funder
from chaind.cli.load_orders import COINS_MAX, Batch, Orders, Plan, Stock
from chaind.cli.load_tally import Tally
from chaind.cli.load_watch import Watch
from chaind.primitives.errors import LocalFault
from chaind.wallet.client import Client

ANSWER_S_MAX = 60.0  # longer than a node holds any request
FINAL_S_MAX = 60.0  # after the last answer; whatever is still open then is counted as such
STOCK_MAX = 1_000_000  # transfers signed ahead, 250 bytes each
STOCK_S = 300.0  # of a rate: far within the time for which a signature is valid
MAX_RATE_PER_S = 25_000  # for how many transfers a run at "max" is stocked per second
MSGPACK, JSON = "application/msgpack", "application/json"
_ARRAY_HEAD = b"\xdd"  # a MessagePack stream of n values, behind this and n, is an array


class CoinsTooMany(LocalFault):
    """A run spends each coin once."""

    code = "coins-too-many"
    text = "{wanted} coins are needed, and a run makes at most {limit}"
    advice = "Send fewer transfers, or a smaller share of coins with --share."
    exit_code = 78  # EX_CONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to do. `rate` is transfers per second, None as many as go; `wait_final` watches blocks.

    `in_flight_max` bounds, without a rate, transfers that are accepted and not yet final.
    """

    urls: tuple[str, ...]
    rate: float | None
    duration_s: float
    count: int | None
    accounts: int
    coin_share: float
    batch_size: int
    single: bool
    msgpack: bool
    wait_final: bool
    connections: int
    in_flight_max: int
    seed: int

    @property
    def total(self) -> int:
        """Transfers to make ready."""
        wanted = (self.rate or MAX_RATE_PER_S) * self.duration_s
        return max(1, int(wanted if self.count is None else self.count))

    @property
    def ahead(self) -> int:
        """Requests signed before they are sent."""
        bound = STOCK_MAX if self.rate is None else min(STOCK_MAX, int(self.rate * STOCK_S))
        return max(1, -(-bound // self.batch_size))


async def drive(
    load: Load,
    show: Callable[[Tally, float], None],
    stage: Callable[[str, float], None] = lambda _label, _part: None,
) -> Tally:
    """Run it; `show` hears of counts and of the part that is done, `stage` of what comes before.

    Raises `NodeSilent`, `NoDevelopmentChain`, or why it could not begin.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    connector = aiohttp.TCPConnector(limit=0)  # the senders are the bound
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        funder = Funder(Client(load.urls[:1], session))
        genesis_json = await funder.genesis_json()
        plan = Plan(
            genesis_json,
            load.accounts,
            load.total,
            load.coin_share,
            load.batch_size,
            load.msgpack,
            load.single,
            load.seed,
        )
        if plan.coins > COINS_MAX:
            raise CoinsTooMany(wanted=plan.coins, limit=COINS_MAX)
        orders = Orders(plan)
        orders.splits = await funder.fund(orders, partial(stage, "funding"))
        stock = Stock(orders, load.ahead)
        try:
            await stock.fill(partial(stage, "signing"))
            return await Run(load, session, stock, show).go(await funder.height())
        finally:
            stock.close()


class Run:
    """The measured part. Its clock is the loop's."""

    def __init__(
        self,
        load: Load,
        session: aiohttp.ClientSession,
        stock: Stock,
        show: Callable[[Tally, float], None],
    ) -> None:
        self._load = load
        self._show = show
        self._session = session
        self._stock = stock
        self._clock_s = time.monotonic
        self.tally = Tally()
        self._interval_s = load.batch_size / load.rate if load.rate else 0.0
        self._next = 0
        self._end_s = 0.0
        self._urls = itertools.cycle(range(len(load.urls)))
        self._watches: list[Watch] = []
        self._ours: set[bytes] = set()
        self._moved = asyncio.Event()  # a block became final
        self._headers = {"Content-Type": MSGPACK if load.msgpack else JSON}

    async def go(self, height: int) -> Tally:
        """Send everything; with `wait_final` also wait for the end of what was accepted."""
        async with AsyncExitStack() as stack:
            for url in self._load.urls if self._load.wait_final else ():
                watch = await Watch.connect(self._session, url, self, self._clock_s)
                stack.push_async_callback(watch.close)
                self._watches.append(watch)
            if self._watches:
                await self._watches[0].follow_blocks(height)
            await self._measure()
        self._show(self.tally, 1.0)
        return self.tally

    async def _measure(self) -> None:
        load, tally = self._load, self.tally
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(watch.run()) for watch in self._watches]
            beside.append(group.create_task(self._show_often()))
            tally.begun_s = self._clock_s()
            self._end_s = tally.begun_s + load.duration_s
            senders = [group.create_task(self._send()) for _ in range(load.connections)]
            await asyncio.wait(senders)
            if load.wait_final:
                await self._until(lambda: tally.final >= tally.accepted, FINAL_S_MAX)
            for task in beside:
                task.cancel()

    async def _send(self) -> None:
        """One connection: claim the next place in the schedule, be there in time, send."""
        while (due_s := self._claim()) is not None:
            if self._load.rate is None and self._load.wait_final:
                await self._until(self._has_room, FINAL_S_MAX)
            batch = await self._stock.take()
            if batch is None:
                return
            early_s = due_s - self._clock_s()
            if early_s > 0:
                await asyncio.sleep(early_s)
                due_s = self._clock_s()  # a timer rings up to a millisecond late: not the node's
            elif self._load.rate is None:
                due_s = self._clock_s()
            behind_ms = (self._clock_s() - due_s) * 1000
            self.tally.behind_ms_end = behind_ms
            self.tally.behind_ms_max = max(self.tally.behind_ms_max, behind_ms)
            await self._post(next(self._urls), batch, due_s)

    def _claim(self) -> float | None:
        """When the next request is due; None after the last."""
        now_s = self._clock_s()
        due_s = self.tally.begun_s + self._next * self._interval_s if self._load.rate else now_s
        if due_s >= self._end_s or self._next >= self._stock.batches_total:
            return None
        self._next += 1
        return due_s

    def _has_room(self) -> bool:
        tally = self.tally
        in_flight = tally.sent - sum(tally.refused.values()) - tally.final
        return in_flight < self._load.in_flight_max

    async def _post(self, node: int, batch: Batch, due_s: float) -> None:
        tally, url = self.tally, self._load.urls[node]
        tally.sent += len(batch)
        if self._watches:
            txids = batch.ids()
            self._ours.update(txids)
            if self._watches[node].has_room:
                tally.sampled += 1
                place = tally.sampled % len(txids)  # another one of each batch
                await self._watches[node].follow(txids[place], due_s)
        try:
            async with self._session.post(
                f"{url}/api/v1/transactions", data=batch.body, headers=self._headers
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            tally.refused["no-answer"] += len(batch)
            return
        tally.answered_s = self._clock_s()
        refused = read_refusals(body, answer.content_type, len(batch))
        accepted = len(batch) - sum(refused.values())
        tally.accepted += accepted
        tally.refused += refused
        if accepted:
            tally.accepted_ms.append(((tally.answered_s - due_s) * 1000, accepted))

    # What the nodes tell.

    def block(self, count: int, txids: list[bytes], at_s: float) -> None:
        """See `Listener`."""
        foreign = sum(txid not in self._ours for txid in txids)
        self.tally.blocks += 1
        self.tally.foreign += foreign
        self.tally.final += count - foreign
        if count > foreign:
            self.tally.final_s = at_s
        self._moved.set()

    def ended(self, begun_s: float, status: str, at_s: float) -> None:
        """See `Listener`."""
        if status == "final":
            self.tally.final_ms.append(((at_s - begun_s) * 1000, 1))
        else:
            self.tally.ended[status] += 1

    async def _until(self, condition: Callable[[], bool], bound_s: float) -> None:
        """Return when blocks made the condition true, or none did for `bound_s`."""
        while not condition():
            self._moved.clear()
            final = self.tally.final
            try:
                async with asyncio.timeout(bound_s):
                    while self.tally.final == final:  # empty blocks are no progress
                        self._moved.clear()
                        await self._moved.wait()
            except TimeoutError:
                return

    async def _show_often(self) -> None:
        load = self._load
        while True:
            await asyncio.sleep(0.2)
            passed_s = self._clock_s() - self.tally.begun_s
            of_count = self.tally.sent / load.total
            of_time = passed_s / load.duration_s  # nothing where only the count ends it
            self._show(self.tally, min(1.0, max(of_count, of_time)))


class _Problem(msgspec.Struct, frozen=True):
    code: str


class _Result(msgspec.Struct, frozen=True):
    status: str = ""
    problem: _Problem | None = None


class _Answer(msgspec.Struct, frozen=True):
    """One result, many, or a problem document."""

    status: str | int = ""
    results: tuple[_Result, ...] = ()
    code: str = ""


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_results = msgspec.msgpack.Decoder(tuple[_Result, ...]).decode


def read_refusals(body: bytes, media: str, count: int) -> Counter[str]:
    """How many of `count` transfers a node refused, by code; an answer in no known form is one."""
    try:
        if media == MSGPACK:
            results = _decode_results(_ARRAY_HEAD + count.to_bytes(4, "big") + body)
        else:
            answer = _decode_answer(body)
            if answer.code:
                return Counter({answer.code: count})
            results = answer.results
    except msgspec.DecodeError:
        return Counter({"answer-unreadable": count})
    return Counter(result.problem.code for result in results if result.problem is not None)
