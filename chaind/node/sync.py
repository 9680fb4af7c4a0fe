"""Catching up: ranges of final blocks under a certificate, from a peer that is ahead.

A range is hash-linked to our final tip and its last block carries the certificate that makes all
of it final. Its blocks are kept here; then the certificate is handed over to be delivered like
any other. So there is one road to finality, and nobody is trusted.
"""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import structlog

from chaind.network.frames import FRAME_BYTES_MAX
from chaind.network.messages import BLOCKS_MAX, Blocks, GetBlocks
from chaind.network.peer import Peer
from chaind.network.peers import reach
from chaind.node.bodies import Bodies, Transport
from chaind.node.chain import Chain
from chaind.node.clock import Clock
from chaind.primitives.block import Block
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.votes import Certificate, CertificateKind
from chaind.storage.chain_store import BlockDamaged, ChainStore

RANGE_BYTES_MAX = 2_500_000  # of one answer, within a frame; one certificate's blocks at least
PIECE_BYTES_MAX = FRAME_BYTES_MAX - (1 << 19)  # those; the rest is for the largest certificate
STALL_MS = 5_000  # a peer that sends no range in this time is left for another
DISTRUST_MS = 60_000  # for so long nothing is believed of a peer that did not show what it claims
BEHIND_MS = 400  # votes normally close a gap faster than a request would

log = structlog.get_logger("chaind.sync")


class BrokenRange(Malformed, PeerFault):
    """Blocks that are not what was asked for."""

    code = "broken-range"
    text = "range from height {height} is broken: {reason}"


def serve_range(store: ChainStore, start_height: int, count: int) -> Blocks:
    """Final blocks from `start_height` up to one that has a certificate, within bytes and count.

    A damaged one ends the range before it. Empty where a certificate covers more blocks than fit:
    they are fetched one by one from the top.
    """
    raws: list[bytes] = []
    size = 0
    height = start_height
    last: Certificate | None = None
    while height <= store.tip.height:
        found = store.certificate_from(height)
        if found is None:
            break
        certified, certificate = found
        if len(raws) + certified - height + 1 > count:
            break
        try:
            piece = [store.raw_block(number) for number in range(height, certified + 1)]
        except BlockDamaged:
            break
        size += sum(len(raw) for raw in piece if raw is not None)
        if size > (RANGE_BYTES_MAX if raws else PIECE_BYTES_MAX):
            break
        raws += [raw for raw in piece if raw is not None]
        last = certificate
        height = certified + 1
    return Blocks(start_height, tuple(raws), last)


def serve_mined(store: ChainStore, start_height: int, count: int) -> Blocks:
    """Final blocks of miners from `start_height` on, within bytes and count: their headers are
    their proof. A damaged one ends the range before it."""
    raws: list[bytes] = []
    size = 0
    for height in range(start_height, min(store.tip.height + 1, start_height + count)):
        try:
            raw = store.raw_block(height)
        except BlockDamaged:
            break
        assert raw is not None, "every final block has a body"
        size += len(raw)
        if raws and size > RANGE_BYTES_MAX:
            break
        raws.append(raw)
    return Blocks(start_height, tuple(raws), None)


class Sync:
    """At most one range is under way. `on_range` hears of the proof."""

    def __init__(
        self,
        *,
        chain: Chain,
        store: ChainStore,
        bodies: Bodies,
        transport: Transport,
        clock: Clock,
        check_certificate: Callable[[Certificate], None],
        on_range: Callable[[Peer, Certificate], None],
    ) -> None:
        self._chain = chain
        self._store = store
        self._bodies = bodies
        self._transport = transport
        self._clock = clock
        self._check_certificate = check_certificate
        self._on_range = on_range
        self._peer: Peer | None = None
        self._waiting = False  # for the peer's answer, or for what is made of it
        self._asked_ms = 0.0
        self._behind_since_ms: float | None = None
        self._last_height = 0
        self._distrusted: dict[str, float] = {}  # nodes and hosts that failed us, since when
        self._answers: asyncio.Queue[tuple[Peer, Blocks]] = asyncio.Queue(1)
        self.blocks_total = 0

    @property
    def syncing(self) -> bool:
        """Whether a range is under way."""
        return self._peer is not None

    @property
    def behind(self) -> int:
        """Blocks between our final tip and the highest that a peer claims."""
        best = max((peer.final_height for peer in self._believed()), default=0)
        return max(0, best - self._chain.final.height)

    def tick(self) -> None:
        """Start where a peer stays ahead while we stand still, and leave peers that stall."""
        now_ms = self._clock.monotonic_ms()
        for name in [one for one, at in self._distrusted.items() if now_ms - at > DISTRUST_MS]:
            del self._distrusted[name]
        height, behind = self._chain.final.height, self.behind
        if height != self._last_height or not behind:
            self._last_height = height
            self._behind_since_ms = now_ms if behind else None
        if self._peer is not None:
            if now_ms - self._asked_ms > STALL_MS:
                log.info("sync_peer_stalled", peer=self._peer.node_id[:8])
                self._leave()
            return
        if not behind:
            return
        if self._behind_since_ms is None:
            self._behind_since_ms = now_ms
        if behind > BLOCKS_MAX or now_ms - self._behind_since_ms >= BEHIND_MS:
            self._ask_best()

    def peer_down(self, peer: Peer) -> None:
        """Its answer will not come."""
        if peer is self._peer:
            self._peer = None

    def received(self, peer: Peer, message: Blocks) -> None:
        """An answer; anything that was not asked for is dropped."""
        if peer is self._peer and self._waiting and self._answers.empty():
            self._answers.put_nowait((peer, message))

    async def run(self) -> None:
        """Take ranges until cancelled."""
        while True:
            peer, message = await self._answers.get()
            try:
                await self._take(peer, message)
            except PeerFault as fault:
                if peer is self._peer:
                    self._leave()
                self._transport.punish(peer, fault)

    def advanced(self) -> None:
        """The final tip moved: go on with the next range."""
        if self._peer is None or self._waiting:
            return
        if self._peer.final_height > self._chain.final.height:
            self._ask(self._peer)
        else:
            self._peer = None

    def _believed(self) -> list[Peer]:
        peers = self._transport.peers()
        return [peer for peer in peers if self._distrusted.keys().isdisjoint(_names(peer))]

    def _leave(self) -> None:
        """The peer does not show what it claims to have: ask another one."""
        assert self._peer is not None
        now_ms = self._clock.monotonic_ms()
        self._distrusted.update(dict.fromkeys(_names(self._peer), now_ms))
        self._peer = None

    def _ask_best(self) -> None:
        peers = self._believed()
        top = max(peer.final_height for peer in peers)
        ahead = [peer for peer in peers if peer.final_height == top]
        self._ask(min(ahead, key=lambda peer: peer.latency_ms or 0.0))

    def _ask(self, peer: Peer) -> None:
        self._peer = peer
        self._waiting = True
        self._asked_ms = self._clock.monotonic_ms()
        self._transport.send(peer, GetBlocks(self._chain.final.height + 1, BLOCKS_MAX))

    async def _take(self, peer: Peer, message: Blocks) -> None:
        """Check links and certificate, keep and execute the blocks, hand over the proof."""
        certificate = message.certificate
        if not message.raws or certificate is None:
            if peer is self._peer:
                self._leave()
            return
        if certificate.kind not in (CertificateKind.FINAL, CertificateKind.FAST):
            raise BrokenRange(height=message.start_height, reason="certificate is not final")
        blocks = [Block.decode(raw) for raw in message.raws]
        for below, above in pairwise(blocks):
            if above.parent != below.hash:
                raise BrokenRange(height=above.height, reason="blocks are not linked")
        if blocks[-1].hash != certificate.block:
            raise BrokenRange(height=blocks[-1].height, reason="certificate is another block's")
        self._check_certificate(certificate)
        new = [block for block in blocks if block.height > self._chain.final.height]
        if new and not self._chain.descends_from_final(new[0].parent):
            raise BrokenRange(height=new[0].height, reason="does not stand on our final tip")
        for block in new:
            await self._bodies.take_block(block)
        self.blocks_total += len(new)
        self._asked_ms = self._clock.monotonic_ms()
        self._waiting = False
        if blocks[-1].height > self._chain.final.height:
            self._on_range(peer, certificate)
        else:
            self.advanced()


def _names(peer: Peer) -> tuple[str, ...]:
    """What is distrusted with a peer, so that a new connection does not clear it of its claims.

    On loopback not the host: all nodes share it.
    """
    return (peer.node_id,) if reach(peer.host) == 0 else (peer.node_id, peer.host)
