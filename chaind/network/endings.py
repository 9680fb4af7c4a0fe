"""Why connections end that nobody is to blame for."""

from chaind.primitives.errors import Temporary


class PeerClosed(Temporary):
    """The other side ended the connection."""

    code = "peer-closed"
    text = "the peer closed the connection{why}"
    advice = "Look into the peer's log for the reason; it is dialled again by itself."


class SlowPeer(Temporary):
    """The peer reads more slowly than we write, beyond the bound of its queue."""

    code = "slow-peer"
    text = "the peer does not read: {queued} bytes are waiting, {limit} are allowed"
    advice = "Check the load of that machine and the network to it; it is dialled again by itself."


class HandshakeTimeout(Temporary):
    """The peer connected and then did not introduce itself in time."""

    code = "handshake-timeout"
    text = "no handshake within {limit_ms} ms"
    advice = "Check that a chaind node listens at that address; it is dialled again by itself."


class Silent(Temporary):
    """Nothing came for long, not even the answers to our pings."""

    code = "silent"
    text = "nothing received for {silent_ms} ms"
    advice = "Check the network between the nodes; the peer is dialled again by itself."
