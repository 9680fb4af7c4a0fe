"""When a node says that it is ready: as soon as that is so, and not before."""

from pathlib import Path

from harness import Cluster, order

from chaind.node.node import Node
from chaind.primitives.genesis import ConsensusParameters

# No empty block comes while a test lasts: nothing becomes final but what is paid.
QUIET = ConsensusParameters(delta_ms=60, block_budget_ms=20, empty_block_interval_ms=60_000)


def ready(node: Node) -> bool:
    return node.vitals.health().ready


async def test_a_single_validator_is_ready_at_once(tmp_path: Path) -> None:
    async with Cluster(tmp_path, consensus=QUIET) as cluster:
        assert ready(cluster[0])
        payment = await cluster[0].payments.transfer(order("alice", "bob", 1, key="k"))
        assert payment.info.status == "final"


async def test_a_quorum_is_ready_before_its_first_block(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, consensus=QUIET) as cluster:
        await cluster.until(lambda: all(map(ready, cluster.nodes)))
        assert {node.chain.final.height for node in cluster.nodes} == {0}
        for node in cluster.nodes:
            payment = await node.payments.transfer(order("alice", "bob", 1, key=f"{id(node)}"))
            assert payment.info.status == "final"


async def test_a_full_node_that_nobody_is_connected_to_is_not_ready(tmp_path: Path) -> None:
    async with Cluster(tmp_path, full=1, consensus=QUIET, exchange=False) as cluster:
        await cluster.until(lambda: all(map(ready, cluster.nodes)))
        await cluster.stop(0)
        await cluster.until(lambda: not cluster[1].network.peers())
        assert "no peers" in cluster[1].vitals.health().reasons


async def test_without_a_quorum_nobody_is_ready(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, consensus=QUIET) as cluster:
        await cluster.until(lambda: all(map(ready, cluster.nodes)))
        await cluster.stop()
        await cluster.start(0, 1)
        await cluster.connected()
        assert not any(map(ready, cluster.nodes))
        await cluster.start(2)
        await cluster.until(lambda: all(map(ready, cluster.nodes)))


async def test_who_is_behind_is_not_ready(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, consensus=QUIET) as cluster:
        await cluster.connected()
        await cluster.stop(3)
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="k"))
        height = cluster[0].chain.final.height
        await cluster.start(3)
        late = cluster[3]
        # Looked at after every event: no moment of readiness at the old height.
        await cluster.until(lambda: ready(late) or late.chain.final.height >= height)
        assert late.chain.final.height >= height
        await cluster.until(lambda: ready(late))


async def test_a_full_node_is_ready_by_a_quorum_of_validators_or_by_a_block(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, full=1, consensus=QUIET, exchange=False) as cluster:
        await cluster.until(lambda: all(map(ready, cluster.nodes)))
        assert cluster[4].chain.final.height == 0
        await cluster.add_seat(calls=[0]).start()  # one validator's word is no quorum's
        lonely = cluster[5]
        await cluster.until(lambda: lonely.network.peers())
        assert lonely.vitals.health().reasons == ("no block became final since the start",)
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="k"))
        await cluster.until(lambda: ready(lonely))
        assert lonely.chain.final.height >= 1
