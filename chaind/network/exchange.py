"""Peer exchange: asking peers whom they know, telling them, believing little of what they say."""

from collections.abc import Sequence
from random import Random

from chaind.network.connection import Clock
from chaind.network.dialler import Dialler
from chaind.network.messages import ADDRESSES_MAX, GetPeers, Peers, encode_message
from chaind.network.peer import Peer
from chaind.network.peers import Address, reach
from chaind.primitives.errors import PeerFault

TELL_MS = 10_000  # who asks more often gets no answer


class Unasked(PeerFault):
    """An answer to no question of ours."""

    code = "unasked"
    text = "the peer sent {name} that nobody asked for"


class Exchange:
    """Feeds the dialler's book. `interval_ms` between questions to a random peer; None: never."""

    def __init__(
        self, dialler: Dialler, *, clock: Clock, rng: Random, interval_ms: int | None
    ) -> None:
        self._dialler = dialler
        self._clock = clock
        self._rng = rng
        self._interval_ms = interval_ms
        self._asked_ms = clock.monotonic_ms()

    def ask(self, peer: Peer) -> None:
        """Ask a peer that has just come."""
        if self._interval_ms is not None:
            peer.asked_peers = True
            peer.connection.send(encode_message(GetPeers()))

    def ask_someone(self, peers: Sequence[Peer]) -> None:
        """Ask one of `peers` where it is time to."""
        now_ms = self._clock.monotonic_ms()
        if self._interval_ms is None or not peers or now_ms - self._asked_ms < self._interval_ms:
            return
        self._asked_ms = now_ms
        self.ask(self._rng.choice(peers))

    def tell(self, peer: Peer, others: Sequence[Peer]) -> None:
        """Answer `peer`: nodes connected now, then ones that were; what it could reach itself."""
        now_ms = self._clock.monotonic_ms()
        if peer.told_peers_ms is not None and now_ms - peer.told_peers_ms < TELL_MS:
            return
        peer.told_peers_ms = now_ms
        limit = reach(peer.host) or 0
        known = [other.address for other in others if other.port]
        known += self._dialler.book.sample(ADDRESSES_MAX, for_host=peer.host)
        told = [
            address
            for address in dict.fromkeys(known)
            if address != peer.address
            and (distance := reach(address.host)) is not None
            and distance >= limit
        ]
        peer.connection.send(encode_message(Peers(tuple(told[:ADDRESSES_MAX]))))

    def hear(self, peer: Peer, message: Peers) -> bool:
        """Take an answer; True where it held something new. Raises `Unasked`."""
        if not peer.asked_peers:
            raise Unasked(name="Peers")
        peer.asked_peers = False
        told = (Address(*pair) for pair in message.addresses)
        fresh = [address for address in told if address not in self._dialler.own]
        return self._dialler.book.learn(fresh, source=peer.node_id, source_host=peer.host) > 0
