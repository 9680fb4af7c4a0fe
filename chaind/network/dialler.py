"""Calling others: whom, when, how many at once. What answers becomes a `Connection`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from chaind.network.admission import SelfConnection
from chaind.network.connection import Clock, Connection
from chaind.network.peers import Address, PeerBook
from chaind.primitives.errors import ChaindError

DIALS_MAX = 8  # at once: a long book is no reason for a burst of connections
STABLE_MS = 10_000  # a connection that lasted starts the back-off anew

log = structlog.get_logger("chaind.network")


class Dialler:
    """Dials what `book` says is due. `own` holds addresses that turned out to be this node."""

    def __init__(
        self,
        book: PeerBook,
        *,
        clock: Clock,
        connect_ms: int,
        outbound_max: int,
        connection: Callable[[Address], Connection],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.book = book
        self.own: set[Address] = set()
        self._clock = clock
        self._connect_ms = connect_ms
        self._outbound_max = outbound_max
        self._connection = connection
        self._spawn = spawn
        self._dialling: set[Address] = set()

    def dial_due(self, busy: set[Address | str], *, outbound: int) -> None:
        """Dial every configured address that is due, and learned ones into the free places.

        `busy` holds addresses, node ids and hosts to leave alone; `outbound` counts our calls
        that stand already.
        """
        now_ms = self._clock.monotonic_ms()
        busy = busy | self._dialling | self.own
        for address in self.book.persistent_due(now_ms=now_ms, busy=busy):
            busy.add(address)
            self.dial(address)
        free = self._outbound_max - outbound - len(self._dialling)
        for _ in range(min(free, DIALS_MAX - len(self._dialling))):
            learned = self.book.pick(now_ms=now_ms, busy=busy)
            if learned is None:
                break
            busy.add(learned)
            self.dial(learned)

    def dial(self, address: Address) -> None:
        """Dial now, whatever the book says, unless that is under way."""
        if address not in self._dialling:
            self._dialling.add(address)
            self._spawn(self._connect(address))

    def ended(self, address: Address, error: ChaindError, *, lasted_ms: float) -> None:
        """A connection that we had made is over; `lasted_ms` counts from its handshake."""
        if isinstance(error, SelfConnection):
            self.own.add(address)
            self.book.forget(address)
        else:
            stable = lasted_ms >= STABLE_MS
            self.book.failed(address, now_ms=self._clock.monotonic_ms(), stable=stable)

    async def _connect(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_ms / 1000):
                await loop.create_connection(
                    lambda: self._connection(address), address.host, address.port
                )
        except (OSError, TimeoutError) as error:
            log.debug("dial_failed", address=str(address), error=str(error))
            self.book.failed(address, now_ms=self._clock.monotonic_ms())
        finally:
            self._dialling.discard(address)
