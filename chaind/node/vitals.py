"""Where a node stands and whether it is well, for people, probes and metrics."""

from typing import TYPE_CHECKING, NamedTuple

from chaind import __version__
from chaind.node.work_engine import WorkEngine
from chaind.primitives.hashes import display_hash

if TYPE_CHECKING:
    from chaind.consensus.quorums import Quorums
    from chaind.node.node import Node

STALLED_MS_MIN = 5_000.0  # no finality for so long is news even on a chain with quick empty blocks


class Health(NamedTuple):
    """Whether the node can serve, and why not."""

    ready: bool
    reasons: tuple[str, ...]


class StatusInfo(NamedTuple):
    """Where the node stands. `chain_time_ms` is what a transaction's time is measured by.

    `reorg_refused` is the last branch that leaves the chain below what is final here, in words.
    """

    version: str
    name: str
    chain_id: str
    mode: str
    dev: bool
    height: int
    hash: str
    time_ms: int
    chain_time_ms: int
    head_height: int
    head_hash: str
    view: int
    validators: int
    validator_index: int | None
    peers: int
    pending: int
    syncing: bool
    certificate: dict[str, object] | None
    reorgs_refused: int
    reorg_refused: str | None


class Vitals:
    """Reads the parts of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._keys = [validator.key for validator in node.genesis.validators]
        self._chain_id = node.genesis.hash.hex()

    def final_age_ms(self) -> float:
        """Time since a block became final here, or since the start."""
        since_ms = self._node.last_final_ms
        return self.uptime_ms() if since_ms is None else self._node.clock.monotonic_ms() - since_ms

    def uptime_ms(self) -> float:
        """Time since the node was made, whatever became of the clock on the wall."""
        return self._node.clock.monotonic_ms() - self._node.started_ms

    def health(self) -> Health:
        """Whether this node follows a chain that makes progress.

        After a start a block that becomes final shows it; or, before there is a reason to make
        one, that a quorum of validators is connected and none of the peers is ahead.
        """
        reasons: list[str] = []
        if self._node.quorums is None:
            return self._health_of_follower()
        quorums = self._node.quorums
        weight = self._reachable_weight(quorums)
        has_quorum = weight >= quorums.quorum
        if self._node.observes:
            reasons.append("vote log lost: this validator observes and does not vote")
        if self._node.sync.behind > 1:
            reasons.append(f"behind by {self._node.sync.behind} blocks")
        alone = len(self._keys) == 1 and self._node.validator_index is not None
        if not alone and not self._node.network.peers():
            reasons.append("no peers")
        if self._node.validator_index is not None and not has_quorum:
            reasons.append(
                f"no quorum: validators of weight {weight} are connected, "
                f"{quorums.quorum} of {quorums.total} are needed"
            )
        patience_ms = max(
            STALLED_MS_MIN, 3.0 * self._node.genesis.consensus.empty_block_interval_ms
        )
        if self.final_age_ms() > patience_ms:
            reasons.append(f"no block became final for {self.final_age_ms() / 1000:.0f} s")
        elif self._node.last_final_ms is None and (self._node.sync.behind or not has_quorum):
            reasons.append("no block became final since the start")
        if (wrong := self._node.clock_watch.reason()) is not None:
            reasons.append(wrong)
        return Health(not reasons, tuple(reasons))

    def _health_of_follower(self) -> Health:
        """Whether this node of a chain of miners has the best chain that it heard of."""
        reasons: list[str] = []
        if self._node.sync.behind > 1:
            reasons.append(f"behind by {self._node.sync.behind} blocks")
        if self._node.sync.syncing:
            reasons.append("headers are still being fetched")
        engine = self._node.engine
        if isinstance(engine, WorkEngine) and (slow_s := engine.next_block.slow_clock_s):
            reasons.append(f"the clock is at least {slow_s} s too slow for the chain's headers")
        return Health(not reasons, tuple(reasons))

    def _reachable_weight(self, quorums: "Quorums") -> int:
        """Weight of this validator and those connected."""
        keys = {peer.validator_key for peer in self._node.network.peers()}
        return sum(
            weight
            for index, weight in enumerate(quorums.weights)
            if index == self._node.validator_index or self._keys[index] in keys
        )

    def status(self) -> StatusInfo:
        """Where this node stands."""
        final = self._node.chain.final
        found = self._node.queries.tip_certificate()
        engine = self._node.engine
        refused = engine.reorg_refused if isinstance(engine, WorkEngine) else None
        certificate: dict[str, object] | None = None
        if found is not None:
            height, proof = found
            certificate = {
                "height": height,
                "view": proof.view,
                "kind": proof.kind.name,
                "signers": proof.voters(),
            }
        return StatusInfo(
            version=__version__,
            name=self._node.genesis.name,
            chain_id=self._chain_id,
            mode=self._node.genesis.mode,
            dev=self._node.genesis.dev,
            height=final.height,
            hash=display_hash(final.hash),
            time_ms=final.time_ms,
            chain_time_ms=self._node.chain.tip.time_ms,
            head_height=self._node.chain.head.height,
            head_hash=display_hash(self._node.chain.head.hash),
            view=self._node.engine.view,
            validators=len(self._keys),
            validator_index=self._node.validator_index,
            peers=len(self._node.network.peers()),
            pending=len(self._node.pool),
            syncing=self._node.sync.syncing,
            certificate=certificate,
            reorgs_refused=engine.reorgs_refused if isinstance(engine, WorkEngine) else 0,
            reorg_refused=None if refused is None else str(refused),
        )
