"""What must always hold, looked at while it happens: finality, money, promises to clients.

Cheap invariants are checked at every event that could break them; `Audit` in `audit.py` has the
dear ones. Nothing here is told by a node what to believe: sums are kept beside the ledger.
"""

from abc import ABC, abstractmethod

from chaind.market.events import Matched
from chaind.network.messages import Message
from chaind.node.events import DroppedEvent, Event, FinalEvent
from chaind.node.node import Node
from chaind.node.tally import Tally
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.simulation.program import Program
from chaind.simulation.world import World


class Checks(ABC):
    """The memory of one simulation about what its honest nodes said and made final."""

    def __init__(self, world: World, genesis: Genesis) -> None:
        self._world = world
        self._tally = Tally(genesis)
        self.blocks: list[Block] = []  # final ones from height 1 on
        self.heights: dict[str, int] = {}  # newest final height told by a machine's node
        self.final_txids: dict[bytes, int] = {}  # and their heights
        self._genesis = genesis

    # Finality.

    def started(self, program: Program, node: Node) -> None:
        """A node has recovered: it stands at least where it said that it stood."""
        name, height = program.machine.name, node.chain.final.height
        told = self.heights.get(name, 0)
        if height < told:
            self._world.fail(f"{name} came back at height {height}, it had told {told} as final")
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
        world.trace.note(name, f"final {height} {display_hash(block.hash)[:16]}")
        self._made_final(event)
        if height <= len(self.blocks):
            if self.blocks[height - 1].hash != block.hash:
                world.fail(f"{name} made another block final at height {height}")
            return
        if height != len(self.blocks) + 1:
            world.fail(f"{name} made height {height} final, {len(self.blocks)} was the highest")
            return
        self._new(block)
        self._note_trades(event)

    def _new(self, block: Block) -> None:
        """A height is final for the first time anywhere."""
        world = self._world
        for complaint in self._tally.block(block, self._chain_time_ms(block)):
            world.fail(f"block {block.height}: {complaint}")
        for transaction in block.transactions:
            self.final_txids[transaction.txid] = block.height
        self.blocks.append(block)

    def _note_trades(self, event: FinalEvent) -> None:
        for receipt in event.receipts:
            if receipt.refused is not None:
                self._world.point("order refused by the book")
            elif any(isinstance(one, Matched) for one in receipt.events):
                self._world.point("orders traded")

    # What modes know of it.

    @abstractmethod
    def _made_final(self, event: FinalEvent) -> None:
        """A node has made a block final, whoever did before."""

    @abstractmethod
    def _chain_time_ms(self, block: Block) -> int:
        """The time that the transactions of the next final block have; `blocks` end before it."""

    @abstractmethod
    def says(self, program: Program, message: Message) -> None:
        """An honest node is about to send a message."""

    @abstractmethod
    def hears(self, program: Program, message: Message) -> None:
        """A message reaches an honest node, or would if no fault kept it."""
