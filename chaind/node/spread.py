"""What consensus says to all, in a network too large for everyone to talk to everyone.

Votes and certificates leave as bundles over the overlay; proposals are passed on from node to node
once their bodies are held. The links are the connected validators among the neighbours that the
graph gives; where fewer are connected than it has, other validators take their places. Peers that
are no links hear what is asked and answered, as ever; full nodes are told what became final.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from chaind.consensus.core import Certificates, CoreMessage, Propose, Votes
from chaind.consensus.gossip import FLUSH_MS, Gossip
from chaind.consensus.overlay import DEGREE, MESH_MAX, make_graph
from chaind.consensus.quorums import Quorums
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.rules import EPOCH
from chaind.node.timers import Timers
from chaind.primitives.codec import encode
from chaind.primitives.genesis import Genesis
from chaind.primitives.votes import Certificate, Vote, VoteBundle

NOBODY = 0  # no peer has this number
RECEIVED_MAX = 16  # proposals kept for their bodies; honest leaders have one or two under way


class Mesh:
    """Everyone talks to everyone: the engine sends to all what is for all, and that is all."""

    def peer_up(self, number: int, peer: Peer) -> None:
        """A peer, by the number that the engine gave it."""

    def peer_down(self, number: int) -> None:
        """A peer less."""

    def say(self, message: CoreMessage, shown: wire.Message) -> bool:  # noqa: ARG002
        """Tell a message of the core, on the wire `shown`; False for what goes to all peers."""
        return False

    def received(self, proposal: Propose, shown: wire.Proposal, source: int) -> None:
        """A peer's proposal, to be passed on once its body is `held`.

        `proposal` has of the certificates those that were checked: nobody is told others, for which
        it would have to blame us.
        """

    def held(self, block_hash: bytes) -> None:
        """The body is here, so that others can have it from us."""

    def news(self, number: int, bundles: Iterable[VoteBundle]) -> list[Vote]:  # noqa: ARG002
        """The votes of a peer's bundles that are not held here, unchecked."""
        return [vote for bundle in bundles for vote in bundle.votes()]

    def took(self, number: int, votes: Iterable[Vote]) -> None:
        """Checked votes, that the core wants."""

    def heard_proposal(self, number: int, proposal: Propose) -> None:
        """One that was passed on before."""

    def heard_status(self, number: int, view: int) -> None:
        """Where a peer stands."""

    def completed(self) -> list[Certificate]:
        """See `Gossip.completed`."""
        return []

    def forget(self, view: int) -> None:
        """A block of this view is final."""

    def pace(self) -> None:
        """Send what is urgent, and the rest when it is due."""

    def stop(self) -> None:
        """Send nothing more."""


class Spread(Mesh):
    """See the module's law. `near` are this node's neighbours in the graph, `keys` all validators.

    Peers have the numbers that the engine gave them. `broadcast` sends to some of them.
    """

    def __init__(
        self,
        *,
        gossip: Gossip,
        near: Sequence[int],
        keys: Sequence[bytes],
        broadcast: Callable[[wire.Message, Iterable[Peer]], None],
        timers: Timers,
    ) -> None:
        self._gossip = gossip
        self._near = frozenset(keys[index] for index in near)
        self._validators = frozenset(keys)
        self._broadcast = broadcast
        self._timers = timers
        self._peers: dict[int, Peer] = {}  # validators that are connected, longest first
        self._links: dict[int, Peer] = {}
        # Proposals whose body is awaited, by block.
        self._received: dict[bytes, tuple[Propose, wire.Proposal, int]] = {}
        self._flushing: asyncio.TimerHandle | None = None

    # Peers.

    def peer_up(self, number: int, peer: Peer) -> None:
        """See `Mesh`."""
        if peer.validator_key in self._validators:
            self._peers[number] = peer
            self._choose()

    def peer_down(self, number: int) -> None:
        """See `Mesh`."""
        if self._peers.pop(number, None) is not None:
            self._choose()

    def _choose(self) -> None:
        chosen = [
            number for number, peer in self._peers.items() if peer.validator_key in self._near
        ]
        others = [number for number in self._peers if number not in chosen]
        chosen += others[: max(0, len(self._near) - len(chosen))]
        for number in [number for number in self._links if number not in chosen]:
            del self._links[number]
            self._gossip.link_down(number)
        for number in chosen:
            if number not in self._links:
                self._links[number] = self._peers[number]
                self._gossip.link_up(number)

    # To all.

    def say(self, message: CoreMessage, shown: wire.Message) -> bool:
        """See `Mesh`."""
        match message:
            case Votes(votes):
                self._gossip.say_votes(votes)
            case Certificates(certificates):
                self._gossip.say_certificates(certificates)
            case Propose() if isinstance(shown, wire.Proposal):
                self._pass_on(message, shown, None)
            case Propose(_, _, vote):  # its block is final meanwhile
                self._gossip.say_votes((vote,))
            case _:
                return False
        return True

    def received(self, proposal: Propose, shown: wire.Proposal, source: int) -> None:
        """See `Mesh`."""
        if len(self._received) >= RECEIVED_MAX:
            self._received.pop(next(iter(self._received)))
        self._received[proposal.block.hash] = (proposal, shown, source)

    def held(self, block_hash: bytes) -> None:
        """See `Mesh`."""
        found = self._received.pop(block_hash, None)
        if found is not None:
            self._pass_on(*found)

    def _pass_on(self, proposal: Propose, shown: wire.Proposal, source: int | None) -> None:
        """To the links that are not known to hold it, with the certificates that they lack."""
        ways: dict[tuple[Certificate, ...], list[Peer]] = {}
        for link, why in self._gossip.spread(proposal, source):
            ways.setdefault(why, []).append(self._links[link])
        for why, peers in ways.items():
            self._broadcast(structs.replace(shown, justification=why), peers)

    # From peers.

    def news(self, number: int, bundles: Iterable[VoteBundle]) -> list[Vote]:
        """See `Mesh`."""
        return [vote for bundle in bundles for vote in self._gossip.news(number, bundle)]

    def took(self, number: int, votes: Iterable[Vote]) -> None:
        """See `Mesh`."""
        self._gossip.took(number, votes)

    def heard_proposal(self, number: int, proposal: Propose) -> None:
        """See `Mesh`."""
        self._gossip.heard_proposal(number, proposal)

    def heard_status(self, number: int, view: int) -> None:
        """See `Mesh`."""
        self._gossip.heard_status(number, view)

    def completed(self) -> list[Certificate]:
        """See `Mesh`."""
        return self._gossip.completed()

    # Pace.

    def forget(self, view: int) -> None:
        """See `Mesh`."""
        self._gossip.forget(view)
        for block_hash, (proposal, _, _) in list(self._received.items()):
            if proposal.block.view <= view:
                del self._received[block_hash]

    def pace(self) -> None:
        """See `Mesh`."""
        if self._gossip.urgent:
            self._flush()
        elif self._gossip.waiting and self._flushing is None:
            self._flushing = self._timers.call_later(FLUSH_MS / 1000, self._due)

    def stop(self) -> None:
        """See `Mesh`."""
        if self._flushing is not None:
            self._flushing.cancel()

    def _due(self) -> None:
        self._flushing = None
        self._flush()
        self.pace()

    def _flush(self) -> None:
        for link, bundles in self._gossip.flush():
            self._broadcast(wire.Bundles(bundles), (self._links[link],))


def make_spread(
    genesis: Genesis,
    me: int | None,
    quorums: Quorums,
    broadcast: Callable[[wire.Message, Iterable[Peer]], None],
    timers: Timers,
) -> Mesh:
    """Gossip over the overlay for a validator among many; for all others the mesh."""
    parameters = genesis.consensus
    keys = [validator.key for validator in genesis.validators]
    mesh_max, degree = parameters.mesh_max or MESH_MAX, parameters.overlay_degree or DEGREE
    if me is None or len(keys) <= mesh_max:
        return Mesh()
    graph = make_graph(encode((genesis.hash, EPOCH)), len(keys), degree)
    return Spread(
        gossip=Gossip(epoch=EPOCH, quorums=quorums),
        near=graph[me],
        keys=keys,
        broadcast=broadcast,
        timers=timers,
    )
