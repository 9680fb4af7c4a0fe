"""A virtual network under the node's own connections: bytes that take time, streams that break.

Law: a stream behaves like TCP. Its bytes arrive in order or not at all; what a link loses is sent
again and comes late; what a cut link holds back comes when it heals. A program that ends resets its
streams; a machine that loses power leaves them open on the other side until it is up again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Any, NamedTuple

from chaind.simulation.loop import Process, VirtualLoop

KERNEL_BYTES = 256 << 10  # what the kernels of both sides take before a writer has to wait
RESEND_S = 0.2  # TCP's first timeout; it doubles
RESENDS_MAX = 6  # then the loss is over: longer ones are cuts
_WORLD = Context()  # callbacks of the network itself take no processor's time
SYSCALL_S = 5e-6  # processor time of a read or write, beside what the loop charges


class LinkState:
    """How bytes travel from one machine to another now."""

    __slots__ = ("bytes_per_s", "cut", "delay_s", "free_at", "held", "jitter_s", "loss")

    def __init__(self, delay_s: float, jitter_s: float, bytes_per_s: float) -> None:
        self.delay_s = delay_s
        self.jitter_s = jitter_s  # mean of an exponential distribution
        self.bytes_per_s = bytes_per_s
        self.loss = 0.0
        self.cut = False
        self.free_at = 0.0  # when the line has sent what it was given
        self.held: list[Callable[[], None]] = []  # what waits for the cut to heal


class Listener(NamedTuple):
    """Who answers at an address."""

    process: Process
    factory: Callable[[], asyncio.Protocol]


class _Socket(NamedTuple):
    address: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.address


class SimulatedServer:
    """As much of `asyncio.Server` as the node uses."""

    def __init__(self, wires: "Wires", address: tuple[str, int]) -> None:
        self.sockets = (_Socket(address),)
        self._wires = wires
        self._address = address

    def close(self) -> None:
        """Answer no more calls."""
        self._wires.listeners.pop(self._address, None)


class Wires:
    """All links between machines, by host; `rng` gives delays and losses."""

    def __init__(self, loop: VirtualLoop, rng: Random, heard: Callable[..., None]) -> None:
        self.loop = loop
        self.rng = rng
        self.heard = heard  # told of every delivery, for the trace
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.links: dict[tuple[str, str], LinkState] = {}
        self.hosts: dict[str, str] = {}  # process name → host
        self.streams: dict[int, Stream] = {}  # open ones, by number
        self._ports = 40_000
        self._numbers = 0

    def link(self, source: str, target: str) -> LinkState:
        """The link of this direction."""
        return self.links[source, target]

    def carry(self, source: str, target: str, size: int, arrive: Callable[[], None]) -> None:
        """Have `arrive` called when so many bytes have travelled; held back by a cut."""
        link = self.links[source, target]
        if link.cut:
            link.held.append(lambda: self.carry(source, target, size, arrive))
            return
        now = self.loop.time()
        link.free_at = max(now, link.free_at) + size / link.bytes_per_s
        delay = link.free_at - now + link.delay_s
        if link.jitter_s:
            delay += self.rng.expovariate(1 / link.jitter_s)
        resends = 0
        while link.loss and resends < RESENDS_MAX and self.rng.random() < link.loss:
            delay += RESEND_S * 2**resends
            resends += 1
        self.loop.call_later(delay, arrive, context=_WORLD)

    def heal(self, source: str, target: str) -> None:
        """End a cut; what it held back is on its way again."""
        link = self.links[source, target]
        link.cut = False
        held, link.held = link.held, []
        for again in held:
            self.loop.call_later(self.rng.uniform(0, RESEND_S), again, context=_WORLD)

    def listen(self, process: Process, factory: Callable[[], Any], host: str, port: int) -> Any:
        """Answer calls to an address."""
        self.listeners[host, port] = Listener(process, factory)
        return SimulatedServer(self, (host, port))

    async def call(
        self, process: Process, factory: Callable[[], Any], host: str, port: int
    ) -> tuple[Any, Any]:
        """Call an address as `process`. Raises `ConnectionRefusedError`; waits behind a cut."""
        mine = self.hosts[process.name]
        answered: asyncio.Future[Listener | None] = self.loop.create_future()

        def arrived() -> None:
            listener = self.listeners.get((host, port))
            self.carry(host, mine, 60, lambda: _answer(answered, listener))

        self.carry(mine, host, 60, arrived)
        listener = await answered
        if listener is None or not listener.process.alive or not process.alive:
            raise ConnectionRefusedError(111, "refused")
        self._ports += 1
        ours = Stream(self, process, mine, (host, port))
        theirs = Stream(self, listener.process, host, (mine, self._ports))
        ours.other, theirs.other = theirs, ours
        protocol = ours.attach(factory())
        self.loop.call_soon(theirs.accept, listener.factory, context=listener.process.context)
        protocol.connection_made(ours)
        return ours, protocol

    def number(self) -> int:
        """Of the next stream."""
        self._numbers += 1
        return self._numbers

    def drop(self, process: Process, *, told: bool) -> None:
        """The process is gone: its listener and its streams, of which peers are told or not."""
        for address in [key for key, one in self.listeners.items() if one.process is process]:
            del self.listeners[address]
        for stream in list(self.streams.values()):
            if stream.process is process:
                stream.vanish(told=told)

    def reset(self, host: str) -> None:
        """The machine is up again and knows none of the streams that others keep to it."""
        for stream in list(self.streams.values()):
            if stream.orphaned and stream.peer_host == host:
                stream.lose(ConnectionResetError(104, "reset"))


def _answer(future: "asyncio.Future[Listener | None]", listener: Listener | None) -> None:
    if not future.done():
        future.set_result(listener)


class Stream(asyncio.Transport):
    """One side of a connection."""

    def __init__(
        self, wires: Wires, process: Process, host: str, peername: tuple[str, int]
    ) -> None:
        super().__init__()
        self.process = process
        self.host = host
        self.peer_host = peername[0]
        self.other: Stream | None = None
        self.orphaned = False  # the other side vanished without a word
        self.number = wires.number()
        self._wires = wires
        self._peername = peername
        self._protocol: asyncio.Protocol | None = None
        self._closing = False
        self._lost = False
        self._in_flight = 0  # bytes written and not yet taken by the other side
        self._high = 64 << 10
        self._writer_waits = False
        self._arrive_at = 0.0  # of the newest bytes: streams keep their order
        self._reading = True
        self._inbox: deque[bytes | None] = deque()  # None is the end
        self._sequence = 0
        self._expected = 0
        self._early: dict[int, bytes | None] = {}
        wires.streams[self.number] = self

    def attach(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        """Let a protocol have this side."""
        self._protocol = protocol
        return protocol

    def accept(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """The called side begins, in its own process."""
        if not self._lost and self.process.alive:
            self.attach(factory()).connection_made(self)
            self._read()

    # `asyncio.Transport`, as the node's connections use it.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Only `peername` is known."""
        return self._peername if name == "peername" else default

    def is_closing(self) -> bool:
        """See `asyncio`."""
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        """See `asyncio`."""
        if high is not None:
            self._high = high

    def get_write_buffer_size(self) -> int:
        """What the kernels did not take."""
        return max(0, self._in_flight - KERNEL_BYTES)

    def write(self, data: Any) -> None:
        """See `asyncio`."""
        if self._closing or not self.process.alive or not data:
            return
        self.process.charge(SYSCALL_S)
        self._in_flight += len(data)
        self._ship(bytes(data))
        if self.get_write_buffer_size() > self._high and not self._writer_waits:
            self._writer_waits = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def close(self) -> None:
        """End after what was written."""
        if not self._closing:
            self._closing = True
            self._ship(None)
            self._finish(None)

    def abort(self) -> None:
        """End now."""
        if not self._lost:
            self._closing = True
            self._tell_reset()
            self._finish(None)

    def pause_reading(self) -> None:
        """See `asyncio`."""
        self._reading = False

    def resume_reading(self) -> None:
        """See `asyncio`."""
        self._reading = True
        self._wires.loop.call_soon(self._read, context=self.process.context)

    # Within.

    def _ship(self, data: bytes | None) -> None:
        other = self.other
        assert other is not None
        number, self._sequence = self._sequence, self._sequence + 1
        size = 60 + (len(data) if data else 0)
        self._wires.carry(self.host, self.peer_host, size, lambda: other._arrived(number, data))

    def _arrived(self, number: int, data: bytes | None) -> None:
        """Bytes are here; in order they go on to the reader."""
        if self._lost or not self.process.alive:
            return
        self._early[number] = data
        while self._expected in self._early:
            self._inbox.append(self._early.pop(self._expected))
            self._expected += 1
        if self._inbox:
            self._wires.loop.call_soon(self._read, context=self.process.context)

    def _read(self) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        while self._inbox and self._reading and not self._lost and not self._closing:
            data = self._inbox.popleft()
            if data is None:
                protocol.eof_received()
                self.close()
                return
            self.process.charge(SYSCALL_S)
            self._wires.heard("bytes", self.peer_host, self.host, data)
            if self.other is not None:
                self.other._taken(len(data))
            protocol.data_received(data)

    def _taken(self, size: int) -> None:
        """The other side has read so many bytes."""
        self._in_flight -= size
        if self._writer_waits and self.get_write_buffer_size() <= self._high // 4:
            self._writer_waits = False
            if not self._lost and self.process.alive:
                assert self._protocol is not None
                self._wires.loop.call_soon(
                    self._protocol.resume_writing, context=self.process.context
                )

    def _finish(self, error: Exception | None) -> None:
        """Tell our own side that it is over."""
        if not self._lost:
            self._lost = True
            del self._wires.streams[self.number]
            if self.process.alive and self._protocol is not None:
                self._wires.loop.call_soon(
                    self._protocol.connection_lost, error, context=self.process.context
                )

    def _tell_reset(self) -> None:
        other = self.other
        assert other is not None
        reset = ConnectionResetError(104, "reset")
        self._wires.carry(self.host, self.peer_host, 60, lambda: other.lose(reset))

    def lose(self, error: Exception) -> None:
        """The other side has reset the stream."""
        if not self._lost:
            self._closing = True
            self._finish(error)

    def vanish(self, *, told: bool) -> None:
        """Our process is gone."""
        if self._lost:
            return
        if told:
            self._tell_reset()
        elif self.other is not None:
            self.other.orphaned = True
        self._closing = True
        self._finish(None)
