"""What all liars share: the node's own code, with a liar between it and its connections.

Law: an adversary has its own key and nobody else's, and sends what it likes to whom it likes. What
it runs and keeps is sound, so that its lies are timely and well informed.
"""

from collections.abc import Iterable, Sequence
from random import Random

from chaind.network.messages import Message
from chaind.network.peer import Peer
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import KeyWitness, Transaction
from chaind.simulation.program import Program

Said = Iterable[tuple[Peer, Message]]
SLOW_S = 0.4  # how long a slow peer reads nothing, again and again


class Liar:
    """`lies` counts how often it did."""

    def __init__(self, genesis: Genesis, key: SecretKey, rng: Random) -> None:
        self.program: Program | None = None
        self.genesis = genesis
        self.key = key
        self.rng = rng
        self.lies = 0

    def swapped(self, transaction: Transaction) -> Transaction:
        """The same transaction with a witness that does not hold."""
        self.lies += 1
        forged = KeyWitness(self.key.public, self.key.sign(transaction.sighash))
        return Transaction(transaction.body, (forged,) * len(transaction.witnesses))


def to_all(peers: Iterable[Peer], message: Message) -> list[tuple[Peer, Message]]:
    """The same to each of them."""
    return [(peer, message) for peer in peers]


def garbage(self: Liar, message: Message, peers: Sequence[Peer]) -> Said:
    """Frames that hold no message."""
    if self.rng.random() < 0.02:
        self.lies += 1
        for peer in peers:
            peer.connection.send(self.rng.randbytes(self.rng.randint(1, 300)))
    return to_all(peers, message)


def be_slow(self: Liar, message: Message, peers: Sequence[Peer]) -> Said:
    """Nothing is read for a while, again and again."""
    if self.rng.random() < 0.02:
        self.lies += 1
        for peer in peers:
            transport = peer.connection._transport
            if transport is not None:
                transport.pause_reading()
                peer.connection._loop.call_later(5 * SLOW_S, transport.resume_reading)
    return to_all(peers, message)
