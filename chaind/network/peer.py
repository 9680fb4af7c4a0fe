"""A peer as the rest of the node sees it: who it is, what it last said of itself, how it does."""

from msgspec import Struct

from chaind.network.connection import Connection
from chaind.network.handshake import Hello
from chaind.network.peers import Address


class Peer:
    """One connected node. Compared by identity: a reconnection is another `Peer`.

    `final_height` (of the newest final block it said to hold) is the node's to set from the peer's
    `Status` and `Tip` messages.
    """

    __slots__ = (
        "asked_peers",
        "connected_ms",
        "connection",
        "final_height",
        "hello",
        "host",
        "node_id",
        "port",
        "told_peers_ms",
    )

    def __init__(self, connection: Connection, *, connected_ms: float) -> None:
        assert connection.hello is not None
        self.connection = connection
        self.connected_ms = connected_ms
        self.hello: Hello = connection.hello
        self.node_id = connection.remote_static.hex()
        self.host = connection.host
        self.port = self.hello.port  # where it accepts peers, 0 for nowhere
        self.final_height = self.hello.final_height
        self.asked_peers = False
        self.told_peers_ms: float | None = None

    @property
    def inbound(self) -> bool:
        """True where the peer called us."""
        return self.connection.inbound

    @property
    def validator_key(self) -> bytes | None:
        """The proven secp256k1 public key of a validator, 33 bytes."""
        return self.hello.validator_key

    @property
    def latency_ms(self) -> float | None:
        """Smoothed round trip; None until the first pong."""
        return self.connection.latency_ms

    @property
    def address(self) -> Address:
        """Where it can be dialled, or where its call came from (port 0)."""
        return Address(self.host, self.port)

    def __repr__(self) -> str:
        arrow = "from" if self.inbound else "to"
        return f"Peer({self.node_id[:8]} {arrow} {self.address})"


class PeerStats(Struct, frozen=True, kw_only=True):
    """One line of the peer list: a snapshot for the API and the metrics."""

    node_id: str
    address: str
    inbound: bool
    agent: str
    version: int
    validator_key_hex: str | None
    final_height: int
    latency_ms: float | None
    connected_ms: float
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    score: float


def describe(peer: Peer, *, now_ms: float, score: float) -> PeerStats:
    """The snapshot of `peer`; `now_ms` is monotonic, like `connected_ms` inside."""
    traffic = peer.connection.traffic
    key = peer.validator_key
    return PeerStats(
        node_id=peer.node_id,
        address=str(peer.address),
        inbound=peer.inbound,
        agent=peer.hello.agent,
        version=peer.hello.version,
        validator_key_hex=None if key is None else key.hex(),
        final_height=peer.final_height,
        latency_ms=peer.latency_ms,
        connected_ms=now_ms - peer.connected_ms,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        messages_in=traffic.messages_in,
        messages_out=traffic.messages_out,
        score=score,
    )
