"""Lying miners: the tap of one, and what it does with a template when it has found a block.

Each kind is a `Way`. Those that keep blocks back are in `hiding`, those that make blocks which
nobody may take in `forging`; here is what both need, and lies about headers that others made.
"""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.network.peer import Peer
from chaind.node.node import Node
from chaind.primitives.block import HEADER_BYTES, Block, Header
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import sha256d
from chaind.primitives.keys import SecretKey
from chaind.primitives.work import target_of
from chaind.simulation.liars import SLOW_S, Liar, Said, to_all
from chaind.simulation.miners import Miner, solve, work_engine
from chaind.simulation.pow_checks import PowChecks
from chaind.simulation.program import Program
from chaind.simulation.world import World

SPOIL_SHARE = 0.3  # of bodies: who never tells the truth is soon without peers
WATCH_S = 0.1  # how often a liar looks at what the others have found


class Way(NamedTuple):
    """A kind of lying: what is said instead, what becomes of a found block, what is watched for."""

    say: Callable[["MiningLiar", Message, Sequence[Peer]], Said]
    found: Callable[["MiningLiar", Node, Block], Awaitable[None]]
    watch: Callable[["MiningLiar", Node], None]


class MiningLiar(Liar):
    """`Tap` of a lying miner."""

    def __init__(
        self,
        way: Way,
        genesis: Genesis,
        key: SecretKey,
        rng: Random,
        world: World,
        checks: PowChecks,
    ) -> None:
        super().__init__(genesis, key, rng)
        self.way = way
        self.world = world
        self.checks = checks
        self.slow = False
        self.private: set[bytes] = set()  # own blocks that nobody else has seen
        self.due: list[tuple[float, bytes]] = []  # when to show which of them
        self.seen = b""  # the best public block when it was looked at last
        self.forged: dict[bytes, bytes] = {}  # what its own node would not take
        self.withheld: dict[bytes, str | None] = {}  # own bodies, and the one peer who gets each

    def incoming(self, _peer: Peer, _message: Message) -> Sequence[float]:
        """See `Tap`."""
        return (self.rng.uniform(0.0, SLOW_S),) if self.slow else (0.0,)

    def outgoing(self, message: Message, peers: Sequence[Peer]) -> Said:
        """See `Tap`. What is private is never said, and what was forged is stood by."""
        match message:
            case wire.Headers(records) if self.private:
                message = wire.Headers(self._public_part(records))
            case wire.BlockData(block_hash, None):
                message = wire.BlockData(block_hash, self.forged.get(block_hash))
        return self.way.say(self, message, peers)

    def _public_part(self, records: bytes) -> bytes:
        for at in range(0, len(records), HEADER_BYTES):
            if sha256d(records[at : at + HEADER_BYTES]) in self.private:
                return records[:at]
        return records

    def announce(self, node: Node, records: bytes) -> None:
        """Headers to everybody."""
        for peer in node.network.peers():
            node.network.send(peer, wire.Headers(records))

    def forge(self, node: Node, block: Block) -> None:
        """Announce a block, and hand it out to whoever asks, whatever the own node thinks of it."""
        self.lies += 1
        self.forged[block.hash] = block.encode()
        self.announce(node, block.header_bytes)


class LyingMiner(Miner):
    """A miner that does with its blocks what its liar says."""

    slice_s = WATCH_S

    def __init__(self, liar: MiningLiar, *, program: Program, address: bytes, rate: float) -> None:
        super().__init__(
            world=liar.world,
            program=program,
            checks=liar.checks,
            address=address,
            rate=rate,
            rng=liar.rng,
        )
        self._liar = liar

    async def _found(self, node: Node) -> None:
        template = work_engine(node).next_block.template(self._address, self._rng.randbytes(8))
        await self._liar.way.found(self._liar, node, template)

    def _look(self, node: Node) -> None:
        self._liar.way.watch(self._liar, node)


def sealed(block: Block, **header: int) -> Block:
    """The block with its work done, and other fields of its header where given."""
    changed = msgspec.structs.replace(block.header, **header)
    done = Header.decode(solve(changed.encode(), target_of(changed.bits)))
    return Block(done, block.coinbase_bytes, block.commitment_bytes, block.transactions)


async def hand_in(self: MiningLiar, node: Node, block: Block) -> bool:
    """Have the own node take a block; whether it did."""
    try:
        await work_engine(node).submit(block)
    except ChaindError as error:
        self.world.trace.note("liar", f"keeps no block {block.height}: {error}")
        return False
    return True


async def mine(self: MiningLiar, node: Node, template: Block) -> None:
    """As an honest miner."""
    await hand_in(self, node, sealed(template))


def tell_all(_self: MiningLiar, message: Message, peers: Sequence[Peer]) -> Said:
    """Nothing but what the node says."""
    return to_all(peers, message)


def watch_nothing(_self: MiningLiar, _node: Node) -> None:
    """What others find is no reason to do anything."""


def lie_about_headers(self: MiningLiar, message: Message, peers: Sequence[Peer]) -> Said:
    """Answers that are cut short, out of order, or not headers of this chain at all."""
    match message:
        case wire.Tip(height):
            return to_all(peers, wire.Tip(height + self.rng.choice((0, 5, 10**6))))
        case wire.Headers(records) if records and self.rng.random() < 0.3:
            self.lies += 1
            split = [records[at : at + HEADER_BYTES] for at in range(0, len(records), HEADER_BYTES)]
            said = (b"", b"".join(split[:-1]), b"".join(reversed(split)), records + split[0])
            return to_all(peers, wire.Headers(self.rng.choice(said)))
        case wire.BlockData(block_hash) | wire.CompactBlock(block_hash):
            if self.rng.random() < 0.3:
                self.lies += 1
                return to_all(peers, wire.BlockData(block_hash, None))
    return to_all(peers, message)


def spoil(self: MiningLiar, message: Message, peers: Sequence[Peer]) -> Said:
    """Bodies that are not those of their headers, in short, in parts and whole."""
    if self.rng.random() >= SPOIL_SHARE:
        return to_all(peers, message)
    rng = self.rng
    match message:
        case wire.CompactBlock(block_hash, _, commitment, wtxids):
            self.lies += 1
            odd: list[Message] = [
                msgspec.structs.replace(message, wtxids=(*wtxids, rng.randbytes(32))),
                msgspec.structs.replace(message, wtxids=tuple(reversed(wtxids))),
                msgspec.structs.replace(message, wtxids=(*wtxids, *wtxids[-1:])),
                msgspec.structs.replace(message, coinbase=encode_coinbase(rng.randrange(1000))),
                msgspec.structs.replace(message, commitment=commitment[:-1]),
                wire.BlockData(block_hash, rng.randbytes(200)),
            ]
            return to_all(peers, rng.choice(odd))
        case wire.BlockTransactions(block_hash, raws):
            self.lies += 1
            parts = (raws[:-1], (*raws, *raws), ())
            return to_all(peers, wire.BlockTransactions(block_hash, rng.choice(parts)))
        case wire.BlockData(block_hash, raw) if raw is not None:
            self.lies += 1
            return to_all(peers, wire.BlockData(block_hash, raw[: rng.randrange(len(raw))]))
    return to_all(peers, message)


def spam(self: MiningLiar, message: Message, peers: Sequence[Peer]) -> Said:
    """Forged transactions in gossip, and questions without end."""
    said = to_all(peers, message)
    if self.rng.random() < 0.05:
        self.lies += 1
        node = None if self.program is None else self.program.node
        pending = [] if node is None else list(node.pool.entries())[:10]
        forged = [self.swapped(entry.checked.transaction).raw for entry in pending]
        if forged:
            said += to_all(peers, wire.Transactions(tuple(forged)))
        said += to_all(peers, wire.GetHeaders((self.genesis.hash,)))
    return said
