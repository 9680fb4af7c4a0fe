"""Headers first: which peer to ask for what, so that the chain of most work is found and fetched.

Pure: it is told what happened and when, and returns what to do. Headers come in answers of at most
2,000, from several peers at once. A chain below `minimum` work is weighed before it is kept
(`weighing`). Bodies are asked for along each peer's best branch (`body_window`). A peer that stays
silent is passed over for a while; one whose headers break a rule, or whose chain is too light, is
dropped with the fault. Peers are numbers, times of `now_ms` those of a monotonic clock.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaind.consensus.pow.body_window import BodyWindow
from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.errors import HeadersCut
from chaind.consensus.pow.sync_errors import HeadersScattered, HeadersTooMany
from chaind.consensus.pow.tree import Tree
from chaind.consensus.pow.weighing import Weighing
from chaind.primitives.block import HEADER_BYTES
from chaind.primitives.errors import ChaindError, PeerFault
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import WorkParameters

HEADERS_MAX = 2_000  # Bitcoin's; 160 kB
HEADER_PEERS_MAX = 3  # asked at once for what is mostly the same; the others stand by
PLACE_MS = 20_000.0  # after which a peer that still gives headers counts no more among those
STALL_MS = 10_000.0  # without an answer in this time a peer is passed over
PASSED_OVER_MS = 60_000.0  # for so long
IDLE_MS = 60_000.0  # after which a peer is asked again whether it has more than it announced

SEASONED_MS = 120_000.0  # after its first peer; by then others have been heard, or passed over


class AskHeaders(NamedTuple):
    """Ask a peer for the headers after the first hash of `locator` that it knows."""

    peer: int
    locator: tuple[bytes, ...]


class AskBody(NamedTuple):
    """Ask a peer for a block."""

    peer: int
    block_hash: bytes


class Drop(NamedTuple):
    """Part with a peer: it broke a rule."""

    peer: int
    fault: PeerFault


class Note(NamedTuple):
    """Nobody's fault, but worth knowing: a deep reorganisation, a clock that runs ahead."""

    peer: int
    error: ChaindError


class Passed(NamedTuple):
    """A peer did not answer in time: others are asked."""

    peer: int


Action = AskHeaders | AskBody | Drop | Note | Passed


class _Peer:
    """What one peer was asked and is known to have."""

    __slots__ = ("asked_ms", "begun_ms", "done", "heard_ms", "passed_ms", "reached", "weighing")

    def __init__(self) -> None:
        self.asked_ms: float | None = None  # since when an answer is due
        self.begun_ms = 0.0  # when it was asked for the first of the headers that it gives
        self.heard_ms = 0.0
        self.done = False  # it has given all headers that it had
        self.passed_ms: float | None = None  # since when it is passed over
        self.reached: int | None = None  # height that it has come to, where it has more to give
        self.weighing: Weighing | None = None


class SyncPlanner:
    """See the module's law. `genesis` is the header of block 0."""

    def __init__(
        self,
        *,
        tree: Tree,
        parameters: WorkParameters,
        genesis: bytes,
        minimum: int,
        window: BodyWindow | None = None,
    ) -> None:
        self._tree = tree
        self._parameters = parameters
        self._genesis = genesis
        self._genesis_hash = sha256d(genesis)
        self._minimum = minimum
        self._window = BodyWindow(tree) if window is None else window
        self._peers: dict[int, _Peer] = {}
        self._begun_ms: float | None = None  # when the first peer came
        self._seasoned = False  # synced, with somebody who answered, long after that

    @property
    def heavy_enough(self) -> bool:
        """Whether the best chain has the work that the network is known to have done."""
        return self._tree.best.chainwork >= self._minimum

    @property
    def synced(self) -> bool:
        """Whether all headers of all peers that answer are known, and they weigh enough.

        Only then may depth make anything final: a lighter chain could be heard of first. Who was
        synced for long does not wait for newcomers that have shown nothing: some that come and go
        without a word would keep it from ever being so.
        """
        return self.heavy_enough and all(
            peer.done or peer.passed_ms is not None or (self._seasoned and peer.reached is None)
            for peer in self._peers.values()
        )

    def knows(self, peer: int, entry: Entry) -> bool:
        """Whether a peer is known to have a block."""
        return self._window.knows(peer, entry)

    def awaits(self, peer: int, block_hash: bytes) -> bool:
        """Whether a peer owes us a body."""
        return self._window.awaits(peer, block_hash)

    # Events.

    def peer_up(self, peer: int, now_ms: float) -> tuple[Action, ...]:
        """A peer is connected."""
        if self._begun_ms is None:
            self._begun_ms = now_ms
        self._peers[peer] = _Peer()
        self._window.peer_up(peer)
        return tuple(self._plan(now_ms))

    def peer_down(self, peer: int, now_ms: float) -> tuple[Action, ...]:
        """A peer is gone; what it was asked for is asked of others."""
        if self._peers.pop(peer, None) is None:
            return ()
        self._window.peer_down(peer)
        self._tree.forget_peer(peer)
        return tuple(self._plan(now_ms))

    def headers(self, peer: int, records: bytes, *, now_ms: float, now: int) -> tuple[Action, ...]:
        """Headers of a peer, asked for or announced; `now` is the wall clock's Unix second."""
        state = self._peers.get(peer)
        if state is None:
            return ()
        state.heard_ms = now_ms
        was_asked, state.asked_ms, state.passed_ms = state.asked_ms is not None, None, None
        try:
            split = _split(records)
            actions = list(self._take(peer, state, split, was_asked=was_asked, now=now))
        except PeerFault as fault:
            return (*self._drop(peer, fault), *self._plan(now_ms))
        except ChaindError as error:
            state.weighing = None
            _end(state)
            actions = [Note(peer, error)]
        for action in actions:
            if isinstance(action, AskHeaders):
                state.asked_ms = now_ms
        return (*actions, *self._plan(now_ms))

    def body(self, block_hash: bytes, now_ms: float) -> tuple[Action, ...]:
        """A body came, whether it is good or not; the tree was told first."""
        self._window.came(block_hash)
        return tuple(self._plan(now_ms))

    def no_body(self, peer: int, block_hash: bytes, now_ms: float) -> tuple[Action, ...]:
        """A peer does not hold what it was asked for."""
        self._window.lacks(peer, block_hash)
        return tuple(self._plan(now_ms))

    def tick(self, now_ms: float) -> tuple[Action, ...]:
        """Time passes: leave who does not answer, ask again who was idle."""
        actions: list[Action] = []
        for number, peer in self._peers.items():
            if peer.passed_ms is not None and now_ms - peer.passed_ms >= PASSED_OVER_MS:
                peer.passed_ms = None
            if peer.asked_ms is not None and now_ms - peer.asked_ms >= STALL_MS:
                self._pass_over(peer, now_ms)
                actions.append(Passed(number))
            elif peer.done and peer.asked_ms is None and now_ms - peer.heard_ms >= IDLE_MS:
                peer.heard_ms = now_ms
                actions.append(self._ask(number, peer, now_ms))
        for number in self._window.stalled(now_ms):
            self._pass_over(self._peers[number], now_ms)
            actions.append(Passed(number))
        if self._begun_ms is not None and now_ms - self._begun_ms >= SEASONED_MS:
            answered = any(peer.done for peer in self._peers.values())
            self._seasoned = self._seasoned or (answered and self.synced)
        return (*actions, *self._plan(now_ms))

    # Headers.

    def _take(
        self, peer: int, state: _Peer, headers: Sequence[bytes], *, was_asked: bool, now: int
    ) -> Iterator[Action]:
        """Raises what the headers break."""
        if not headers:
            state.weighing = None
            _end(state)
            return
        complete = len(headers) < HEADERS_MAX
        if self.heavy_enough:
            state.weighing = None
        elif not was_asked:  # announced: what it stands on is what matters now
            return
        elif self._weigh(state, headers, complete=complete, now=now):
            assert state.weighing is not None
            yield AskHeaders(peer, state.weighing.locator())
            return
        faults: list[Drop] = []
        last = self._grow(peer, headers, faults, now=now)
        yield from faults
        weighing = state.weighing
        if weighing is not None and not weighing.done and not self.heavy_enough:
            yield AskHeaders(peer, weighing.locator())
        elif last is None and not was_asked:
            yield AskHeaders(peer, self._locator(None))
        elif complete or last is None or _repeats(state, last):
            _end(state)
        else:
            state.done, state.reached = False, last.height
            yield AskHeaders(peer, self._locator(last))

    def _grow(
        self, peer: int, headers: Sequence[bytes], faults: list[Drop], *, now: int
    ) -> Entry | None:
        """Put headers into the tree; the last one, None where they do not stand on it.

        Raises the rule that one of them breaks; those before it are there.
        """
        last: Entry | None = None
        try:
            for header in headers:
                heard = self._tree.hear(header, now=now, peer=peer)
                for liar, error in heard.faults:
                    if isinstance(error, PeerFault):
                        faults += self._drop(liar, error)
                if heard.orphaned:
                    return None
                last = self._tree.get(sha256d(header)) or last
        finally:
            if last is not None:
                self._window.learn(peer, last)
        return last or self._tree.base

    def _weigh(self, state: _Peer, headers: Sequence[bytes], *, complete: bool, now: int) -> bool:
        """Whether these headers are not to be kept (yet). Raises what they break."""
        weighing = state.weighing
        if weighing is None or weighing.done:  # done: what it brought was invalid after all
            weighing = state.weighing = Weighing(
                parameters=self._parameters, genesis=self._genesis, minimum=self._minimum, now=now
            )
        was_proven = weighing.proven
        weighing.take(b"".join(headers), complete=complete)
        return not was_proven

    def _locator(self, last: Entry | None) -> tuple[bytes, ...]:
        """From the best header where it stands on `last`: others have brought us further."""
        best = self._tree.best
        if last is not None and self._tree.ancestor(best, min(last.height, best.height)) is last:
            return self._tree.locator(best)
        if last is not None:
            return self._tree.locator(last)
        # From below the tip: then the answer shows whether the peer has it. Bitcoin's trick.
        return self._tree.locator(best.parent or best)

    def _ask(self, number: int, peer: _Peer, now_ms: float) -> AskHeaders:
        peer.asked_ms = peer.begun_ms = now_ms
        if self.heavy_enough:
            return AskHeaders(number, self._locator(None))
        return AskHeaders(number, (self._genesis_hash,))

    # What to do next.

    def _plan(self, now_ms: float) -> Iterator[Action]:
        """Keep enough peers asked for headers, and the window of bodies full."""
        asked = sum(
            peer.asked_ms is not None and now_ms - peer.begun_ms < PLACE_MS
            for peer in self._peers.values()
        )
        for number, peer in self._peers.items():
            if asked >= HEADER_PEERS_MAX:
                break
            if peer.asked_ms is None and not peer.done and peer.passed_ms is None:
                yield self._ask(number, peer, now_ms)
                asked += 1
        if self.heavy_enough:
            able = [number for number, peer in self._peers.items() if peer.passed_ms is None]
            for number, block_hash in self._window.plan(able, now_ms):
                yield AskBody(number, block_hash)

    def _pass_over(self, peer: _Peer, now_ms: float) -> None:
        peer.asked_ms, peer.weighing, peer.passed_ms = None, None, now_ms

    def _drop(self, peer: int, fault: PeerFault) -> Iterator[Drop]:
        if self._peers.pop(peer, None) is not None:
            self._window.peer_down(peer)
            self._tree.forget_peer(peer)
            yield Drop(peer, fault)


def _end(state: _Peer) -> None:
    """It has no more headers than we do."""
    state.done, state.reached = True, None


def _repeats(state: _Peer, last: Entry) -> bool:
    """Whether an answer came no further than the one before: so it could go on for ever."""
    return state.reached is not None and last.height <= state.reached


def _split(records: bytes) -> list[bytes]:
    """The headers of an answer. Raises where they are not a chain of at most `HEADERS_MAX`."""
    if len(records) % HEADER_BYTES:
        raise HeadersCut(length=len(records))
    count = len(records) // HEADER_BYTES
    if count > HEADERS_MAX:
        raise HeadersTooMany(count=count, limit=HEADERS_MAX)
    headers = [records[at : at + HEADER_BYTES] for at in range(0, len(records), HEADER_BYTES)]
    for place in range(1, count):
        if headers[place][4:36] != sha256d(headers[place - 1]):
            raise HeadersScattered(place=place)
    return headers
