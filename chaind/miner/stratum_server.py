"""Stratum on a TCP port: many miners, each with its session, none at the cost of another.

Law: all miners hear of a new tip at once, and nothing a miner does delays that. Lines are taken a
few at a time from each in turn, and so many a second; who does not read and who breaks the protocol
is cut.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import structlog

from chaind.miner.jobs import EXTRANONCE1_BYTES, Template
from chaind.miner.roster import Roster
from chaind.miner.stratum import LINE_BYTES_MAX, Line, MinerFault, Refusal, Session, Share
from chaind.miner.vardiff import DIFFICULTY_MIN, SHARES_PER_MINUTE, Vardiff
from chaind.primitives.errors import LocalFault

LINES_PER_TURN = 32  # of one miner, before the others have their turn
LINES_PER_S = 100.0  # of one miner for long; ten times the shares that vardiff lets come
LINES_BURST = 1_000  # while it is judged
UNREAD_BYTES_MAX = 1 << 16  # held of a miner that sends faster than it is served
UNSENT_BYTES_MAX = 1 << 18  # a miner that does not read is cut
JOIN_S = 30.0  # to subscribe and authorise

log = structlog.get_logger("chaind.stratum")


class StratumBusy(LocalFault):
    """The port is taken."""

    code = "stratum-port-busy"
    text = "Stratum cannot listen on {host}:{port}: {reason}"
    advice = "Choose another [miner] stratum_port, or 0 to serve no miners."
    exit_code = 69  # EX_UNAVAILABLE


class Work(Protocol):
    """Where blocks to mine come from, and where mined ones go."""

    def template(self, payee: bytes) -> Template | None:
        """Work whose reward goes to an address; None while there is none to give."""
        ...

    def payee_of(self, name: str) -> bytes | None:
        """Whom a miner's name stands for; None where nobody can be paid by it."""
        ...

    def why_unpaid(self, name: str) -> str:
        """What is wrong with a name that stands for nobody, for its miner to read."""
        ...

    def solved(self, share: Share) -> None:
        """A block was found; `Roster.mined` is told where it is taken."""
        ...


class Round(NamedTuple):
    """What all miners share that are given work at the same time: a template for each who is paid,
    and lines by template and whether it is a new tip's. Their extranonces tell them apart."""

    templates: dict[bytes, Template | None]
    lines: dict[tuple[str, bool], Line]


class StratumServer:
    """See the module's law. `monotonic_s` is the clock; whoever has the server calls `renew`."""

    def __init__(
        self,
        work: Work,
        *,
        monotonic_s: Callable[[], float],
        connections_max: int = 1_000,
        per_host_max: int = 256,
        floor: float = DIFFICULTY_MIN,
        shares_per_minute: float = SHARES_PER_MINUTE,
    ) -> None:
        self._work = work
        self.monotonic_s = monotonic_s
        self._connections_max = connections_max
        self._per_host_max = per_host_max
        self._floor = floor
        self._shares_per_minute = shares_per_minute
        self._miners: dict[bytes, Miner] = {}  # by extranonce1
        self._hosts: Counter[str] = Counter()
        self._last_extranonce = 0
        self.workers = Roster()
        self.accepted_total = self.stale_total = self.rejected_total = 0  # shares
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one for 0. Raises `StratumBusy`."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Miner(self), host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StratumBusy(host=host, port=port, reason=reason) from None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Cut every miner and listen no more."""
        assert self._server is not None
        self._server.close()
        for miner in list(self._miners.values()):
            miner.cut("the node stops")
        await self._server.wait_closed()

    def renew(self) -> None:
        """The tip or the fees changed, or a while has passed: everybody gets new work.

        Some reconnect after two minutes of silence, and who sends nothing is judged by this too.
        """
        shared = Round({}, {})
        for miner in list(self._miners.values()):
            miner.give_work(shared)

    @property
    def connected(self) -> int:
        """Miners that hold a connection."""
        return len(self._miners)

    # What miners need.

    def admit(self, miner: "Miner") -> bytes | None:
        """An extranonce of its own; None where there is no place for it."""
        if len(self._miners) >= self._connections_max:
            return None
        if self._hosts[miner.host] >= self._per_host_max:
            return None
        number = self._last_extranonce
        while True:
            number = (number + 1) % (1 << 8 * EXTRANONCE1_BYTES)
            extranonce = number.to_bytes(EXTRANONCE1_BYTES, "big")
            if extranonce not in self._miners:
                break
        self._last_extranonce = number
        self._miners[extranonce] = miner
        self._hosts[miner.host] += 1
        return extranonce

    def forget(self, miner: "Miner", extranonce: bytes) -> None:
        """The connection is over."""
        del self._miners[extranonce]
        self._hosts[miner.host] -= 1
        if not self._hosts[miner.host]:
            del self._hosts[miner.host]

    def session(self, extranonce: bytes, on_share: Callable[[Share], None]) -> Session:
        """Of a new miner."""
        vardiff = Vardiff(
            self.monotonic_s(), floor=self._floor, shares_per_minute=self._shares_per_minute
        )
        return Session(
            extranonce1=extranonce,
            payee_of=self._work.payee_of,
            why_unpaid=self._work.why_unpaid,
            on_share=on_share,
            vardiff=vardiff,
        )

    def template(self, payee: bytes) -> Template | None:
        """Work for an address."""
        return self._work.template(payee)

    def refused(self, worker: str, *, stale: bool) -> None:
        """A share was not."""
        self.stale_total += stale
        self.rejected_total += not stale
        self.workers.refused(worker, stale=stale)

    def took(self, share: Share) -> None:
        """A share was accepted."""
        now_s = self.monotonic_s()
        self.accepted_total += 1
        self.workers.accepted(share.worker, share.hashes, now_s)
        if share.is_block:
            self._work.solved(share)


class Miner(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: StratumServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._extranonce = b""
        self._unread = bytearray()
        self._turn: asyncio.Handle | None = None
        self._lines = float(LINES_BURST)  # that it may send now
        self._counted_s = 0.0  # by the loop's clock
        self._joining: asyncio.TimerHandle | None = None
        self._known: set[str] = set()  # names that the table was told of
        self._listed: set[str] = set()  # those of them that it counts this connection under
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        if peername is None:  # gone again before it was accepted
            transport.abort()
            return
        self.host = str(peername[0])
        extranonce = self._server.admit(self)
        if extranonce is None:
            log.info("miner_refused", host=self.host, reason="no place left")
            transport.abort()
            return
        self._extranonce = extranonce
        self._session = self._server.session(extranonce, self._server.took)
        transport.set_write_buffer_limits(UNSENT_BYTES_MAX)
        self._joining = asyncio.get_running_loop().call_later(JOIN_S, self._join_late)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See `asyncio.Protocol`."""
        for handle in (self._turn, self._joining):
            if handle is not None:
                handle.cancel()
        if self._session is not None:
            self._server.forget(self, self._extranonce)
            for name in self._listed:
                self._server.workers.left(name, self._server.monotonic_s())
            self._session = None

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        assert self._transport is not None
        self._unread += data
        if len(self._unread) > UNREAD_BYTES_MAX:
            self._transport.pause_reading()
        if self._turn is None:
            self._serve()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.cut("it does not read")

    def cut(self, reason: str) -> None:
        """End the connection."""
        assert self._transport is not None
        log.info("miner_cut", host=self.host, reason=reason)
        self._transport.abort()

    def give_work(self, shared: Round | None = None) -> None:
        """Send new work, where the miner is ready for it and there is some."""
        session = self._session
        if session is None or not session.ready:
            return
        assert session.payee is not None
        shared = Round({}, {}) if shared is None else shared
        if session.payee not in shared.templates:
            shared.templates[session.payee] = self._server.template(session.payee)
        template = shared.templates[session.payee]
        if template is not None:
            self._write(session.send(template, self._server.monotonic_s(), shared.lines))

    def _serve(self) -> None:
        """Answer some lines, and go on after the others: what is left waits in its socket."""
        self._turn = None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._lines = min(LINES_BURST, self._lines + (now_s - self._counted_s) * LINES_PER_S)
        self._counted_s = now_s
        for _ in range(min(LINES_PER_TURN, int(self._lines))):
            if self._session is None or self._is_closing():
                return
            end = self._unread.find(b"\n")
            if end < 0:
                if len(self._unread) > LINE_BYTES_MAX:
                    self.cut(f"a line of more than {LINE_BYTES_MAX} bytes")
                break
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            self._lines -= 1
            if line.strip() and not self._answer(line):
                return
        else:
            wait_s = 0.0 if self._lines >= 1 else LINES_PER_TURN / LINES_PER_S
            self._turn = loop.call_later(wait_s, self._serve)
        if len(self._unread) <= UNREAD_BYTES_MAX and not self._is_closing():
            assert self._transport is not None
            self._transport.resume_reading()

    def _answer(self, line: bytes) -> bool:
        """Answer a line; False where that ended the connection."""
        session, server = self._session, self._server
        assert session is not None
        was_ready, refused = session.ready, dict(session.refused)
        before = session.difficulty
        now_s = server.monotonic_s()
        try:
            self._write(session.feed(line, now_s))
        except MinerFault as fault:
            self.cut(str(fault))
            return False
        for name in session.workers - self._known:
            self._known.add(name)
            if server.workers.came(name, now_s):
                self._listed.add(name)
        if session.refused != refused and session.worker in self._known:
            stale = session.refused[Refusal.STALE] > refused[Refusal.STALE]
            server.refused(session.worker, stale=stale)
        if session.ready and not was_ready:
            if self._joining is not None:
                self._joining.cancel()
            self.give_work()
        elif session.ready and session.difficulty != before:
            self.give_work()
        return True

    def _write(self, lines: list[bytes]) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(lines))

    def _is_closing(self) -> bool:
        assert self._transport is not None
        return self._transport.is_closing()

    def _join_late(self) -> None:
        self.cut(f"it did not subscribe and authorise within {JOIN_S:.0f} s")
