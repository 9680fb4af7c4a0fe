"""Byzantine validators: what they say of blocks, votes, certificates and transactions."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.network.peer import Peer
from chaind.node.rules import EPOCH
from chaind.primitives.block import BFT_BITS, Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import Lease, Transaction
from chaind.primitives.votes import Vote, VoteKind, vote_digest
from chaind.simulation.liars import SLOW_S, Liar, Said, be_slow, garbage, to_all

MEMORY = 200  # old messages that a liar keeps to send again
SPAM = 40  # transactions in one burst


class Adversary(Liar):
    """`Tap` of a Byzantine node. `lie` is its kind of lying, `to` what it does to what it hears."""

    def __init__(self, kind: str, genesis: Genesis, key: SecretKey, rng: Random) -> None:
        super().__init__(genesis, key, rng)
        self.kind = kind
        self.me = [validator.key for validator in genesis.validators].index(key.public)
        self.old: deque[Message] = deque(maxlen=MEMORY)
        self._lie: Callable[[Adversary, Message, Sequence[Peer]], Said] = KINDS[kind]

    def incoming(self, _peer: Peer, message: Message) -> Sequence[float]:
        """See `Tap`."""
        if isinstance(message, wire.Transactions) and len(message.raws) <= SPAM:
            self.old.append(message)
        if self.kind == "slow peer":
            return (self.rng.uniform(0.0, SLOW_S),)
        return (0.0,)

    def outgoing(self, message: Message, peers: Sequence[Peer]) -> Said:
        """See `Tap`."""
        return self._lie(self, message, peers)

    # Tools.

    def halves(self, peers: Sequence[Peer]) -> tuple[list[Peer], list[Peer]]:
        """Two groups of peers, by chance."""
        mixed = self.rng.sample(list(peers), len(peers))
        return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]

    def vote(self, view: int, kind: VoteKind, block: bytes | None) -> Vote:
        """Any vote, signed."""
        self.lies += 1
        digest = vote_digest(self.genesis.hash, EPOCH, view, kind, block)
        return Vote(EPOCH, view, kind, block, self.me, self.key.sign(digest))

    def block_of(self, proposal: wire.Proposal) -> Block | None:
        """The block that the honest part of this node proposes."""
        node = None if self.program is None else self.program.node
        block_hash = proposal.vote.block
        candidate = None if node is None or block_hash is None else node.chain.candidate(block_hash)
        return None if candidate is None else candidate.body.block

    def proposal(
        self, real: wire.Proposal, block: Block, transactions: Sequence[Transaction], **said: object
    ) -> wire.Proposal:
        """Another block for the same view, its FIRST signed."""
        other = Block.assemble(
            parent=block.parent,
            time=block.header.time,
            bits=BFT_BITS,
            coinbase=block.coinbase_bytes,
            commitment=msgspec.structs.replace(block.commitment, **said),
            transactions=transactions,
        )
        return msgspec.structs.replace(
            real,
            header=other.header_bytes,
            commitment=other.commitment_bytes,
            wtxids=tuple(transaction.wtxid for transaction in transactions),
            vote=self.vote(real.vote.view, VoteKind.FIRST, other.hash),
        )


def _equivocate(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Two blocks for one view, each to a part of the network."""
    if not isinstance(message, wire.Proposal) or (block := self.block_of(message)) is None:
        return to_all(peers, message)
    one, other = self.halves(peers)
    time_ms = block.commitment.time_ms
    assert time_ms is not None
    later = time_ms + 1 if (time_ms + 1) // 1000 == time_ms // 1000 else time_ms - 1
    second = self.proposal(message, block, block.transactions, time_ms=later)
    return [*to_all(one, message), *to_all(other, second)]


def _withhold(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Own votes to some peers only, or to none."""
    if isinstance(message, wire.Votes | wire.Proposal):
        self.lies += 1
        return to_all((peer for peer in peers if self.rng.random() < 0.4), message)
    return to_all(peers, message)


def _vote_twice(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """What an honest voter never signs both of, each to a part of the network."""
    if not isinstance(message, wire.Votes):
        return to_all(peers, message)
    one, other = self.halves(peers)
    lies: list[Vote] = []
    for vote in message.votes:
        if vote.voter != self.me:
            continue
        against = None if vote.block is not None else sha256(b"no block")
        lies.append(self.vote(vote.view, VoteKind.FIRST, against))
        if vote.block is not None:
            lies.append(self.vote(vote.view, VoteKind.NULLIFY, None))
            lies.append(self.vote(vote.view, VoteKind.FALLBACK, vote.block))
            lies.append(self.vote(vote.view, VoteKind.FINALIZE, vote.block))
    return [*to_all(one, message), *(to_all(other, wire.Votes(tuple(lies))) if lies else ())]


def _repeat_old(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Certificates, votes and standings of long ago, between the new ones."""
    said = to_all(peers, message)
    if isinstance(message, wire.Certificates | wire.Votes | wire.Status | wire.Proposal):
        if self.old and self.rng.random() < 0.5:
            self.lies += 1
            said += to_all(peers, self.rng.choice(self.old))
        self.old.append(message)
    return said


def _invalid_block(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Blocks that break a rule: money from nowhere in time, twice, or out of order."""
    if not isinstance(message, wire.Proposal) or (block := self.block_of(message)) is None:
        return to_all(peers, message)
    wrong = self.rng.randrange(3)
    if wrong == 0:
        return to_all(
            peers, self.proposal(message, block, block.transactions, height=block.height + 1)
        )
    if wrong == 1 and block.transactions:
        twice = (*block.transactions, block.transactions[0])
        return to_all(peers, self.proposal(message, block, twice))
    return to_all(peers, self.proposal(message, block, block.transactions, proposer=bytes(20)))


def _wrong_root(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Blocks on a state that nobody has."""
    if not isinstance(message, wire.Proposal) or (block := self.block_of(message)) is None:
        return to_all(peers, message)
    root = self.rng.randbytes(32)
    return to_all(peers, self.proposal(message, block, block.transactions, parent_root=root))


def _swap_witness(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Real transactions whose signatures do not hold, in gossip and in proposals."""
    if isinstance(message, wire.Transactions):
        raws = [self.swapped(Transaction.decode(raw)).raw for raw in message.raws]
        return to_all(peers, wire.Transactions(tuple(raws)))
    if isinstance(message, wire.Proposal):
        block = self.block_of(message)
        if block is not None and block.transactions:
            swapped = [self.swapped(one) for one in block.transactions]
            return to_all(peers, self.proposal(message, block, swapped))
    return to_all(peers, message)


def _lie_about_blocks(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Heights that nobody has, and ranges that are not what was asked for."""
    match message:
        case wire.Tip(height):
            self.lies += 1
            return to_all(peers, wire.Tip(height + self.rng.choice((1, 5, 10**6))))
        case wire.Status():
            self.lies += 1
            higher = message.final_height + self.rng.choice((1, 600))
            return to_all(peers, msgspec.structs.replace(message, final_height=higher))
        case wire.Blocks(start, raws, certificate):
            self.lies += 1
            lies: list[Message] = [
                wire.Blocks(start, (), None),
                wire.Blocks(start, raws[:-1], certificate),
                wire.Blocks(start, tuple(reversed(raws)), certificate),
            ]
            return to_all(peers, self.rng.choice(lies))
        case wire.BlockData(block_hash, raw) if raw is not None:
            self.lies += 1
            return to_all(peers, wire.BlockData(block_hash, None))
    return to_all(peers, message)


def _spam(self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Bursts of transactions that cannot be paid, leases of others, and questions."""
    said = to_all(peers, message)
    if self.rng.random() < 0.03:
        self.lies += 1
        node = None if self.program is None else self.program.node
        pending = [] if node is None else list(node.pool.entries())[:3]
        raws = []
        for entry in pending:
            body = entry.checked.transaction.body
            for _ in range(SPAM // 3):
                salt = self.rng.randbytes(8)
                lease = Lease(self.rng.randbytes(20), self.rng.randbytes(32), bytes(32))
                other = msgspec.structs.replace(body, salt=salt, lease=lease)
                raws.append(
                    self.swapped(Transaction(other, entry.checked.transaction.witnesses)).raw
                )
        if raws:
            said += to_all(peers, wire.Transactions(tuple(raws)))
        said += to_all(peers, wire.GetBlocks(1, wire.BLOCKS_MAX))
        said += to_all(peers, wire.GetCertificates(EPOCH, 1, 10**6))
    return said


def _tell_all(_self: Adversary, message: Message, peers: Sequence[Peer]) -> Said:
    """Nothing but the truth: a twin lies by being two."""
    return to_all(peers, message)


KINDS: dict[str, Callable[[Adversary, Message, Sequence[Peer]], Said]] = {
    "equivocating leader": _equivocate,
    "vote withholder": _withhold,
    "double voter": _vote_twice,
    "stale certificates": _repeat_old,
    "invalid block": _invalid_block,
    "wrong root": _wrong_root,
    "witness swapper": _swap_witness,
    "garbage": garbage,
    "slow peer": be_slow,
    "lying sync server": _lie_about_blocks,
    "spammer": _spam,
    "twins": _tell_all,
}
