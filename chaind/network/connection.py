"""One encrypted connection: bytes of a socket on one side, messages on the other.

An `asyncio.Protocol`, driven by callbacks alone: no task, no timer of its own (its owner calls
`tick`). It never judges: it ends itself with the error that ended it, and the owner decides what
that error costs. What is sent within one turn of the loop leaves as one ciphertext.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, cast

from msgspec import Struct

from chaind.network.endings import HandshakeTimeout, PeerClosed, Silent, SlowPeer
from chaind.network.frames import FRAME_BYTES_MAX, FrameReader, seal
from chaind.network.handshake import Handshaker, Hello
from chaind.network.messages import (
    REASON_CHARS_MAX,
    Goodbye,
    Message,
    Ping,
    Pong,
    decode_message,
    encode_message,
    work_of,
)
from chaind.network.noise import CipherState
from chaind.network.peers import Address
from chaind.network.throttle import Throttle
from chaind.primitives.errors import ChaindError

# Four full frames: three seconds of 20,000 transactions/s that a busy peer may lag behind.
SEND_QUEUE_BYTES_MAX = 4 * FRAME_BYTES_MAX
# Above this the socket's own buffer takes no more: what waits here is still one encryption away.
WRITE_BUFFER_BYTES_MAX = 1 << 20
# One read may hold ten thousand questions: this many are a few milliseconds of the loop.
WORK_PER_TURN = 1_000
LATENCY_WEIGHT = 1 / 8  # of a new sample, as TCP smooths its round trip (RFC 6298)


class Clock(Protocol):
    """Time, given from outside."""

    def now_ms(self) -> int:
        """Unix time."""

    def monotonic_ms(self) -> float:
        """Time that only moves forwards, from any start."""


class Timing(Struct, frozen=True):
    """Deadlines of a connection, ms, kept to the owner's tick.

    A link that loses every packet is silent. TCP sends again after waits that double (RFC 6298), so
    that its bytes may come as long after the healing as the cut has lasted. Whoever has heard
    nothing for `silence_ms` therefore dials anew: what was lost before then is sent again less than
    5 s after any healing.
    """

    handshake_ms: int = 5_000  # three messages over the slowest sensible link
    ping_ms: int = 2_000  # latency is known, and routers keep the mapping
    silence_ms: int = 6_000  # three pings unanswered
    linger_ms: int = 1_000  # for the last bytes of a close to leave


class Traffic(Struct):
    """Counters since the connection was made."""

    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0


class Owner(Protocol):
    """What a connection needs from above. Raising a `ChaindError` from `connected` refuses it."""

    def handshaker(self, connection: "Connection") -> Handshaker:
        """The handshake of a new connection, of which `dialled` is known."""

    def connected(self, connection: "Connection") -> None:
        """The socket is open; nothing is known of the other side but its host."""

    def opened(self, connection: "Connection") -> None:
        """`remote_static` and `hello` are known, messages can be sent."""

    def received(self, connection: "Connection", message: Message) -> None:
        """A message of sound form, pings aside."""

    def closed(self, connection: "Connection", error: ChaindError) -> None:
        """The end and its reason, told once, from a turn of the loop of its own."""

    def gone(self, connection: "Connection") -> None:
        """The socket itself is closed."""

    def crashed(self, error: Exception) -> None:
        """Our own code failed; the node has to end."""


Arguments = ParamSpec("Arguments")


def _loud(
    method: Callable[Concatenate["Connection", Arguments], None],
) -> Callable[Concatenate["Connection", Arguments], None]:
    """An event loop only logs what a callback raises: tell the owner first."""

    @wraps(method)
    def guarded(self: "Connection", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.owner.crashed(error)
            raise

    return guarded


class Connection(asyncio.Protocol):
    """See the module. `dialled` is the address we called, None where the peer called us."""

    def __init__(
        self,
        *,
        owner: Owner,
        clock: Clock,
        timing: Timing,
        dialled: Address | None,
    ) -> None:
        self.owner = owner
        self.dialled = dialled
        self.host = dialled.host if dialled is not None else ""
        self.remote_static = b""
        self.hello: Hello | None = None
        self.latency_ms: float | None = None
        self.traffic = Traffic()
        self.opened_ms: float | None = None  # when the handshake was over
        self.error: ChaindError | None = None
        self._clock = clock
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._handshaker: Handshaker | None = owner.handshaker(self)
        self._send_cipher: CipherState | None = None
        self._reader: FrameReader | None = None
        self._arrived: deque[bytes] = deque()  # frame bodies of the last read, not yet delivered
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._flush_due = False
        self._paused = False
        self._farewell = ""
        now_ms = clock.monotonic_ms()
        self._throttle = Throttle(now_ms)
        self._throttled = False
        self._started_ms = self._heard_ms = self._pinged_ms = now_ms
        self._closed_ms = 0.0
        self._ping: tuple[int, float] | None = None
        self._pings = 0

    @property
    def inbound(self) -> bool:
        """True where the peer called us."""
        return self.dialled is None

    @property
    def is_open(self) -> bool:
        """True from the end of the handshake to the first reason to close."""
        return self._reader is not None and self.error is None

    # Called by the owner

    def send(self, body: bytes) -> None:
        """Queue an encoded message; it leaves at the end of this turn. Ignored once closing.

        Ends the connection with `SlowPeer` where the queue would pass its bound.
        """
        if not self.is_open:
            return
        assert self._transport is not None
        self._queue.append(body)
        self._queued_bytes += len(body)
        self.traffic.messages_out += 1
        waiting = self._queued_bytes + self._transport.get_write_buffer_size()
        if waiting > SEND_QUEUE_BYTES_MAX:
            self.close(SlowPeer(queued=waiting, limit=SEND_QUEUE_BYTES_MAX))
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def close(self, error: ChaindError) -> None:
        """End with a reason, the peer being told where that is possible. Idempotent."""
        if self.error is not None:
            return
        if self._send_cipher is not None and not isinstance(error, PeerClosed | SlowPeer):
            self._queue.append(encode_message(Goodbye(str(error)[:REASON_CHARS_MAX])))
            self._flush()
        self.error = error
        self._closed_ms = self._clock.monotonic_ms()
        self._queue.clear()
        if self._transport is not None:
            if isinstance(error, SlowPeer):
                self._transport.abort()
            else:
                self._transport.close()
        self._loop.call_soon(self._report_closed)

    def abort(self) -> None:
        """Drop the socket of a closed connection, whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort()

    def tick(self) -> None:
        """Keep the deadlines; called a few times a second."""
        now_ms = self._clock.monotonic_ms()
        timing = self._timing
        if self.error is not None:
            if now_ms - self._closed_ms > timing.linger_ms:
                self.abort()
        elif self._reader is None:
            if now_ms - self._started_ms > timing.handshake_ms:
                self.close(HandshakeTimeout(limit_ms=timing.handshake_ms))
        elif now_ms - self._heard_ms > timing.silence_ms and not self._throttled:
            self.close(Silent(silent_ms=int(now_ms - self._heard_ms)))
        elif now_ms - self._pinged_ms >= timing.ping_ms:
            self.ping()

    def ping(self) -> None:
        """Measure the round trip; a ping still unanswered is not overtaken by another."""
        self._pinged_ms = self._clock.monotonic_ms()
        if self._ping is None:
            self._pings += 1
            self._ping = (self._pings, self._pinged_ms)
        self.send(encode_message(Ping(self._ping[0])))

    # Called by the event loop

    @_loud
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the opening words, unless the owner refuses."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        peername: Any = transport.get_extra_info("peername")
        if peername:  # None where the peer has gone already
            self.host = peername[0]
        try:
            self.owner.connected(self)
        except ChaindError as error:
            self.close(error)
            return
        assert self._handshaker is not None
        self._write(self._handshaker.start())

    @_loud
    def data_received(self, data: bytes) -> None:
        """Decrypt, decode and deliver; a broken byte ends the connection."""
        if self.error is not None:
            return
        self._heard_ms = self._clock.monotonic_ms()
        self.traffic.bytes_in += len(data)
        reader = self._reader
        before = 0 if reader is None else reader.records
        try:
            self._arrived.extend(self._shake(data) if reader is None else reader.feed(data))
        except ChaindError as error:
            self.close(error)
            return
        self._work_off(len(data), 1 if reader is None else reader.records - before)

    def eof_received(self) -> None:
        """Half-closed connections are of no use: let the transport close."""

    def connection_lost(self, _exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        why = f": {self._farewell}" if self._farewell else ""
        self.close(PeerClosed(why=why))
        self._transport = None
        self._loop.call_soon(self._report_gone)

    def pause_writing(self) -> None:
        """The peer reads slowly: keep what follows in the queue."""
        self._paused = True

    @_loud
    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._paused = False
        self._flush()

    # Within

    def _shake(self, data: bytes) -> list[bytes]:
        handshaker = self._handshaker
        assert handshaker is not None
        try:
            answer = handshaker.receive(data)
        except ChaindError:
            if handshaker.complete:  # refused at the last step: it can be told why
                self._send_cipher = handshaker.split()[0]
            raise
        if answer:
            self._write(answer)
        if not handshaker.complete:
            return []
        assert handshaker.remote is not None
        self.remote_static, self.hello = handshaker.remote
        self._send_cipher, receive, rest = handshaker.split()
        self._reader = FrameReader(receive)
        self._handshaker = None
        self.opened_ms = self._clock.monotonic_ms()
        self.owner.opened(self)
        return self._reader.feed(rest) if self.is_open else []

    def _work_off(self, size: int, work: int) -> None:
        """Deliver what arrived, as much as fits a turn; read on when the throttle allows it.

        What it makes us send counts as well: a question is short, and its answer may be a block.
        """
        queued = self._queued_bytes
        while self._arrived and work < WORK_PER_TURN:
            if not self.is_open:  # a delivered message has ended us
                return
            try:
                message = decode_message(self._arrived.popleft())
            except ChaindError as error:
                self.close(error)
                return
            self._deliver(message)
            work += work_of(message)
        self._slow_down(size + self._queued_bytes - queued, work)

    def _deliver(self, message: Message) -> None:
        self.traffic.messages_in += 1
        if isinstance(message, Ping):
            self.send(encode_message(Pong(message.nonce)))
        elif isinstance(message, Pong):
            self._measure(message.nonce)
        elif isinstance(message, Goodbye):
            self._farewell = message.reason
        else:
            self.owner.received(self, message)

    def _measure(self, nonce: int) -> None:
        if self._ping is None or nonce != self._ping[0]:
            return
        sample_ms = self._clock.monotonic_ms() - self._ping[1]
        self._ping = None
        if self.latency_ms is None:
            self.latency_ms = sample_ms
        else:
            self.latency_ms += (sample_ms - self.latency_ms) * LATENCY_WEIGHT

    def _slow_down(self, size: int, work: int) -> None:
        now_ms = self._clock.monotonic_ms()
        wait_ms = self._throttle.charge(messages=work, size=size, now_ms=now_ms)
        if (wait_ms or self._arrived) and self.is_open and not self._throttled:
            assert self._transport is not None
            self._throttled = True
            self._transport.pause_reading()
            self._loop.call_later(wait_ms / 1000, self._resume_reading)

    @_loud
    def _resume_reading(self) -> None:
        self._throttled = False
        self._heard_ms = self._clock.monotonic_ms()
        if self._arrived:
            self._work_off(0, 0)
        if self.is_open and not self._throttled:
            assert self._transport is not None
            self._transport.resume_reading()

    @_loud
    def _flush(self) -> None:
        self._flush_due = False
        if not self._queue or self.error is not None or self._paused:
            return
        assert self._send_cipher is not None
        bodies, self._queue, self._queued_bytes = self._queue, [], 0
        self._write(seal(self._send_cipher, bodies))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self.traffic.bytes_out += len(data)
            self._transport.write(data)

    @_loud
    def _report_closed(self) -> None:
        assert self.error is not None
        self.owner.closed(self, self.error)

    @_loud
    def _report_gone(self) -> None:
        self.owner.gone(self)
