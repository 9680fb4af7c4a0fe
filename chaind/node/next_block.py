"""The block that comes after the head: what its header has to be, and plans and templates of it."""

from collections.abc import Callable
from typing import NamedTuple

from chaind.consensus.pow.tree import Tree
from chaind.ledger.block import subsidy
from chaind.node.branches import Branches
from chaind.node.chain import Chain
from chaind.node.templates import Plan, plan_block
from chaind.primitives.block import Block
from chaind.primitives.coinbase import TAG


class NextHeader(NamedTuple):
    """What a block on the head has to be; `subsidy` in base units."""

    height: int
    bits: int
    subsidy: int


class NextBlock:
    """See the module. `now` is this node's clock, in Unix seconds."""

    def __init__(
        self, *, chain: Chain, tree: Tree, branches: Branches, now: Callable[[], int]
    ) -> None:
        self._chain = chain
        self._tree = tree
        self._branches = branches
        self._now = now
        self._max_future_ms = chain.genesis.proof_of_work.rules.max_future_ms

    @property
    def slow_clock_s(self) -> int:
        """How much too slow this node's clock is for the chain: so far is the earliest time of the
        next header beyond what the node itself would take."""
        if not self._max_future_ms:
            return 0
        earliest = self._tree.next_time_min(self._branches.head)
        return max(0, earliest - self._now() - self._max_future_ms // 1000)

    def header(self) -> NextHeader:
        """What a block on the head has to be."""
        head = self._branches.head
        height = head.height + 1
        due = subsidy(height, self._chain.genesis.parameters)
        return NextHeader(height, self._tree.next_bits(head), due)

    def plan(self, *, empty: bool = False) -> Plan:
        """A block on the head, to be mined by anybody; `empty` takes nothing from the pool."""
        head = self._branches.head
        plan = plan_block(
            self._chain,
            parent_hash=head.hash,
            now=self._now(),
            time_min=self._tree.next_time_min(head),
            bits=self._tree.next_bits(head),
            empty=empty,
        )
        assert plan is not None, "the head is executed"
        return plan

    def template(self, address: bytes, extra: bytes = TAG) -> Block:
        """A block on the head that lacks only its work; `address` is paid."""
        plan = self.plan()
        return plan.block(plan.coinbase(address, extra))
