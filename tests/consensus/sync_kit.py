"""A planner on virtual time, among peers that serve chains as they like.

Answers take `delay_ms`; a peer can be silent, hold back bodies, or serve headers of its own making.
"""

import heapq
from collections.abc import Callable
from itertools import count

from header_kit import BEGIN, EASY, mine

from chaind.consensus.pow.base import Base
from chaind.consensus.pow.body_window import PER_PEER_MAX, WINDOW, BodyWindow
from chaind.consensus.pow.retarget import Anchor
from chaind.consensus.pow.sync import (
    HEADERS_MAX,
    AskBody,
    AskHeaders,
    Drop,
    Note,
    Passed,
    SyncPlanner,
)
from chaind.consensus.pow.sync import Action as Act
from chaind.consensus.pow.tree import Tree
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.work import WorkParameters, target_of, work_of

PARAMETERS = WorkParameters(
    retarget="bitcoin", limit_bits=EASY, target_spacing_ms=600_000, window=100_000
)
GENESIS = mine(parent=ZERO_HASH, time=BEGIN, bits=EASY)
WORK = work_of(target_of(EASY))  # of each header
NOW = BEGIN + 100_000_000


def chain(length: int, salt: int = 0, on: list[bytes] | None = None) -> list[bytes]:
    """Headers from block 1 up; `salt` tells chains apart, `on` are the first ones."""
    made = list(on or [])
    while len(made) < length:
        height = len(made) + 1
        parent = sha256d(made[-1] if made else GENESIS)
        made.append(mine(parent=parent, time=BEGIN + 600 * height + salt, bits=EASY))
    return made


class Finals:
    """Final blocks by height."""

    def __init__(self) -> None:
        self.hashes = [sha256d(GENESIS)]

    def height_of(self, block_hash: bytes) -> int | None:
        return self.hashes.index(block_hash) if block_hash in self.hashes else None

    def hash_at(self, height: int) -> bytes:
        return self.hashes[height]


class Server:
    """A peer: what it has, and how it behaves."""

    def __init__(
        self, headers: list[bytes], delay_ms: float = 20.0, *, silent: bool = False
    ) -> None:
        self.headers = headers
        self.delay_ms = delay_ms
        self.bodies = {sha256d(header) for header in headers}
        self.silent = silent
        self.silent_bodies = False
        self.asked_headers = 0
        self.asked_bodies: list[bytes] = []

    def answer(self, locator: tuple[bytes, ...]) -> bytes:
        """Headers after the first hash that it knows."""
        self.asked_headers += 1
        places = {sha256d(header): place + 1 for place, header in enumerate(self.headers)}
        start = next((places[one] for one in locator if one in places), 0)
        return b"".join(self.headers[start : start + HEADERS_MAX])


class World:
    """See the module."""

    def __init__(self, minimum: int = 0, now: int = NOW) -> None:
        base = Base(sha256d(GENESIS), 0, EASY, (BEGIN,), WORK, BEGIN)
        self.finals = Finals()
        self.tree = Tree(
            parameters=PARAMETERS,
            base=base,
            anchor=Anchor(height=1, bits=EASY, parent_time=BEGIN),
            finals=self.finals,
        )
        self.planner = SyncPlanner(
            tree=self.tree,
            parameters=PARAMETERS,
            genesis=GENESIS,
            minimum=minimum,
            window=BodyWindow(self.tree),
        )
        self.now = now
        self.now_ms = 0.0
        self.servers: dict[int, Server] = {}
        self.dropped: dict[int, ChaindError] = {}
        self.notes: list[ChaindError] = []
        self.passed: list[int] = []
        self.flying: dict[bytes, int] = {}
        self.flying_most = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._later(100.0, self._tick)

    def connect(self, number: int, server: Server) -> Server:
        self.servers[number] = server
        self._do(self.planner.peer_up(number, self.now_ms))
        return server

    def disconnect(self, number: int) -> None:
        del self.servers[number]
        self._do(self.planner.peer_down(number, self.now_ms))

    def announce(self, number: int, *headers: bytes) -> None:
        """Headers that nobody asked for."""
        self.give(number, b"".join(headers))

    def give(self, number: int, records: bytes) -> None:
        """An answer, or an announcement."""
        if number in self.servers:
            self._do(self.planner.headers(number, records, now_ms=self.now_ms, now=self.now))

    def run(self, until_ms: float) -> None:
        """Let virtual time pass."""
        while self._events and self._events[0][0] <= until_ms:
            self.now_ms, _, event = heapq.heappop(self._events)
            event()
        self.now_ms = until_ms

    def _later(self, delay_ms: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._order), event))

    def _tick(self) -> None:
        self._do(self.planner.tick(self.now_ms))
        self._later(100.0, self._tick)

    def _do(self, actions: tuple[Act, ...]) -> None:
        for action in actions:
            match action:
                case AskHeaders(peer, locator):
                    self._ask_headers(peer, locator)
                case AskBody(peer, block_hash):
                    self._ask_body(peer, block_hash)
                case Drop(peer, fault):
                    self.dropped[peer] = fault
                    self.servers.pop(peer, None)
                case Note(_, error):
                    self.notes.append(error)
                case Passed(peer):
                    self.passed.append(peer)
                    for block_hash in [one for one, of in self.flying.items() if of == peer]:
                        del self.flying[block_hash]

    def _ask_headers(self, peer: int, locator: tuple[bytes, ...]) -> None:
        server = self.servers.get(peer)
        if server is not None and not server.silent:
            records = server.answer(locator)
            self._later(server.delay_ms, lambda: self.give(peer, records))

    def _ask_body(self, peer: int, block_hash: bytes) -> None:
        server = self.servers[peer]
        entry = self.tree.get(block_hash)
        assert entry is not None
        assert not entry.held, "nothing is asked for twice"
        assert self.flying.get(block_hash) in (None, peer), "nor of two at a time"
        self.flying[block_hash] = peer
        server.asked_bodies.append(block_hash)
        assert entry.height <= self.tree.ready.height + WINDOW, "nor beyond the window"
        self.flying_most = max(
            self.flying_most, sum(1 for of in self.flying.values() if of == peer)
        )
        assert self.flying_most <= PER_PEER_MAX
        if not server.silent_bodies:
            self._later(server.delay_ms, lambda: self._come(peer, block_hash))

    def _come(self, peer: int, block_hash: bytes) -> None:
        server = self.servers.get(peer)
        if server is None or self.flying.get(block_hash) != peer:
            return
        del self.flying[block_hash]
        if block_hash in server.bodies:
            self.tree.hold(block_hash)
            self._do(self.planner.body(block_hash, self.now_ms))
        else:
            self._do(self.planner.no_body(peer, block_hash, self.now_ms))
