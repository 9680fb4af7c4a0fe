"""The dear invariants of mined chains: what lies above the last final block is held to them too."""

from collections.abc import Sequence

from chaind.ledger.block import block_context
from chaind.ledger.checks import Checked
from chaind.ledger.errors import REFUSALS
from chaind.ledger.execute import check_on_state
from chaind.node.node import Node
from chaind.simulation.audit import Audit, Replayed


class PowAudit(Audit):
    """See `Audit`."""

    @property
    def under_way_max(self) -> int:  # type: ignore[override]
        """The branch that is not final yet, and rivals beside it."""
        return 3 * self._genesis.proof_of_work.final_depth

    def _states(self, nodes: Sequence[tuple[int, str, Node]]) -> Replayed:
        """The state at the head too, which no node has written anywhere."""
        done = super()._states(nodes)
        _, _, highest = nodes[-1]
        for candidate in highest.chain.executed():
            self._apply(done.replay, done.tally, candidate.body.block)
        rows = dict(done.store.state_rows(b""))
        for _, name, node in nodes:
            state = node.chain.state
            keys = {*rows, *(key for key, _ in node._disk.store.state_rows(b""))}
            wrong = [key for key in sorted(keys) if state.get(key) != rows.get(key)]
            if wrong or node.chain.head.root != done.replay.tip.root:
                height = node.chain.head.height
                self._world.fail(f"{name}: the state at head {height} is not that of a replay")
        return done

    def _pending(self, shown: str, node: Node, checked: Checked) -> None:
        """What waits is in the pool, or something is in its way at the head."""
        chain = node.chain
        valid_until = checked.transaction.body.valid_until
        if valid_until is not None and chain.final.time_ms >= valid_until:
            self._world.fail(f"{shown} tells it as pending, after its time")
        if node.pool.get(checked.txid) is not None:
            return
        try:
            check_on_state(chain.state, checked, block_context(chain.head, self._genesis))
        except REFUSALS:
            self._world.point("accepted and still waiting in the end")
            return
        self._world.fail(f"{shown} neither offers it to miners nor has anything against it")
