"""Networks on loopback: a clock that tests can push, and a handler whose events are awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import uvloop

from chaind.network.manager import Network, NetworkConfig
from chaind.network.messages import Message
from chaind.network.noise import KeyPair
from chaind.network.peer import Peer
from chaind.network.peers import Address, BackOff, PeerBook
from chaind.primitives.keys import SecretKey

GENESIS = bytes(range(32))
WAIT_S = 5.0  # far beyond what anything here takes; only a failing test waits that long
DAY_MS = 86_400_000
VALIDATOR = SecretKey(bytes(31) + b"\x07")
QUICK = BackOff(base_ms=20, cap_ms=100)


class ShiftedClock:
    """Real time plus what `shift_ms` says; the clock on the wall may have been set by `set_ms`."""

    def __init__(self) -> None:
        self.shift_ms = 0
        self.set_ms = 0

    def now_ms(self) -> int:
        return int(time.time() * 1000) + self.shift_ms + self.set_ms

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1000 + self.shift_ms


class Recorder:
    """A handler that remembers, and wakes whoever waits."""

    def __init__(self) -> None:
        self.ups: list[Peer] = []
        self.downs: list[tuple[Peer, str]] = []
        self.messages: list[tuple[Peer, Message]] = []
        self.on_message: Callable[[Peer, Message], None] = lambda _peer, _message: None
        self._event = asyncio.Event()

    def peer_up(self, peer: Peer) -> None:
        self.ups.append(peer)
        self._event.set()

    def peer_down(self, peer: Peer, reason: str) -> None:
        self.downs.append((peer, reason))
        self._event.set()

    def message(self, peer: Peer, message: Message) -> None:
        self.messages.append((peer, message))
        self._event.set()
        self.on_message(peer, message)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for events until `condition` holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._event.clear()
                await self._event.wait()

    async def received(self, message: Message) -> Peer:
        """Wait for `message`; who sent it."""
        await self.until(lambda: any(got == message for _, got in self.messages))
        return next(peer for peer, got in self.messages if got == message)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Node:
    """A network with its recorder, in a task group of its own."""

    def __init__(self, seed: int, *, genesis: bytes = GENESIS, **settings: Any) -> None:
        signer = settings.pop("signer", None)
        self.clock = ShiftedClock()
        self.handler = Recorder()
        self.identity = KeyPair(bytes([seed]) * 32)
        rng = Random(seed)
        settings.setdefault("upkeep_ms", 10)
        settings.setdefault("exchange", False)
        self.network = Network(
            NetworkConfig(**settings),
            identity=self.identity,
            genesis_hash=genesis,
            handler=self.handler,
            clock=self.clock,
            rng=rng,
            signer=signer,
            book=PeerBook(rng, persistent_back_off=QUICK, learned_back_off=QUICK),
        )

    @property
    def address(self) -> Address:
        """Where others dial it."""
        return Address("127.0.0.1", self.network.port)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        async with asyncio.TaskGroup() as group:
            await self.network.start(group)
            try:
                yield self
            finally:
                await self.network.stop()

    async def connected(self, count: int = 1) -> None:
        """Wait until this many peers are there."""
        await self.handler.until(lambda: len(self.network.peers()) == count)


Scenario = Callable[[], Coroutine[Any, Any, None]]


def same_on_uvloop(*scenarios: Scenario) -> Callable[[Scenario], None]:
    """A test of these scenarios on the loop that nodes run on: it has transports of its own."""

    @pytest.mark.parametrize("scenario", scenarios, ids=lambda scenario: scenario.__name__)
    def test(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario())

    return test
