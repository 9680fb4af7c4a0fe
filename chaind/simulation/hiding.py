"""Miners that keep back what they found: selfish ones, withholding ones, and hoarders of bodies."""

from collections.abc import Sequence

from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.tree import Tree
from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.network.peer import Peer
from chaind.node.node import Node
from chaind.primitives.block import Block
from chaind.simulation.liars import Said, to_all
from chaind.simulation.miners import work_engine
from chaind.simulation.pow_liars import MiningLiar, hand_in, sealed

NEVER_SHARE = 0.5  # of withheld blocks that nobody ever sees
LATE_S = (0.5, 10.0)  # until the others are shown


async def mine_in_secret(self: MiningLiar, node: Node, template: Block) -> None:
    """Selfish mining: one more on the private branch, shown at once where that wins a race."""
    tree, block = work_engine(node).tree, sealed(template)
    racing = not self.private and _has_rival(tree, tree.get(block.parent))
    if await _keep(self, node, block) and racing:
        publish(self, node, tree.get(block.hash))


async def _keep(self: MiningLiar, node: Node, block: Block) -> bool:
    """A block for the own node alone; whether it took it."""
    self.private.add(block.hash)
    taken = await hand_in(self, node, block)
    if not taken:
        self.private.discard(block.hash)
    return taken


def _has_rival(tree: Tree, entry: Entry | None) -> bool:
    """Whether another block weighs as much."""
    return entry is not None and any(
        other.chainwork == entry.chainwork and other is not entry for other in tree.above(tree.base)
    )


def race(self: MiningLiar, node: Node) -> None:
    """Eyal and Sirer's rule: what the lead was when the others found a block says what to show."""
    public, own = _standing(self, node)
    if public.hash == self.seen:
        return
    self.seen = public.hash
    if own is None:
        return
    lead = own.height - public.height
    if public.chainwork > own.chainwork:
        self.private.clear()  # lost: the own node follows the others
    elif lead <= 1:
        publish(self, node, own)
    else:
        tree = work_engine(node).tree
        publish(self, node, tree.ancestor(own, max(public.height, tree.base.height)))


def publish(self: MiningLiar, node: Node, tip: Entry | None) -> None:
    """Show a private branch up to a block."""
    records: list[bytes] = []
    at = tip
    while at is not None and at.hash in self.private:
        self.private.discard(at.hash)
        records.append(at.header)
        at = at.parent
    if records:
        self.lies += 1
        self.world.point("private branch published")
        self.announce(node, b"".join(reversed(records)))


def _standing(self: MiningLiar, node: Node) -> tuple[Entry, Entry | None]:
    """The best block that everybody can see, and the best private one."""
    tree = work_engine(node).tree
    entries = [entry for entry in tree.above(tree.base) if not entry.invalid]
    self.private &= {entry.hash for entry in entries}
    public = max((one for one in entries if one.hash not in self.private), key=_work)
    own = max((one for one in entries if one.hash in self.private), key=_work, default=None)
    return public, own


def _work(entry: Entry) -> tuple[int, int]:
    return entry.chainwork, -entry.order


async def withhold(self: MiningLiar, node: Node, template: Block) -> None:
    """A block for nobody, or for later."""
    block = sealed(template)
    if await _keep(self, node, block):
        self.lies += 1
        if self.rng.random() >= NEVER_SHARE:
            self.due.append((self.world.loop.time() + self.rng.uniform(*LATE_S), block.hash))


def show_late(self: MiningLiar, node: Node) -> None:
    """What was found a while ago, and by now may be of no use to anybody."""
    now = self.world.loop.time()
    due = [block_hash for at, block_hash in self.due if at <= now]
    self.due = [(at, block_hash) for at, block_hash in self.due if at > now]
    for block_hash in due:
        publish(self, node, work_engine(node).tree.get(block_hash))


async def hoard(self: MiningLiar, node: Node, template: Block) -> None:
    """A header for everybody, and a body for nobody, or for one."""
    block = sealed(template)
    peers = node.network.peers()
    chosen = self.rng.choice([None, *peers])
    self.withheld[block.hash] = None if chosen is None else chosen.node_id
    self.checks.withheld.add(block.hash)
    self.lies += 1
    await hand_in(self, node, block)


def keep_bodies(self: MiningLiar, message: Message, peers: Sequence[Peer]) -> Said:
    """Silence for who asks for a withheld body and is not chosen, or a lie."""
    if not isinstance(message, wire.BlockData | wire.CompactBlock | wire.BlockTransactions):
        return to_all(peers, message)
    if message.block_hash in self.withheld:
        chosen = [one for one in peers if one.node_id == self.withheld[message.block_hash]]
        others = [one for one in peers if one not in chosen and self.rng.random() < 0.5]
        denied = wire.BlockData(message.block_hash, None)
        return [*to_all(chosen, message), *to_all(others, denied)]
    return to_all(peers, message)
