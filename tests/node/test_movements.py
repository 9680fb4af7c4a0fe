"""The audit trail is a function of the chain: the same at every node, before and after restarts."""

from pathlib import Path

from harness import FUNDED, Cluster, address
from parts import settled
from work_kit import SUBSIDY
from work_world import remade, running, work_genesis

from chaind.node.holdings import HoldingsReader
from chaind.node.movements import EVERYTHING, START, Feed, Movement, Position, Selection
from chaind.node.statements import Range, Statements
from chaind.primitives.coinbase import address_script, encode_coinbase


def trail(
    feed: Feed, height: int, selection: Selection = EVERYTHING, limit: int = 3
) -> list[Movement]:
    """Everything up to a height, in small pages."""
    at, found = START, list[Movement]()
    while at <= Position(height, 2**32, 0):
        page = feed.page(at, selection, limit)
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


async def test_miners_see_what_coinbases_paid_them(tmp_path: Path) -> None:
    genesis = work_genesis(final_depth=2)
    async with running(tmp_path, genesis=genesis) as world:
        alice, bob, carol = (address(who) for who in ("alice", "bob", "carol"))
        for number in range(1, 9):
            if number % 3 == 0:
                world.offer(world.payment("alice", "bob", number))
            if number == 4:  # two are paid by one block, one of them twice
                shares = [(bob, 7), (carol, SUBSIDY - 20), (bob, 3)]
                outputs = tuple((address_script(who), units) for who, units in shares)
                coinbase = encode_coinbase(number, b"split", outputs)
                await world.engine.submit(
                    remade(world.engine.next_block.template(bob), coinbase=coinbase)
                )
            else:
                await world.mine(to="bob" if number % 2 else "carol")
        await world.mine(2, to="alice")
        await settled(lambda: world.chain.final.height == 8)
        feed = Feed(genesis, world.chain, world.store)
        found = trail(feed, 8)
        rewards = [one for one in found if one.kind == "reward"]
        assert {(one.held, one.txid) for one in rewards} == {("coin", None)}
        split = [one for one in rewards if one.position.height == 4]
        assert [(one.account, one.units, one.position.part) for one in split] == [
            (bob, 10, 0),
            (carol, SUBSIDY - 20, 1),
        ]
        assert [one.position.place for one in rewards if one.position.height == 6] == [1]
        for who in (alice, bob, carol):
            of_one = [one for one in found if one.account == who]
            held = HoldingsReader(genesis, world.chain, world.store).balance(who, at_head=False)
            assert sum(one.units for one in of_one) == held.native + held.coins
            for size in (1, 2, 100):
                assert trail(feed, 8, Selection(account=who), size) == of_one
        for one in found:
            assert feed.find(one.position) == one
        statement = await Statements(genesis, world.store).page(carol, "", Range(), None, 50)
        assert [entry.movement.change for entry in statement.entries] == [
            SUBSIDY, SUBSIDY - 20, SUBSIDY, SUBSIDY,
        ]  # fmt: skip
