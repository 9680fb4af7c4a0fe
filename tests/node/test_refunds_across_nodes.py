"""Refunds asked of several nodes: one for a key and a number, never more than was paid."""

import asyncio
from pathlib import Path

import pytest
from harness import FUNDED, UNIT, Cluster, address

from chaind.node.payments import CustodyDisabled
from chaind.node.refunds import Refund, RefundExceeds, RefundOrder

VALIDATOR, OTHER, STRANGER = 0, 1, 2  # the stranger keeps nobody's keys


def order(payment: bytes, key: str | None, units: int | None = 3 * UNIT) -> RefundOrder:
    return RefundOrder(payment, None, units, None, b"", key)


async def ask(cluster: Cluster, at: int, wanted: RefundOrder) -> Refund:
    return await cluster[at].refunds.refund(wanted)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A validator and two full nodes."""
    cluster = Cluster(tmp_path, full=2)
    cluster.seats[STRANGER].custody = False
    return cluster


async def test_other_keys_at_other_nodes_at_once(cluster: Cluster) -> None:
    async with cluster:
        await cluster.connected()
        paid = await cluster.pay("alice", "bob", 10 * UNIT)
        await cluster.final(paid.txid)
        asked = [
            ask(cluster, at, order(paid.txid, f"k{key}")) for key in range(5) for at in (0, 1, 0, 1)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        made = {one.payment.txid: one.number for one in answers if isinstance(one, Refund)}
        refused = [one for one in answers if not isinstance(one, Refund)]
        assert sorted(made.values()) == [1, 2, 3]
        assert len(refused) == 8
        assert all(isinstance(one, RefundExceeds) for one in refused)
        await cluster.agree()
        assert set(cluster.balances("bob")) == {FUNDED + UNIT}
        for node in cluster.nodes:
            state = node.refunds.state(paid.txid, address("bob"))
            assert [one.txid for one in state.given] == sorted(made, key=lambda txid: made[txid])


async def test_a_key_is_known_on_every_node(cluster: Cluster) -> None:
    async with cluster:
        await cluster.connected()
        paid = await cluster.pay("alice", "bob", 10 * UNIT)
        await cluster.final(paid.txid)
        first = await ask(cluster, VALIDATOR, order(paid.txid, "k"))
        await cluster.agree()
        await cluster.stop(OTHER)
        cluster.seats[OTHER].wipe()
        await cluster.start(OTHER)
        await cluster.agree()
        for at in (OTHER, STRANGER):
            for units in (3 * UNIT, None):
                again = await ask(cluster, at, order(paid.txid, "k", units))
                assert (again.payment.txid, again.payment.hit) == (first.payment.txid, "state")
        with pytest.raises(CustodyDisabled):
            await ask(cluster, STRANGER, order(paid.txid, "another"))
        assert set(cluster.balances("bob")) == {FUNDED + 7 * UNIT}
