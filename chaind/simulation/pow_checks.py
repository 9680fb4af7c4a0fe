"""What must always hold among miners: final blocks did their work, honest ones are never refused.

A block commits to the state of its parent, and every node executes it on its own: an honest
miner's block that another node finds invalid says that one of the two states is wrong, whatever
reorganisations led there.
"""

from collections.abc import MutableMapping
from typing import Any

from chaind.consensus.pow.times import MEDIAN_SPAN, median_time_past
from chaind.ledger.block import subsidy
from chaind.network import messages as wire
from chaind.network.messages import Message
from chaind.node.events import Event, FinalEvent, HeadEvent
from chaind.node.header_chain import first_headers
from chaind.node.node import Node
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import HEADER_BYTES, Block
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash, sha256d
from chaind.primitives.transaction import NATIVE, CoinInput
from chaind.simulation.checks import Checks
from chaind.simulation.loop import Process
from chaind.simulation.program import Program
from chaind.simulation.world import World

MANY_HEADERS = 20  # in one message: more than is ever announced
DEPTHS = (2, 5)  # of reorganisations that are worth having seen


class PowChecks(Checks):
    """See the module's law."""

    def __init__(self, world: World, genesis: Genesis) -> None:
        super().__init__(world, genesis)
        self.programs: dict[str, Program] = {}  # honest ones, by machine
        self.refused: dict[str, int] = {}  # reorganisations that a machine's node has refused
        self.withheld: set[bytes] = set()  # blocks whose miner gives the body to one peer at most
        self._heads: dict[str, tuple[bytes, int]] = {}  # where nodes stand, and the work below
        self._headers = first_headers(genesis)
        self._times = [genesis.time_ms // 1000]
        self._mined: dict[str, str] = {}  # by honest miners: display hash → machine
        self._orphans: set[bytes] = set()  # headers that came before their parents
        self._rewards: dict[bytes, int] = {}  # coinbases and their heights
        self._lost: dict[bytes, bytes] = {}  # transactions of lost branches, and their blocks
        world.hear_log = self._log

    def started(self, program: Program, node: Node) -> None:
        """See `Checks`."""
        self.programs[program.machine.name] = program
        self._heads[program.machine.name] = _head_of(node)
        super().started(program, node)

    def mined(self, program: Program, header: bytes) -> None:
        """An honest miner has found this header."""
        self._mined[display_hash(sha256d(header))] = program.machine.name

    # The head.

    def _heard(self, program: Program, event: Event) -> None:
        node = program.node
        if isinstance(event, HeadEvent) and node is not None:
            self._head_moved(program.machine.name, node, event)
        super()._heard(program, event)

    def _head_moved(self, name: str, node: Node, event: HeadEvent) -> None:
        """From where it stood, block by block, and never to less work."""
        (at, work), (head, more) = self._heads[name], _head_of(node)
        self._heads[name] = head, more
        for body in event.undone:
            if body.block.hash != at:
                self._world.fail(f"{name} undoes block {body.block.height}, on which it is not")
            at = body.block.parent
        for body in event.applied:
            if body.block.parent != at:
                self._world.fail(f"{name} applies block {body.block.height} beside its parent")
            at = body.block.hash
        if at != head:
            self._world.fail(f"{name} has come to another head than it tells")
        if more <= work:
            self._world.fail(f"{name} leaves a head of work {work} for one of {more}")

    # Finality.

    def _made_final(self, event: FinalEvent) -> None:
        if event.certificate is not None:
            self._world.fail(f"block {event.block.height} has a certificate, and nobody votes")
        for receipt in event.receipts:
            lost_in = self._lost.get(receipt.checked.txid)
            if lost_in is not None and lost_in != event.block.hash:
                self._world.point("transaction of a lost branch mined again")

    def _new(self, block: Block) -> None:
        before = self._tally.supply[NATIVE]
        super()._new(block)
        made = self._tally.supply[NATIVE] - before
        if made > (most := subsidy(block.height, self._genesis.parameters)):
            self._world.fail(f"block {block.height} makes {made} units, at most {most} are due")
        self._rewards[sha256d(block.coinbase_bytes)] = block.height
        maturity = self._genesis.parameters.coinbase_maturity
        for transaction in block.transactions:
            for coin in transaction.body.inputs:
                if isinstance(coin, CoinInput) and coin.txid in self._rewards:
                    mined = self._rewards[coin.txid]
                    if block.height < mined + maturity:
                        self._world.fail(f"block {block.height} spends the reward of {mined}")

    def _chain_time_ms(self, block: Block) -> int:
        """Its header is checked here, by a chain of headers that nobody reorganises."""
        before = self.blocks[-1].header.bits if self.blocks else block.header.bits
        try:
            self._headers.feed(block.header_bytes)
        except ChaindError as error:
            self._world.fail(f"final block {block.height} is not one that could be mined: {error}")
        if block.header.bits != before:
            self._world.point("retarget moved bits")
        if block.hash in self._orphans:
            self._world.point("orphan resolved")
        if block.hash in self.withheld:
            self._world.point("withheld body fetched elsewhere")
        time_ms = median_time_past(self._times[-MEDIAN_SPAN:]) * 1000
        self._times.append(block.header.time)
        return time_ms

    # Messages.

    def says(self, _program: Program, message: Message) -> None:
        """See `Checks`."""
        match message:
            case wire.Headers(records) if len(records) >= MANY_HEADERS * HEADER_BYTES:
                self._world.point("headers-first sync")
            case wire.GetBlock() | wire.GetCompact():
                self._world.point("block fetched")
            case wire.GetBlockTransactions():
                self._world.point("compact block completed")
            case wire.GetTransactions():
                self._world.point("announced transaction fetched")

    def hears(self, program: Program, message: Message) -> None:
        """See `Checks`."""
        node = program.node
        if not isinstance(message, wire.Headers) or not message.records or node is None:
            return
        engine, header = node.engine, message.records[:HEADER_BYTES]
        assert isinstance(engine, WorkEngine)
        parent = header[4:36]
        if engine.tree.get(parent) is None and node.queries.final_height(parent) is None:
            self._orphans.add(sha256d(header))

    # What nodes log.

    def _log(self, process: Process, name: str, event: MutableMapping[str, Any]) -> None:
        machine = process.name.split(".")[0]
        program = self.programs.get(machine)
        if program is None:
            return
        match name:
            case "reorganised":
                self._reorganised(program, int(event["depth"]))
            case "reorg_refused":
                self.refused[machine] = self.refused.get(machine, 0) + 1
                self._world.point("deep reorganisation refused")
            case "peer_down" if str(event["reason"]).startswith("dropped for"):
                self._world.point("lying peer dropped")
            case "headers_refused":
                self._world.point("headers from the future refused")
            case "block_invalid":
                self._world.point("invalid block refused")
                miner = self._mined.get(str(event["hash"]))
                if miner is not None:
                    self._world.fail(f"{machine} refuses a block of {miner}: {event['error']}")

    def _reorganised(self, program: Program, depth: int) -> None:
        for least in DEPTHS:
            if depth >= least:
                self._world.point(f"reorganisation of depth {least} or more")
        node = program.node
        if node is None:
            return
        for candidate in node.chain.candidates():
            if candidate.executed is not None and candidate not in node.chain.executed():
                for checked in candidate.body.checked:
                    self._lost.setdefault(checked.txid, candidate.body.block.hash)


def _head_of(node: Node) -> tuple[bytes, int]:
    """Where a node stands, and the work of all blocks up to there."""
    assert isinstance(node.engine, WorkEngine)
    entry = node.engine.tree.get(node.chain.head.hash)
    assert entry is not None, "what is executed stands in the tree"
    return entry.hash, entry.chainwork
