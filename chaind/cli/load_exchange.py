"""`chaind load --exchange`: the pair of `load_trading` against running nodes, and what came of it.

Law: the loop is open, as that of transfers: a round has a time at which it is due, and its latency
counts from then to when the node says that all of it is final. Without a rate a round is sent as
soon as one of `CONNECTIONS` is free.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from chaind.cli.load_funds import NoDevelopmentChain
from chaind.cli.load_tally import percentiles
from chaind.cli.load_trading import Asked, Pair, Place
from chaind.primitives.amounts import parse_amount
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import SALT_BYTES, Transaction
from chaind.wallet.builder import build_action
from chaind.wallet.client_trading import TradingClient
from chaind.wallet.derivation import FIXED_NAMES, TRADER_NAMES, development_key

CONNECTIONS = 32  # rounds under way
VALID_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLoad:
    """What to do: `rate` actions a second on average, None for as many as go."""

    urls: tuple[str, ...]
    rate: float | None
    duration_s: float
    count: int | None
    seed: int


@dataclass(slots=True)
class ExchangeTally:
    """Actions by what became of them; latencies of rounds in ms, from due to final."""

    sent: int = 0
    final: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    trades: int = 0
    begun_s: float = 0.0
    ended_s: float = 0.0
    final_ms: list[tuple[float, int]] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """What `--json` prints. Rates are a second."""
        seconds = self.ended_s - self.begun_s
        rates = {
            f"{name}_per_s": round(count / seconds, 1) if seconds > 0 else 0.0
            for name, count in (("final", self.final), ("trades", self.trades))
        }
        return {
            "sent": self.sent,
            "final": self.final,
            "refused": dict(self.refused.most_common()),
            "trades": self.trades,
            "seconds": round(seconds, 3),
            **rates,
            "final_ms": percentiles(self.final_ms),
        }


async def drive_exchange(
    load: ExchangeLoad, show: Callable[[str, float], None] = lambda _label, _part: None
) -> ExchangeTally:
    """Run it; `show` hears of the part that is done. Raises `NoDevelopmentChain`."""
    async with TradingClient.open(load.urls) as client:
        assert isinstance(client, TradingClient)
        genesis = await client.genesis()
        markets = (await client.markets()).markets
        if not genesis.dev or not markets:
            raise NoDevelopmentChain(url=client.url, chain=genesis.name)
        places = [
            Place(
                market.symbol,
                parse_amount(market.tick) * parse_amount(market.lot) // 10**8,
                parse_amount(market.last_price or market.reference_price)
                // parse_amount(market.tick),
            )
            for market in markets
        ]
        maker, trader = (development_key(FIXED_NAMES.index(name)) for name in TRADER_NAMES)
        pair = Pair(places, maker, trader, load.seed)
        run = _Run(load, client, genesis, pair, show)
        before = await trades_of(client, [place.symbol for place in places])
        tally = await run.go()
        tally.trades = await trades_of(client, [place.symbol for place in places]) - before
        return tally


async def trades_of(client: TradingClient, symbols: list[str]) -> int:
    """Trades of the last day on these markets."""
    return sum([(await client.ticker(symbol)).trades for symbol in symbols])


class _Run:
    """The measured part. Its clock is the loop's."""

    def __init__(
        self,
        load: ExchangeLoad,
        client: TradingClient,
        genesis: Genesis,
        pair: Pair,
        show: Callable[[str, float], None],
    ) -> None:
        self._load = load
        self._client = client
        self._genesis = genesis
        self._pair = pair
        self._show = show
        self._tally = ExchangeTally()

    async def go(self) -> ExchangeTally:
        """Round after round until time or count is up, and until all of them are final."""
        load, tally = self._load, self._tally
        loop = asyncio.get_running_loop()
        free = asyncio.Semaphore(CONNECTIONS)
        tally.begun_s = due_s = loop.time()
        async with asyncio.TaskGroup() as group:
            for asked in self._pair.rounds():
                passed_s = max(due_s, loop.time()) - tally.begun_s
                if passed_s >= load.duration_s or tally.sent >= (load.count or float("inf")):
                    break
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await free.acquire()
                tally.sent += len(asked)
                group.create_task(self._send(asked, min(due_s, loop.time()), free))
                due_s = loop.time() if load.rate is None else due_s + len(asked) / load.rate
                self._show("trading", self._part(loop.time() - tally.begun_s))
        tally.ended_s = loop.time()
        return tally

    def _part(self, passed_s: float) -> float:
        by_count = self._tally.sent / self._load.count if self._load.count else 0.0
        return min(1.0, max(by_count, passed_s / self._load.duration_s))

    async def _send(self, asked: list[Asked], due_s: float, free: asyncio.Semaphore) -> None:
        try:
            results = await self._client.submit_all([self._signed(one) for one in asked])
        finally:
            free.release()
        final = 0
        for result in results:
            if result.problem is not None:
                self._tally.refused[result.problem.code] += 1
            elif result.status == "final":
                final += 1
        self._tally.final += final
        passed_ms = (asyncio.get_running_loop().time() - due_s) * 1_000
        self._tally.final_ms.append((passed_ms, len(asked)))

    def _signed(self, asked: Asked) -> Transaction:
        genesis = self._genesis
        window_ms = min(VALID_MS, genesis.parameters.validity_window_ms // 2)
        return build_action(
            key=asked.key,
            action=asked.action,
            memo=b"",
            lease=None,
            valid_until_ms=time.time_ns() // 1_000_000 + window_ms,
            salt=os.urandom(SALT_BYTES),
            chain_prefix=genesis.chain_prefix,
            parameters=genesis.parameters,
        )
