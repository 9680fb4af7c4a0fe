"""What must always hold among validators: votes bind, and are durable before they leave."""

from collections.abc import Sequence

from chaind.consensus.evidence import contradict
from chaind.consensus.records import encode_record
from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.node.events import FinalEvent
from chaind.node.node import Node
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import CertificateKind, Vote, VoteKind
from chaind.simulation.checks import Checks
from chaind.simulation.disk import CrashDisk
from chaind.simulation.program import Program
from chaind.simulation.world import World


class VoteChecks(Checks):
    """See the module's law."""

    def __init__(self, world: World, genesis: Genesis) -> None:
        super().__init__(world, genesis)
        self._votes: dict[tuple[int, int], list[Vote]] = {}  # by voter and view
        self._spoken: dict[int, set[Vote]] = {}

    def started(self, program: Program, node: Node) -> None:
        """See `Checks`."""
        if node.observes:
            name = program.machine.name
            self._world.fail(f"{name} came back with a vote log that does not say all it said")
        super().started(program, node)

    def _made_final(self, event: FinalEvent) -> None:
        if event.certificate is not None:
            kind = event.certificate.kind
            self._world.point("fast path" if kind is CertificateKind.FAST else "slow path")
        else:
            self._world.point("finalised by a descendant")

    def _chain_time_ms(self, block: Block) -> int:
        before = self.blocks[-1].commitment if self.blocks else None
        time_ms = self._genesis.time_ms if before is None else before.time_ms
        assert time_ms is not None
        if block.commitment.view > (0 if before is None else before.view) + 1:
            self._world.point("view without a block")
        return time_ms

    def hears(self, program: Program, message: Message) -> None:
        """See `Checks`: who votes is bound by what it says, not by what it hears."""

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
        about = "⊥" if vote.block is None else display_hash(vote.block)[:8]
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
