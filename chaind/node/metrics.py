"""Node metrics for Prometheus, read when they are scraped: nothing is counted twice.

Names follow CometBFT's where the thing is the same, under `chaind_`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chaind.node.mining import Mining

if TYPE_CHECKING:
    from chaind.node.node import Node


class NodeCollector(Collector):
    """Reads a node's counters."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """One family per figure."""
        node = self._node
        final, age_ms = node.chain.final, node.vitals.final_age_ms()
        gauges: dict[str, tuple[str, float]] = {
            "consensus_height": ("Height of the last final block", final.height),
            "consensus_view": ("Current view", node.engine.view),
            "consensus_latest_block_time_ms": ("Chain time of the last final block", final.time_ms),
            "consensus_validators": ("Validators", len(node.genesis.validators)),
            "consensus_finality_age_ms": ("Time since a block became final", age_ms),
            "mempool_size": ("Waiting transactions", len(node.pool)),
            "mempool_bytes": ("Bytes of waiting transactions", node.pool.bytes_total),
            "intake_open": ("Accepted transactions whose end is not known", len(node.tracker)),
            "p2p_peers": ("Connected peers", len(node.network.peers())),
            "sync_behind_blocks": ("Blocks behind the highest peer", node.sync.behind),
            "store_damaged_blocks": ("Final blocks unreadable on disk", node.healer.damaged),
            "clock_offset_ms": ("How far a wrong clock is ahead", node.clock_watch.offset_ms),
            "loop_lag_ms": ("How late the last timer of the event loop was", node.loop_lag_ms),
        }
        if node.mining is not None:
            gauges |= _miners(node.mining)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"chaind_{name}", text, value)
        counters: dict[str, tuple[str, float]] = {
            "consensus_blocks": ("Blocks made final", node.finality.blocks_total),
            "consensus_txs": ("Transactions made final", node.finality.transactions_total),
            "consensus_evidence": ("Proofs of misbehaviour seen", node.engine.evidence_total),
            "intake_accepted": ("Transactions accepted", node.intake.accepted_total),
            "intake_refused": ("Transactions refused", node.intake.refused_total),
            "store_healed_blocks": ("Damaged blocks fetched again", node.healer.healed_total),
            "sync_blocks": ("Blocks fetched in ranges", node.sync.blocks_total),
        }
        if node.mining is not None:
            counters |= _mined(node.mining)
        if node.gbt is not None:
            taken = ("Blocks handed in by submitblock", node.gbt.blocks_total)
            counters["mining_submitted_blocks"] = taken
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"chaind_{name}", text, value)


def _miners(mining: Mining) -> dict[str, tuple[str, float]]:
    workers = mining.connected()
    rates = [] if mining.own is None else mining.own.rates()
    connections = 0 if mining.stratum is None else mining.stratum.connected
    served = sum(worker.hashes_per_second for worker in workers)
    return {
        "mining_own_hashes_per_second": ("Hash rate of this node's own miner", sum(rates)),
        "mining_served_hashes_per_second": ("Hash rate of the miners connected", served),
        "mining_workers": ("Names that mine here, connected", len(workers)),
        "mining_connections": ("Miners connected", connections),
    }


def _mined(mining: Mining) -> dict[str, tuple[str, float]]:
    server = mining.stratum
    shares = (
        (0, 0, 0)
        if server is None
        else (server.accepted_total, server.stale_total, server.rejected_total)
    )
    return {
        "mining_blocks": ("Blocks mined here", mining.blocks_total),
        "mining_shares_accepted": ("Shares that counted", shares[0]),
        "mining_shares_stale": ("Shares that came after the tip had changed", shares[1]),
        "mining_shares_rejected": ("Shares that broke a rule", shares[2]),
    }
