"""The audit trail is a function of the chain: the same at every node, before and after restarts."""

from pathlib import Path

from harness import FUNDED, Cluster, address

from chaind.node.movements import EVERYTHING, START, Feed, Movement, Position


def trail(feed: Feed, height: int) -> list[Movement]:
    """Everything up to a height, in small pages."""
    at, found = START, list[Movement]()
    while at <= Position(height, 2**32, 0):
        page = feed.page(at, EVERYTHING, 3)
        assert page.next > at
        found += page.movements
        at = page.next
    return [movement for movement in found if movement.position.height <= height]


async def test_all_nodes_tell_the_same_and_again_after_a_restart(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        paid = [await cluster.pay("alice", "bob", units, at=units % 4) for units in range(1, 13)]
        for transaction in paid:
            await cluster.final(transaction.txid)
        height = await cluster.agree()
        first, *others = [trail(node.feed, height) for node in cluster.nodes]
        assert others == [first] * 3
        bobs = [one for one in first if one.account == address("bob")]
        assert sum(one.units for one in bobs) == FUNDED + 78
        assert {one.txid for one in bobs} == {None, *(each.txid for each in paid)}
        await cluster.stop(2)
        await cluster.start(2)
        assert trail(cluster[2].feed, height) == first
