"""Which of two connections to one node stays, and the reasons to refuse one. Pure."""

from chaind.primitives.errors import Conflict, NotAllowed, Temporary, TooMany

# Two nodes that dial each other at once open both connections within a handshake's time. Later a
# second one means that its maker has lost the first.
SIMULTANEOUS_MS = 5_000


class SelfConnection(Conflict):
    """We have dialled ourselves."""

    code = "self-connection"
    text = "{address} is this node itself"
    advice = "Take this node's own address out of [network] peers."


class AlreadyConnected(Conflict):
    """One connection per node is enough."""

    code = "already-connected"
    text = "node {node_id} has another connection to this one"
    advice = "Nothing has to be done: the other connection stays."


class Banned(NotAllowed):
    """The peer has used up its credit."""

    code = "banned"
    text = "{name} is banned for a while"
    advice = "Wait until the ban ends, and look into that node's log for why it was penalised."


class PeersFull(TooMany):
    """All seats for callers are taken."""

    code = "peers-full"
    text = "no seat is free: {taken} of {limit} are taken"
    advice = "Raise [network] max_peers, or connect to another node."


class Dropped(NotAllowed):
    """The node has judged a message of the peer."""

    code = "dropped"
    text = "dropped for: {reason}"
    advice = "Nothing has to be done here; the other node's log says why it was refused."


class ShuttingDown(Temporary):
    """This node ends."""

    code = "shutting-down"
    text = "the node shuts down"
    advice = "Connect again once the node has been started."


def supersedes(
    *, inbound: bool, old_inbound: bool, old_age_ms: float, my_id: str, their_id: str
) -> bool:
    """Whether a new connection replaces the one that stands; both sides come to the same answer.

    Made by the same side as the old one: the maker of both refuses its own (it knows that it is
    connected), the other side believes the maker. Made by the other side: of two made at the same
    time the one of the lower node id stays; a later one is believed in the same way.
    """
    if inbound == old_inbound or old_age_ms > SIMULTANEOUS_MS:
        return inbound
    return (my_id < their_id) != inbound  # made by the lower of the two
