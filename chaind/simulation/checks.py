"""What must always hold, looked at while it happens: finality, votes, money, promises to clients.

Cheap invariants are checked at every event that could break them; `Audit` in `audit.py` has the
dear ones. Nothing here is told by a node what to believe: sums are kept beside the ledger.
"""

from collections.abc import Sequence

from chaind.consensus.evidence import contradict
from chaind.consensus.records import encode_record
from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.node.events import DroppedEvent, Event, FinalEvent
from chaind.node.node import Node
from chaind.node.tally import Tally
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.votes import CertificateKind, Vote, VoteKind
from chaind.simulation.disk import CrashDisk
from chaind.simulation.program import Program
from chaind.simulation.world import World


class Checks:
    """The memory of one simulation about what its honest nodes said and made final."""

    def __init__(self, world: World, genesis: Genesis) -> None:
        self._world = world
        self._tally = Tally(genesis)
        self.blocks: list[Block] = []  # final ones from height 1 on
        self.heights: dict[str, int] = {}  # newest final height told by a machine's node
        self.final_txids: dict[bytes, int] = {}  # and their heights
        self._genesis = genesis
        self._votes: dict[tuple[int, int], list[Vote]] = {}  # by voter and view
        self._spoken: dict[int, set[Vote]] = {}

    # Finality.

    def started(self, program: Program, node: Node) -> None:
        """A node has recovered: it stands at least where it said that it stood."""
        name, height = program.machine.name, node.chain.final.height
        told = self.heights.get(name, 0)
        if height < told:
            self._world.fail(f"{name} came back at height {height}, it had told {told} as final")
        if node.observes:
            self._world.fail(f"{name} came back with a vote log that does not say all it said")
        self.heights[name] = height
        node.events.subscribe(lambda event: self._heard(program, event))

    def _heard(self, program: Program, event: Event) -> None:
        process = program.machine.process
        if process is None or program.node is None:
            return  # what a dead program tells while it unwinds
        if isinstance(event, FinalEvent):
            self._final(program, event)
        elif isinstance(event, DroppedEvent):
            self._world.point(f"transaction {event.reason.split()[0]}")
            if event.ended and event.txid in self.final_txids:
                self._world.fail(
                    f"{program.machine.name} tells {event.txid.hex()} as {event.reason}, "
                    f"which is final at {self.final_txids[event.txid]}"
                )

    def _final(self, program: Program, event: FinalEvent) -> None:
        world, name, block = self._world, program.machine.name, event.block
        height = block.height
        if height != self.heights[name] + 1:
            world.fail(f"{name} made height {height} final after {self.heights[name]}")
        self.heights[name] = height
        world.trace.note(name, f"final {height} {block.hash[::-1].hex()[:16]}")
        if event.certificate is not None:
            kind = event.certificate.kind
            world.point("fast path" if kind is CertificateKind.FAST else "slow path")
        else:
            world.point("finalised by a descendant")
        if height <= len(self.blocks):
            if self.blocks[height - 1].hash != block.hash:
                world.fail(f"{name} made another block final at height {height}")
            return
        if height != len(self.blocks) + 1:
            world.fail(f"{name} made height {height} final, {len(self.blocks)} was the highest")
            return
        self._new(block)

    def _new(self, block: Block) -> None:
        """A height is final for the first time anywhere."""
        world = self._world
        before = self.blocks[-1].commitment if self.blocks else None
        time_ms = self._genesis.time_ms if before is None else before.time_ms
        view = 0 if before is None else before.view
        assert time_ms is not None
        if block.commitment.view > view + 1:
            world.point("view without a block")
        for complaint in self._tally.block(block, time_ms):
            world.fail(f"block {block.height}: {complaint}")
        for transaction in block.transactions:
            self.final_txids[transaction.txid] = block.height
        self.blocks.append(block)

    # Votes.

    def says(self, program: Program, message: Message) -> None:
        """An honest node is about to send a message; its own votes bind it."""
        votes: Sequence[Vote]
        match message:
            case wire.Votes(votes):
                pass
            case wire.Proposal():
                votes = (message.vote,)
            case _:
                self._count(message)
                return
        node = program.node
        me = None if node is None else node.validator_index
        if node is None or me is None:
            return
        spoken = self._spoken.setdefault(me, set())
        for vote in votes:
            if vote.voter == me and vote not in spoken:
                spoken.add(vote)
                self._own_vote(program, node, vote)

    def _own_vote(self, program: Program, node: Node, vote: Vote) -> None:
        world, name = self._world, program.machine.name
        about = "⊥" if vote.block is None else vote.block[::-1].hex()[:8]
        what = f"{vote.kind.name}(view {vote.view}, {about})"
        world.trace.note(name, f"votes {what}")
        if vote.kind is VoteKind.FIRST:
            world.point("FIRST" if vote.block is not None else "FIRST(⊥)")
        else:
            world.point(vote.kind.name)
        earlier = self._votes.setdefault((vote.voter, vote.view), [])
        for one in earlier:
            if contradict(one, vote):
                world.fail(f"{name} votes {what} after {one.kind.name}({one.block!r})")
        earlier.append(vote)
        disk = program.machine.disk
        if not _is_durable(disk, "votes-", encode_record(vote)):
            world.fail(f"{name} sends {what} before its record is durable")
        if vote.block is not None:
            candidate = node.chain.candidate(vote.block)
            if candidate is not None:
                header = candidate.body.block.header_bytes
                if not _is_durable(disk, "bodies-", header):
                    world.fail(f"{name} sends {what} before the block's body is durable")

    def _count(self, message: Message) -> None:
        """Ways that are worth having been gone."""
        point = self._world.point
        match message:
            case wire.Certificates(certificates):
                if any(one.kind is CertificateKind.NULL for one in certificates):
                    point("nullified view")
            case wire.GetBlock():
                point("block fetched")
            case wire.GetBlockTransactions():
                point("compact block completed")
            case wire.GetCertificates():
                point("jump")
            case wire.GetBlocks():
                point("state catch-up")
            case wire.GetTransactions():
                point("announced transaction fetched")


def _is_durable(disk: CrashDisk, prefix: str, record: bytes) -> bool:
    """Whether a log holds these bytes where no crash can take them."""
    return any(
        path.name.startswith(prefix) and content.durable_holds(record)
        for path, content in disk.durable_names.items()
    )
