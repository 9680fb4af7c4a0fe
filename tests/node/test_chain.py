"""The tree of unfinal blocks: building, executing, moving between branches, becoming final."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import FUNDED, address
from parts import GENESIS, World, forged

from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, BlockUntimely, RootMismatch
from chaind.ledger.execute import Receipt
from chaind.ledger.keys import balance_key, decode_units
from chaind.node.chain import Candidate, Diverged


def bob(world: World) -> int:
    """Bob's balance at the head."""
    return decode_units(world.chain.state.get(balance_key(address("bob"), ""))) - FUNDED


def bob_final(world: World) -> int:
    return decode_units(world.chain.state.get_final(balance_key(address("bob"), ""))) - FUNDED


def waits(world: World, *candidates: Candidate) -> bool:
    """Whether all transactions of these blocks can be selected."""
    waiting = {entry.checked.txid for entry in world.pool.select()}
    return all(c.txid in waiting for one in candidates for c in one.body.checked)


def test_a_built_block_executes_elsewhere_to_the_same_root(world: World, maker: World) -> None:
    first = maker.block(1, maker.payment(units=5), maker.payment(units=6))
    second = maker.block(2, maker.payment(units=7))
    for made in (first, second):
        given = world.give(made.body.block)
        world.chain.execute(made.body.block.hash)
        assert given.error is None
        assert given.info == made.info
    assert bob(world) == 18
    assert bob_final(world) == 0


def test_the_state_moves_between_branches_and_the_pool_follows(world: World) -> None:
    low = world.block(1, world.payment(units=1))
    left = world.block(2, world.payment(units=10))
    assert bob(world) == 11
    world.chain.move_to(low.body.block.hash)
    assert bob(world) == 1
    assert waits(world, left)
    assert not waits(world, low)
    again = [entry.checked.transaction for entry in world.pool.select()]
    right = world.block(3, *again, parent=low.body.block.hash)  # the same payment, another block
    assert bob(world) == 11
    higher = world.block(4, world.payment(units=100))
    assert bob(world) == 111
    world.chain.move_to(left.body.block.hash)
    assert bob(world) == 11
    assert waits(world, higher)
    assert not waits(world, right)
    assert world.chain.head.hash == left.body.block.hash
    world.chain.move_to(higher.body.block.hash)
    assert bob(world) == 111


def test_a_broken_rule_is_kept_for_ever_and_leaves_no_trace(world: World, maker: World) -> None:
    good = maker.block(1, maker.payment(units=5)).body.block
    poor = maker.payment(source="carol", units=FUNDED + 1)
    bad = forged(good, [*good.transactions, poor])
    given = world.give(bad)
    world.chain.execute(bad.hash)
    assert isinstance(given.error, BlockTransactionInvalid)
    assert given.error.values["txid"] == poor.txid.hex()
    assert bob(world) == 0
    assert world.chain.head.height == 0
    assert world.chain.execute(bad.hash).error is given.error
    world.give(good)
    assert world.chain.execute(good.hash).error is None


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"view": 5}, BlockInvalid),  # its leader is another validator
        ({"parent_root": bytes(32)}, RootMismatch),
        ({"validators_hash": bytes(32)}, BlockInvalid),
        ({"proposer": bytes(20)}, BlockInvalid),
        ({"height": 2}, BlockInvalid),
        ({"height": -1}, BlockInvalid),
        ({"last_certificate": (1, bytes(32))}, BlockInvalid),
        ({"last_certificate": None}, BlockInvalid),
        ({"epoch": 2}, BlockInvalid),
        ({"snapshot": bytes(32)}, BlockInvalid),
        ({"time_ms": None}, BlockInvalid),
        ({"time_ms": 1}, BlockInvalid),
    ],
)
def test_lies_in_the_commitment_are_found(
    world: World, maker: World, said: dict[str, Any], error: type[Exception]
) -> None:
    bad = forged(maker.block(2).body.block, **said)
    given = world.give(bad)
    world.chain.execute(bad.hash)
    assert type(given.error) is error


def test_a_block_from_the_future_is_untimely(world: World, maker: World) -> None:
    drift_ms = world.genesis.parameters.max_drift_ms
    maker.clock.ms += drift_ms
    block = maker.block(1).body.block
    world.chain.check_time(block, world.clock.ms)
    with pytest.raises(BlockUntimely):
        world.chain.check_time(block, world.clock.ms - 1)


def test_a_builder_s_time_is_after_its_parent_s(world: World) -> None:
    first = world.block(1)
    second = world.block(2)
    assert first.info is not None
    assert second.info is not None
    assert second.info.time_ms > first.info.time_ms


def test_building_on_an_unknown_parent_is_declined(world: World) -> None:
    assert world.chain.build(bytes(32), 1, world.clock.ms) is None


def test_what_does_not_apply_is_parked_until_its_row_changes(world: World, maker: World) -> None:
    spend = maker.block(1, maker.payment(units=FUNDED)).body.block
    world.give(spend)
    world.chain.execute(spend.hash)
    late = world.check(world.payment(units=1))
    world.pool.add(Receipt(late, 0, ()), 0, lambda _row: FUNDED)
    built = world.chain.build(spend.hash, 2, world.clock.ms)
    assert built is not None
    assert built.body.checked == ()
    assert not world.pool.has_work(), "it would be tried again and again"
    world.chain.move_to(world.chain.final.hash)
    assert world.pool.has_work(), "the block that took the money was undone"


@pytest.mark.parametrize("limit", ["block_bytes_max", "block_cost_max"])
def test_a_block_is_closed_by_bytes_and_by_cost(tmp_path: Path, limit: str) -> None:
    probe = World(tmp_path / "probe")
    one = probe.check(probe.payment())
    room = {"block_bytes_max": one.transaction.size, "block_cost_max": one.cost}[limit]
    probe.close()
    parameters = msgspec.structs.replace(GENESIS.parameters, **{limit: 2 * room + room // 2})
    world = World(tmp_path / "world", msgspec.structs.replace(GENESIS, parameters=parameters))
    for _ in range(3):
        world.pool.add(Receipt(world.check(world.payment()), 0, ()), 0, lambda _row: FUNDED)
    built = world.chain.build(world.chain.final.hash, 1, world.clock.ms)
    assert built is not None
    assert len(built.body.checked) == 2
    assert world.pool.has_work()
    world.close()


async def test_final_blocks_are_settled_in_order(world: World, maker: World) -> None:
    blocks = [maker.block(view, maker.payment(units=view)).body.block for view in (1, 2, 3)]
    for block in blocks:
        world.give(block)
    path = world.chain.path_to(blocks[1].hash)
    assert [one.body.block.height for one in path] == [1, 2]
    world.chain.promise(path)
    assert world.chain.path_to(blocks[0].hash) == [], "promised before"
    assert bob_final(world) == 0, "not before it is durable"
    rest = world.chain.path_to(blocks[2].hash)
    assert [one.body.block.height for one in rest] == [3]
    world.chain.promise(rest)
    await world.make_final()  # nothing of it was delivered yet
    world.chain.settle(path)
    assert (world.chain.final.height, bob_final(world)) == (2, 3)
    world.chain.settle(rest)
    assert (world.chain.final.height, bob_final(world)) == (3, 6)
    assert world.chain.candidate(blocks[2].hash) is None
    assert world.chain.state.depth == 0


async def test_finality_ends_every_branch_beside_it(world: World, maker: World) -> None:
    """Also blocks higher than the final one, where they stand on a branch that ended."""
    low = world.block(1, world.payment(units=1))
    high = world.block(3, world.payment(units=10))
    top = world.block(4, world.payment(units=100))
    final = maker.block(2, maker.payment(units=7)).body.block
    await world.make_final(final)
    assert bob(world) == bob_final(world) == 7
    for gone in (low, high, top):
        assert world.chain.candidate(gone.body.block.hash) is None
        assert world.chain.info(gone.body.block.hash) is None
        assert world.chain.build(gone.body.block.hash, 9, world.clock.ms) is None
    assert waits(world, low, high, top)
    assert world.block(5, *(e.checked.transaction for e in world.pool.select())).executed


async def test_a_block_that_waits_for_ever_is_not_kept_for_ever(world: World, maker: World) -> None:
    """Whatever height it claims: once its view has passed it can never become final."""
    final = maker.block(5).body.block
    orphan = forged(maker.block(6).body.block, view=4, height=10**9)
    world.give(orphan)
    await world.make_final(final)
    assert world.chain.candidate(orphan.hash) is None


def test_a_certified_block_that_fails_here_is_our_own_divergence(
    world: World, maker: World
) -> None:
    bad = forged(maker.block(1).body.block, parent_root=bytes(32))
    world.give(bad)
    with pytest.raises(Diverged):
        world.chain.path_to(bad.hash)
