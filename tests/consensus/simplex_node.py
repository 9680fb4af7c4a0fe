"""A shell for one core in a network of the tests: disk, timers, bodies, and the laws of speaking.

Whatever leaves an honest node must be durable in its log, with its body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from simplex_kit import GENESIS, TIMING, digest, make_core
from simplex_world import Broken

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
    Persist,
    Persisted,
    Propose,
    Report,
    Send,
    SetTimer,
    Start,
    TimerFired,
    TimerId,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.evidence import contradict
from chaind.consensus.quorums import check_certificate
from chaind.consensus.records import decode_record, encode_record
from chaind.consensus.simplex import Simplex
from chaind.primitives.votes import (
    Certificate,
    Vote,
    check_certificate_form,
    check_vote_form,
)

if TYPE_CHECKING:
    from simplex_network import Network

DELTA_MS = TIMING.delta_ms


class Node:
    """The shell of one core: disk, timers, bodies. Twins share an index and are not honest."""

    def __init__(self, net: Network, number: int, index: int | None, honest: bool) -> None:
        self.net = net
        self.number = number
        self.index = index
        self.honest = honest
        self.log: list[bytes] = []
        self.bodies = {digest(GENESIS)}
        self.final = digest(GENESIS)
        self.final_view = 0
        self.height = 0
        self.up = False
        self.life = 0
        self.boot()

    def boot(self) -> None:
        """Start, or start again, with what is durable."""
        self.life += 1
        self.up = True
        self.core: Simplex = make_core(
            self.net.n,
            self.index,
            final=self.final.rstrip(b".").decode(),
            final_view=self.final_view,
            kind=self.net.kind,
            quorums=self.net.quorums(),
        )
        self.durable_seq = 0
        self.held = set(self.bodies)
        self.unsynced: deque[Persist] = deque()
        self.waiting: list[tuple[int, Send]] = []
        self.timers: dict[TimerId, int] = {}
        self.syncing = False
        self.wanted: set[bytes] = set()
        records = tuple(map(decode_record, self.log))
        self.restarted = bool(records)
        self.step(Start(records))
        if self.up and self.net.random.random() < self.net.busy:
            self.step(WorkChanged(True))

    def crash(self) -> None:
        """Lose everything that was not synced; of the unsynced records a prefix may survive."""
        self.up = False
        survivors = self.net.random.randrange(len(self.unsynced) + 1)
        for persist in list(self.unsynced)[:survivors]:
            self.write(persist)

    def write(self, persist: Persist) -> None:
        """What a sync makes durable. Bodies are durable with the records that name them."""
        self.log.extend(map(encode_record, persist.records))
        for body in persist.bodies:
            while body not in self.bodies:
                self.bodies.add(body)
                body = self.net.world.blocks[body].parent_hash

    def step(self, event: Event) -> None:
        """One event through the core, and what it wants."""
        for effect in self.core.step(event):
            if self.honest and self.net.random.random() < self.net.crash_rate:
                self.net.world.seen["crash"] += 1
                self.crash()
                self.net.later(self.net.random.randrange(1, 2000), self.reboot)
                return
            self.do(effect)

    def reboot(self) -> None:
        """After a crash, if nothing else booted the node."""
        if not self.up:
            self.boot()

    def do(self, effect: Effect) -> None:
        """Carry out one effect."""
        net = self.net
        match effect:
            case Persist():
                self.unsynced.append(effect)
                if not self.syncing:
                    self.syncing = True
                    net.later(net.random.randrange(4), self.guard(self.sync))
            case Send(_, _, after):
                if after is not None and after > self.durable_seq:
                    self.waiting.append((after, effect))
                else:
                    self.speak(effect)
            case SetTimer(timer, delay_ms):
                serial = self.timers[timer] = self.timers.get(timer, 0) + 1
                net.later(delay_ms, self.guard(lambda: self.fire(timer, serial)))
            case CancelTimer(timer):
                self.timers[timer] = self.timers.get(timer, 0) + 1
            case Build(view, parent_hash, parent_view):
                build = self.guard(lambda: self.build(view, parent_hash, parent_view))
                net.later(net.random.randrange(5), build)
            case Check(block):
                self.want(block.hash)
            case Fetch(block_hash, _):
                self.want(block_hash)
            case Deliver(block_hash, proof):
                self.deliver(block_hash, proof)
            case Report(evidence):
                assert contradict(evidence.first, evidence.second)
                if not net.byzantine(evidence.first.voter):
                    raise Broken(f"an honest voter is accused: {evidence}")
                net.world.seen["evidence"] += 1
            case Halt(reason):
                if self.honest:
                    raise Broken(f"an honest node halts: {reason}")

    def guard(self, action: Callable[[], None]) -> Callable[[], None]:
        """The action, unless the node has crashed in between."""
        life = self.life

        def guarded() -> None:
            if self.up and self.life == life:
                action()

        return guarded

    def sync(self) -> None:
        """Everything logged so far becomes durable, and what waited for it is sent."""
        seq = self.durable_seq
        while self.unsynced:
            persist = self.unsynced.popleft()
            self.write(persist)
            seq = persist.seq
        self.durable_seq = seq
        self.syncing = False
        ready = [send for after, send in self.waiting if after <= seq]
        self.waiting = [one for one in self.waiting if one[0] > seq]
        for send in ready:
            self.speak(send)
        self.step(Persisted(seq))

    def speak(self, send: Send) -> None:
        """Send, after the laws have been checked on what is said."""
        message = send.message
        if self.honest:
            if isinstance(message, Votes):
                for vote in message.votes:
                    self.check_said(vote)
            if isinstance(message, Propose):
                self.check_said(message.vote)
            for certificate in carried(message):
                check_certificate_form(certificate)
                check_certificate(certificate, self.net.honest_quorums)
                for vote in certificate.votes():
                    if vote.voter == self.index:
                        self.check_said(vote)
        self.net.send(self, send.to, message)

    def check_said(self, vote: Vote) -> None:
        """Persist, then speak; and never contradict oneself."""
        check_vote_form(vote)
        assert vote.voter == self.index
        above = vote.view > self.final_view
        if above and encode_record(vote) not in self.log:
            raise Broken(f"{vote} was said before it was durable")
        if above and vote.block is not None and vote.block not in self.bodies:
            raise Broken(f"{vote} was said before its body was durable")
        self.net.world.hear(vote)

    def fire(self, timer: TimerId, serial: int) -> None:
        """A timer ran out, unless it was set again since."""
        if self.timers[timer] == serial:
            self.step(TimerFired(timer))

    def build(self, view: int, parent_hash: bytes, parent_view: int) -> None:
        """A new block on the parent asked for."""
        assert parent_hash in self.held, "asked to build on a parent that is not held"
        name = f"{view}.{self.number}.{self.life}"
        block = BlockRef(digest(name), view, parent_hash, parent_view)
        self.net.world.add(block)
        self.held.add(block.hash)
        self.step(CandidateBuilt(block))

    def want(self, block_hash: bytes) -> None:
        """Get a body with its ancestors from anyone who has them, then say that it is valid."""
        if block_hash not in self.wanted:
            self.wanted.add(block_hash)
            self.look(block_hash)

    def look(self, block_hash: bytes) -> None:
        """One attempt; again later while nobody has it."""
        net = self.net
        has = block_hash in self.held
        if has or any(block_hash in peer.held for peer in net.nodes if peer.up):
            delay_ms = net.random.randrange(1, 3) if has else net.delay()
            net.later(delay_ms, self.guard(lambda: self.receive_body(block_hash)))
        else:
            net.later(DELTA_MS, self.guard(lambda: self.look(block_hash)))

    def receive_body(self, block_hash: bytes) -> None:
        """The body is here, and its ancestors are."""
        self.wanted.discard(block_hash)
        step = block_hash
        while step not in self.held:
            self.held.add(step)
            step = self.net.world.blocks[step].parent_hash
        if self.net.random.random() < self.net.untimely:
            later = self.guard(lambda: self.step(CheckedBlock(block_hash, Verdict.OK)))
            self.net.later(self.net.delay(), later)
            self.step(CheckedBlock(block_hash, Verdict.UNTIMELY))
        else:
            self.step(CheckedBlock(block_hash, Verdict.OK))

    def deliver(self, block_hash: bytes, proof: Certificate) -> None:
        """A final block: durable state from here on."""
        assert proof.block == block_hash
        assert proof.view > self.final_view
        if block_hash not in self.held or encode_record(proof) not in self.log:
            raise Broken("delivered before the certificate was durable and the body held")
        self.final, self.final_view = block_hash, proof.view
        step = block_hash
        while step not in self.bodies:
            self.bodies.add(step)
            step = self.net.world.blocks[step].parent_hash
        self.log = [one for one in self.log if decode_record(one).view >= proof.view]
        if self.honest:
            self.height = self.net.world.finalise(block_hash)
            self.net.world.seen[proof.kind.name] += 1
            if self.restarted:
                self.restarted = False
                self.net.world.seen["recovery"] += 1


def carried(message: CoreMessage) -> tuple[Certificate, ...]:
    """The certificates in a message."""
    if isinstance(message, Certificates):
        return message.certificates
    return message.justification if isinstance(message, Propose) else ()
