"""Random schedules over an overlay: what a node says to all goes to its neighbours, bundled.

The laws are those of `simplex_network`: one chain, nobody contradicts itself, nothing is said
before it is durable, everyone finalises after GST. Messages get lost although links do not break,
which gossip is not made for: what is repeated has to heal it.
"""

from collections import Counter

from simplex_kit import EPOCH
from simplex_network import Network
from simplex_node import Node
from simplex_world import Broken

from chaind.consensus.core import Certificates, CoreMessage, Message, Propose, StatusMessage, Votes
from chaind.consensus.gossip import FLUSH_MS, Gossip
from chaind.consensus.overlay import Graph, make_graph
from chaind.consensus.quorums import check_certificate
from chaind.primitives.votes import VoteBundle, check_bundle_form, check_certificate_form

NOBODY = -1


class Mouth:
    """The gossip of one life of a node."""

    def __init__(self, net: "GossipNetwork", node: Node) -> None:
        self.net = net
        self.node = node
        self.life = node.life
        self.flushing = False
        self.gossip = Gossip(epoch=EPOCH, quorums=net.honest_quorums)
        for link in net.graph[node.number]:
            self.gossip.link_up(link)

    def say(self, message: CoreMessage) -> None:
        """What a core says to all."""
        match message:
            case Votes(votes):
                self.gossip.say_votes(votes)
            case Certificates(certificates):
                self.gossip.say_certificates(certificates)
            case Propose():
                self.spread(message, None)
            case _:
                for number in range(len(self.net.nodes)):
                    if number != self.node.number:
                        self.net.hand(self.node.number, number, message)
        self.pace()

    def spread(self, proposal: Propose, source: int | None) -> None:
        """Pass a proposal on."""
        for link, why in self.gossip.spread(proposal, source):
            shown = Propose(proposal.block, why, proposal.vote)
            self.net.hand(self.node.number, link, shown)

    def pace(self) -> None:
        """Flush now or later, and hear of certificates that have come together."""
        for certificate in self.gossip.completed():
            check_certificate_form(certificate)
            check_certificate(certificate, self.net.honest_quorums)
            if self.node.core.wants_certificate(certificate):
                self.net.world.seen["completed by gossip"] += 1
                self.node.step(Message(self.node.number, Certificates((certificate,))))
        if self.gossip.urgent:
            self.flush()
        elif self.gossip.waiting and not self.flushing:
            self.flushing = True
            self.net.later(FLUSH_MS, self.node.guard(self.due))

    def due(self) -> None:
        """The flush that was waited for."""
        self.flushing = False
        self.flush()
        self.pace()

    def flush(self) -> None:
        """Bundles to neighbours."""
        for link, bundles in self.gossip.flush():
            self.net.world.seen["bundle"] += 1
            self.net.hand(self.node.number, link, bundles)


class GossipNetwork(Network):
    """See the module. `degree` is what every node has of neighbours at least."""

    def __init__(self, seed: int, n: int, *, degree: int, mode: str | None = None) -> None:
        self.degree = degree
        self.mouths: dict[int, Mouth] = {}
        self.made: Graph | None = None
        super().__init__(seed, n, mode=mode)

    @property
    def graph(self) -> Graph:
        """Over all nodes that run: twins are two, the observer is one, the silent are none."""
        if self.made is None:
            twins = 2 * len(self.bad) if self.mode == "twins" else 0
            count = self.n - len(self.bad) + twins + 1
            self.made = make_graph(b"%d" % self.seed, count, self.degree)
        return self.made

    def mouth(self, node: Node) -> Mouth:
        """Of this life of the node. Links to the one before have broken, at both ends."""
        mouth = self.mouths.get(node.number)
        if mouth is None or mouth.life != node.life:
            mouth = self.mouths[node.number] = Mouth(self, node)
            for link in self.graph[node.number]:
                if (other := self.mouths.get(link)) is not None:
                    other.gossip.link_down(node.number)
                    other.gossip.link_up(node.number)
        return mouth

    def send(self, sender: Node, to: int | None, message: CoreMessage) -> None:
        """To all: by gossip. To one: as ever."""
        if to is not None:
            self.hand(sender.number, to, message)
            return
        self.mouth(sender).say(message)
        if self.chaos is not None and not self.silenced:
            self.chaos.receive(sender.number, message)

    def hand(self, sender: int, to: int, message: CoreMessage | tuple[VoteBundle, ...]) -> None:
        """From one node to another; twins tell each half of the network its own story."""
        if not 0 <= to < len(self.nodes):
            return
        speaker = self.nodes[sender]
        if speaker.honest or not (self.silenced or (to + sender) % 2 == 0):
            super().post(sender, self.nodes[to], message)

    def post(self, sender: int, node: Node, message: CoreMessage) -> None:
        """What the adversary says, over no link."""
        super().post(NOBODY, node, message)

    def arrive(
        self, sender: int, node: Node, message: CoreMessage | tuple[VoteBundle, ...]
    ) -> None:
        """What the shell does, on both ways."""
        if not node.up:
            return
        mouth, core, life = self.mouth(node), node.core, node.life
        gossip = mouth.gossip
        match message:
            case tuple():
                for bundle in message:
                    check_bundle_form(bundle)
                votes = [vote for bundle in message for vote in gossip.news(sender, bundle)]
                message = Votes(tuple(filter(core.wants_vote, votes)))
                gossip.took(sender, message.votes)
            case Votes(votes):
                gossip.took(sender, filter(core.wants_vote, votes))
            case Certificates(certificates):
                for one in filter(core.wants_certificate, certificates):
                    gossip.took(sender, one.votes())
            case Propose(block, why, vote) if core.wants_proposal(message):
                checked = Propose(block, tuple(filter(core.wants_certificate, why)), vote)
                mouth.spread(checked, sender)
            case Propose():
                gossip.heard_proposal(sender, message)
            case StatusMessage():
                gossip.heard_status(sender, message.view)
        super().arrive(sender, node, message)
        if node.up and node.life == life:
            gossip.forget(node.final_view)
            mouth.pace()


def run_seed(seed: int, *, n: int = 7, degree: int = 4, mode: str | None = None) -> Counter[str]:
    """One schedule; the seed is in the message of whatever breaks."""
    try:
        return GossipNetwork(seed, n, degree=degree, mode=mode).run()
    except AssertionError as error:
        raise Broken(f"seed {seed}, n = {n}, degree {degree}: {error}") from error
