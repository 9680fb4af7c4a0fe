"""What differs between chains of validators and of miners when a block is checked and executed.

One object per chain, chosen by the genesis. Everything above asks it and knows no modes.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from chaind.consensus.pow.times import MEDIAN_SPAN, median_time_past
from chaind.ledger.block import (
    Executed,
    ParentInfo,
    block_context,
    check_block,
    check_in_context,
    execute_block,
    genesis_info,
)
from chaind.ledger.checks import Checked
from chaind.ledger.journal import State
from chaind.ledger.work_block import check_work_block, check_work_in_context, paid_coinbase
from chaind.primitives.block import Block, Header
from chaind.primitives.genesis import Genesis
from chaind.storage.chain_store import ChainStore
from chaind.storage.schema import TipRow

EPOCH = 1  # of the genesis validators


class Rules(Protocol):
    """See the module's law. All `check_` raise `REFUSALS`."""

    def check_block(self, block: Block) -> None:
        """Rules that need only the block."""
        ...

    def check_in_context(self, block: Block, parent: ParentInfo) -> None:
        """Rules that need its parent, executed."""
        ...

    def execute(
        self, state: State, block: Block, checked: Sequence[Checked], parent: ParentInfo
    ) -> Executed:
        """Apply it on the head, which is `parent`, or raise and leave no trace."""
        ...

    def info(self, block: Block, parent: ParentInfo, root: bytes) -> ParentInfo:
        """What its children need to know of it; `root` is the state's after it."""
        ...

    def ranks(self, height: int, view: int) -> tuple[int, ...]:
        """A block of which any rank is no higher than the final one's cannot become final."""
        ...

    @property
    def at_head(self) -> bool:
        """Whether clients read and spend what the head has: nothing else is there for long."""
        ...


class VotedRules:
    """Blocks of validators; `leader_address` maps a view to the address of its leader."""

    def __init__(self, genesis: Genesis, leader_address: Callable[[int], bytes]) -> None:
        self._genesis = genesis
        self._validators_hash = genesis.validators_hash
        self._leader_address = leader_address

    def check_block(self, block: Block) -> None:
        """See `Rules`."""
        check_block(block, self._genesis.parameters)

    def check_in_context(self, block: Block, parent: ParentInfo) -> None:
        """See `Rules`."""
        proposer = self._leader_address(block.commitment.view)
        check_in_context(block, parent, EPOCH, self._validators_hash, proposer, self._genesis)

    def execute(
        self, state: State, block: Block, checked: Sequence[Checked], parent: ParentInfo
    ) -> Executed:
        """See `Rules`."""
        context = block_context(parent, self._genesis)
        return execute_block(state, checked, context, parent.root, block.commitment.proposer)

    def info(self, block: Block, parent: ParentInfo, root: bytes) -> ParentInfo:
        """See `Rules`."""
        commitment = block.commitment
        assert block.parent == parent.hash
        assert commitment.time_ms is not None, "check_block comes first"
        return ParentInfo(block.hash, block.height, commitment.time_ms, commitment.view, root)

    def ranks(self, height: int, view: int) -> tuple[int, ...]:
        """See `Rules`."""
        return height, view

    @property
    def at_head(self) -> bool:
        """See `Rules`."""
        return False


class MinedRules:
    """Blocks of miners, whose headers were checked in the tree."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._validators_hash = genesis.validators_hash

    def check_block(self, block: Block) -> None:
        """See `Rules`."""
        check_work_block(block, self._genesis.parameters)

    def check_in_context(self, block: Block, parent: ParentInfo) -> None:
        """See `Rules`."""
        check_work_in_context(block, parent, self._validators_hash)

    def execute(
        self, state: State, block: Block, checked: Sequence[Checked], parent: ParentInfo
    ) -> Executed:
        """See `Rules`."""
        context = block_context(parent, self._genesis)
        return execute_block(state, checked, context, parent.root, None, paid_coinbase(block))

    def info(self, block: Block, parent: ParentInfo, root: bytes) -> ParentInfo:
        """See `Rules`."""
        times = (*parent.times, block.header.time)[-MEDIAN_SPAN:]
        return ParentInfo(block.hash, block.height, median_time_past(times) * 1000, 0, root, times)

    def ranks(self, height: int, view: int) -> tuple[int, ...]:  # noqa: ARG002
        """See `Rules`."""
        return (height,)

    @property
    def at_head(self) -> bool:
        """See `Rules`."""
        return True


def rules_of(genesis: Genesis, leader_address: Callable[[int], bytes]) -> Rules:
    """The rules of a chain."""
    if genesis.mode == "pow":
        return MinedRules(genesis)
    return VotedRules(genesis, leader_address)


def tip_info(genesis: Genesis, tip: TipRow, store: ChainStore) -> ParentInfo:
    """The last final block as the parent of the next."""
    if tip.height == 0:
        return genesis_info(genesis, tip.root)
    times: tuple[int, ...] = ()
    if genesis.mode == "pow":
        first = max(1, tip.height - MEDIAN_SPAN + 1)
        below = (genesis.time_ms // 1000,) if tip.height < MEDIAN_SPAN else ()
        headers = store.headers(first, tip.height + 1)
        times = (*below, *(Header.decode(header).time for header in headers))
    return ParentInfo(tip.hash, tip.height, tip.time_ms, tip.view, tip.root, times)
