"""Consensus cores and gossip alone, without the nodes around them, so that a thousand fit.

The cores and the gossip are the real ones. What is modelled: signatures are made-up bytes whose
check costs time and is always passed; a body is its block's name, held a moment after its proposal;
syncs, builds and checks take fixed times. Each node has one processor, which serves one message
after the other, and one line outwards; links keep their order. Silent validators take messages and
say nothing.
"""

import heapq
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from chaind.consensus.core import (
    BlockRef,
    Build,
    CancelTimer,
    CandidateBuilt,
    Certificates,
    Check,
    CheckedBlock,
    CoreMessage,
    Deliver,
    Effect,
    Event,
    Fetch,
    Halt,
    Message,
    Persist,
    Persisted,
    Propose,
    Send,
    SetTimer,
    Start,
    StatusMessage,
    TimerFired,
    TimerId,
    Timing,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.gossip import FLUSH_MS, Gossip
from chaind.consensus.overlay import DEGREE, MESH_MAX, make_graph
from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.primitives.hashes import sha256
from chaind.primitives.votes import VoteBundle, VoteKind
from chaind.simulation.costs import (
    BYTES_PER_MS,
    EXECUTE_MS,
    FRAME_BYTES,
    ID_BYTES,
    JITTER_MS,
    MESSAGE_MS,
    PROPOSAL_BYTES,
    SYNC_MS,
    VERIFY_MS,
    Sent,
    size_of,
)

GENESIS = bytes(32)
EPOCH = 0
_SIGNATURE = b"signature".ljust(64)
EVENTS_MAX = 20_000_000


class Scene(NamedTuple):
    """What is to be simulated. `far_ms`: one-way delays of links, drawn evenly between the two.

    `transactions` is how many a block names; `overlay` None: as n demands.
    """

    nodes: int
    silent: int
    blocks: int
    far_ms: tuple[float, float]
    delta_ms: int
    seed: int = 0
    transactions: int = 500
    overlay: bool | None = None
    degree: int = DEGREE
    limit_ms: float = 600_000.0


class Totals(NamedTuple):
    """What came of it; per node and block where nothing else is said."""

    blocks: int
    views: int
    messages: float
    bytes: float
    signatures: float
    duplicates: float  # votes dropped by bitmap
    latencies_ms: list[float]  # of every block at every node, ascending: proposed to final
    virtual_ms: float
    kinds: dict[str, float]


class Member:
    """One node: core, gossip, processor, line, timers."""

    def __init__(self, crowd: "Crowd", me: int) -> None:
        self.crowd = crowd
        self.me = me
        self.free_ms = 0.0
        self.line_ms = 0.0
        self.timers: dict[TimerId, int] = {}
        self.waiting: list[Send] = []
        self.durable = 0
        self.flushing = False
        self.final = GENESIS
        self.gossip: Gossip | None = None
        quorums = crowd.quorums
        self.core = Simplex(
            epoch=EPOCH,
            quorums=quorums,
            me=me,
            final_hash=GENESIS,
            final_view=0,
            timing=Timing(
                delta_ms=crowd.scene.delta_ms, block_budget_ms=100, empty_block_interval_ms=2_000
            ),
            leader=lambda view: view % len(quorums.weights),
            sign=_sign,
        )
        if crowd.graph is not None:
            self.gossip = Gossip(epoch=EPOCH, quorums=quorums)
            for link in crowd.graph[me]:
                self.gossip.link_up(link)

    # In.

    def receive(self, sender: int, message: Sent) -> None:
        """What a shell does with a message, and its price."""
        before = self.crowd.checked
        if isinstance(message, tuple):
            self._bundles(sender, message)
        else:
            self._core_message(sender, message)
        self.work(MESSAGE_MS + VERIFY_MS * (self.crowd.checked - before))

    def _bundles(self, sender: int, bundles: tuple[VoteBundle, ...]) -> None:
        gossip, crowd = self.gossip, self.crowd
        assert gossip is not None
        news = []
        for bundle in bundles:
            votes = gossip.news(sender, bundle)
            crowd.duplicates += len(bundle.signatures) - len(votes)
            news += [vote for vote in votes if self.core.wants_vote(vote)]
        if news:
            crowd.checked += len(news)
            gossip.took(sender, news)
            self.step(Message(sender, Votes(tuple(news))))

    def _core_message(self, sender: int, message: CoreMessage) -> None:
        core, crowd, gossip = self.core, self.crowd, self.gossip
        match message:
            case Votes(votes):
                wanted = tuple(filter(core.wants_vote, votes))
                crowd.checked += len(wanted)
                if gossip is not None:
                    gossip.took(sender, wanted)
                message = Votes(wanted)
            case Certificates(certificates):
                proofs = tuple(filter(core.wants_certificate, certificates))
                crowd.checked += sum(len(one.signatures) for one in proofs)
                if gossip is not None:
                    for one in proofs:
                        gossip.took(sender, one.votes())
                message = Certificates(proofs)
            case Propose(block, why, vote):
                if not core.wants_proposal(message):
                    if gossip is not None:
                        gossip.heard_proposal(sender, message)
                    return
                proofs = tuple(filter(core.wants_certificate, why))
                crowd.checked += 1 + sum(len(one.signatures) for one in proofs)
                message = Propose(block, proofs, vote)
                if gossip is not None:
                    self._spread(message, sender)
            case StatusMessage() if gossip is not None:
                gossip.heard_status(sender, message.view)
        self.step(Message(sender, message))

    def step(self, event: Event) -> None:
        """One event through the core, and what it wants."""
        for effect in self.core.step(event):
            self._do(effect)
        if self.gossip is not None:
            for certificate in self.gossip.completed():
                if self.core.wants_certificate(certificate):
                    self.step(Message(self.me, Certificates((certificate,))))
            self._pace(self.gossip)

    def _pace(self, gossip: Gossip) -> None:
        if gossip.urgent:
            self._flush()
        elif gossip.waiting and not self.flushing:
            self.flushing = True
            self.later(FLUSH_MS, self._flush_due)

    def _flush_due(self) -> None:
        self.flushing = False
        self._flush()

    def _flush(self) -> None:
        assert self.gossip is not None
        for link, bundles in self.gossip.flush():
            self.post(link, bundles)

    # Out.

    def _do(self, effect: Effect) -> None:
        crowd = self.crowd
        match effect:
            case Persist(_, _, seq):
                self.later(SYNC_MS, lambda: self._synced(seq))
            case Send(_, _, after) if after is not None and after > self.durable:
                self.waiting.append(effect)
            case Send():
                self._send(effect)
            case SetTimer(timer, delay_ms):
                serial = self.timers[timer] = self.timers.get(timer, 0) + 1
                self.later(delay_ms, lambda: self._fire(timer, serial))
            case CancelTimer(timer):
                self.timers[timer] = self.timers.get(timer, 0) + 1
            case Build():
                self.later(EXECUTE_MS, lambda: self._build(effect))
            case Check(block):
                self._checked_after(EXECUTE_MS, block.hash)
            case Fetch(block_hash, _):
                crowd.count("Fetch", 2, 2 * FRAME_BYTES + crowd.body_bytes)
                self._checked_after(2 * crowd.scene.far_ms[1], block_hash)
            case Deliver(block_hash, _):
                crowd.delivered(self, block_hash)
                if self.gossip is not None:
                    self.gossip.forget(self.core.status().final_view)
            case Halt(reason):
                raise AssertionError(reason)

    def _checked_after(self, delay_ms: float, block_hash: bytes) -> None:
        self.later(delay_ms, lambda: self.step(CheckedBlock(block_hash, Verdict.OK)))

    def _synced(self, seq: int) -> None:
        self.durable = seq
        ready = [one for one in self.waiting if one.after is not None and one.after <= seq]
        self.waiting = [one for one in self.waiting if one.after is None or one.after > seq]
        for send in ready:
            self._send(send)
        self.step(Persisted(seq))

    def _fire(self, timer: TimerId, serial: int) -> None:
        if self.timers[timer] == serial:
            self.step(TimerFired(timer))

    def _build(self, asked: Build) -> None:
        name = sha256(b"%d" % asked.view + asked.parent_hash)
        block = BlockRef(name, asked.view, asked.parent_hash, asked.parent_view)
        self.crowd.proposed(block)
        self.step(CandidateBuilt(block))

    def _send(self, send: Send) -> None:
        message, gossip = send.message, self.gossip
        if send.to is not None:
            if send.to != self.me:
                self.post(send.to, message)
        elif gossip is None:
            for peer in range(self.crowd.scene.nodes):
                if peer != self.me:
                    self.post(peer, message)
        elif isinstance(message, Votes):
            gossip.say_votes(message.votes)
        elif isinstance(message, Certificates):
            gossip.say_certificates(message.certificates)
        elif isinstance(message, Propose):
            self._spread(message, None)
        else:
            assert self.crowd.graph is not None
            for link in self.crowd.graph[self.me]:
                self.post(link, message)

    def _spread(self, proposal: Propose, source: int | None) -> None:
        assert self.gossip is not None
        for link, why in self.gossip.spread(proposal, source):
            self.post(link, Propose(proposal.block, why, proposal.vote))

    def post(self, peer: int, message: Sent) -> None:
        """Send on the line."""
        self.crowd.post(self, peer, message)

    # Time.

    def work(self, cost_ms: float) -> None:
        """Keep the processor busy."""
        self.free_ms = max(self.free_ms, self.crowd.now_ms) + cost_ms

    def later(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Do something after a while."""
        self.crowd.at(max(self.crowd.now_ms, self.free_ms) + delay_ms, action)


class Crowd:
    """All members on one heap of events; see the module."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.random = Random(scene.seed)  # noqa: S311 — chance that must repeat
        self.quorums = Quorums([1] * scene.nodes)
        spread = scene.nodes > MESH_MAX if scene.overlay is None else scene.overlay
        seed = b"%d" % scene.seed
        self.graph = make_graph(seed, scene.nodes, scene.degree) if spread else None
        self.now_ms = 0.0
        self.checked = self.duplicates = 0
        self.kinds: dict[str, list[int]] = {}
        self.body_bytes = PROPOSAL_BYTES + scene.transactions * ID_BYTES
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._far: dict[tuple[int, int], float] = {}
        self._arrived: dict[tuple[int, int], float] = {}
        self._blocks: dict[bytes, BlockRef] = {}
        self._proposed_ms: dict[bytes, float] = {}
        self._final_ms: dict[bytes, list[float]] = {}
        self._heights: dict[bytes, int] = {GENESIS: 0}
        self._chain: list[bytes] = [GENESIS]
        quiet = set(self.random.sample(range(scene.nodes), scene.silent))
        self.members = {
            index: Member(self, index) for index in range(scene.nodes) if index not in quiet
        }

    def run(self) -> Totals:
        """Until every member has so many final blocks. Raises `AssertionError` on a fork."""
        for member in self.members.values():
            member.step(Start(()))
            member.step(WorkChanged(True))
        for _ in range(EVENTS_MAX):
            if self._done() or not self._heap or self.now_ms > self.scene.limit_ms:
                break
            self.now_ms, _, action = heapq.heappop(self._heap)
            action()
        return self._totals()

    def at(self, when_ms: float, action: Callable[[], None]) -> None:
        """Put something on the heap."""
        self._serial += 1
        heapq.heappush(self._heap, (when_ms, self._serial, action))

    def post(self, source: Member, peer: int, message: Sent) -> None:
        """One message on its way: over the sender's line, then the link, to the processor there."""
        size = FRAME_BYTES + size_of(message, self.body_bytes)
        self.count("Bundle" if isinstance(message, tuple) else type(message).__name__, 1, size)
        start_ms = max(self.now_ms, source.free_ms, source.line_ms)
        source.line_ms = start_ms + size / BYTES_PER_MS
        target = self.members.get(peer)
        if target is None:
            return
        link = (source.me, peer)
        far_ms = self._far.get(link)
        if far_ms is None:
            far_ms = self._far[link] = self.random.uniform(*self.scene.far_ms)
        there_ms = source.line_ms + far_ms + self.random.expovariate(1 / JITTER_MS)
        there_ms = self._arrived[link] = max(there_ms, self._arrived.get(link, 0.0))
        self.at(there_ms, lambda: self._arrive(target, source.me, message))

    def _arrive(self, target: Member, sender: int, message: Sent) -> None:
        """The processor there may still be busy."""
        if target.free_ms > self.now_ms:
            self.at(target.free_ms, lambda: self._arrive(target, sender, message))
        else:
            target.receive(sender, message)

    def count(self, kind: str, messages: int, size: int) -> None:
        """Traffic, by kind."""
        counted = self.kinds.setdefault(kind, [0, 0])
        counted[0] += messages
        counted[1] += size

    def proposed(self, block: BlockRef) -> None:
        """A leader has built it."""
        self._blocks[block.hash] = block
        self._proposed_ms[block.hash] = self.now_ms
        self._heights[block.hash] = self._heights[block.parent_hash] + 1

    def delivered(self, member: Member, block_hash: bytes) -> None:
        """A member has made a block final, and its ancestors."""
        path = []
        while block_hash != member.final:
            assert self._heights[block_hash] > self._heights[member.final], "two final chains"
            path.append(block_hash)
            block_hash = self._blocks[block_hash].parent_hash
        for one in reversed(path):
            height = self._heights[one]
            if height == len(self._chain):
                self._chain.append(one)
            assert self._chain[height] == one, f"two final blocks at height {height}"
            self._final_ms.setdefault(one, []).append(self.now_ms)
            member.final = one

    def _done(self) -> bool:
        blocks = self.scene.blocks
        if len(self._chain) <= blocks:
            return False
        return len(self._final_ms[self._chain[blocks]]) == len(self.members)

    def _totals(self) -> Totals:
        blocks = len(self._chain) - 1
        shares = max(1, blocks) * len(self.members)
        latencies = [
            when_ms - self._proposed_ms[block]
            for block in self._chain[1 : self.scene.blocks + 1]
            for when_ms in self._final_ms[block]
        ]
        return Totals(
            blocks,
            max(member.core.status().view for member in self.members.values()),
            sum(messages for messages, _ in self.kinds.values()) / shares,
            sum(size for _, size in self.kinds.values()) / shares,
            self.checked / shares,
            self.duplicates / shares,
            sorted(latencies),
            self.now_ms,
            {kind: messages / shares for kind, (messages, _) in sorted(self.kinds.items())},
        )


def _sign(_kind: VoteKind, _view: int, _block: bytes | None) -> bytes:
    """One for all: nobody looks at it."""
    return _SIGNATURE
