"""Mined branches with orders on them: books follow the heaviest, and come back exactly."""

import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from harness import address, secret
from work_world import WorkWorld, running, work_genesis

from chaind.ledger.keys import BOOKS_DIGEST
from chaind.market.events import Matched
from chaind.market.exchange import Exchange
from chaind.market.rows import MARKET, ORDER
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, MarketEntry
from chaind.primitives.orders import (
    BUY,
    GTC,
    SELL,
    STOP,
    AmendOrder,
    CancelOrder,
    Kind,
    OrderAction,
    PlaceOrder,
    Terms,
)
from chaind.primitives.transaction import Transaction
from chaind.wallet.builder import build_action

SYMBOL = "GOLD/COIN"
NAMES = ("alice", "bob", "carol")
PRICE = 1_000
DEPTH = 10

Books = tuple[list[tuple[bytes, bytes]], bytes, list[Any]]


def genesis() -> Genesis:
    base = work_genesis(final_depth=40)
    show = base.addresses.show
    funds = [
        Allocation(address=show(address(name)), amount="1000", asset=asset)
        for name in NAMES
        for asset in ("", "GOLD")
    ]
    market = MarketEntry(
        symbol=SYMBOL,
        tick="0.01",
        lot="0.1",
        reference_price="10",
        fee_account=show(address("dave")),
        maker_fee_ppm=700,
        taker_fee_ppm=1_300,
    )
    return msgspec.structs.replace(
        base,
        allocations=tuple(funds),
        assets=(AssetEntry(symbol="GOLD", issuer=show(address("dave"))),),
        markets=(market,),
    )


GENESIS = genesis()
_salts = count(1)


def signed(world: WorkWorld, name: str, action: OrderAction) -> Transaction:
    return build_action(
        key=secret(name),
        action=action,
        memo=b"",
        lease=None,
        valid_until_ms=world.clock.ms + 3_000_000,
        salt=next(_salts).to_bytes(8, "big"),
        chain_prefix=GENESIS.chain_prefix,
        parameters=GENESIS.parameters,
    )


def actions(world: WorkWorld, dice: Random) -> Iterator[Transaction]:
    """Orders, stops, amendments and cancels around one price; some of them are refused."""
    for _ in range(6):
        name = dice.choice(NAMES)
        mine = [order.id for order in world.chain.state.books.open_orders(address(name))]
        if mine and dice.random() < 0.25:
            yield signed(world, name, CancelOrder(address(name), dice.choice(mine)))
        elif mine and dice.random() < 0.25:
            lots = dice.randint(1, 20)
            yield signed(world, name, AmendOrder(address(name), dice.choice(mine), lots))
        else:
            ticks = PRICE + dice.randint(-8, 8)
            more = {"trigger": STOP, "stop_ticks": ticks} if dice.random() < 0.2 else {}
            terms = Terms(
                SYMBOL,
                dice.choice((BUY, SELL)),
                Kind.LIMIT,
                dice.randint(1, 20),
                ticks,
                GTC,
                post_only=not more and dice.random() < 0.2,
                **more,
            )
            yield signed(world, name, PlaceOrder(address(name), terms))


async def trade(world: WorkWorld, dice: Random, blocks: int) -> list[Any]:
    made = []
    for _ in range(blocks):
        world.offer(*actions(world, dice))
        made += await world.mine(1, to="dave")
    return made


def books_of(world: WorkWorld) -> Books:
    books = world.chain.state.books
    levels = [books.depth(SYMBOL, side, sys.maxsize) for side in (BUY, SELL)]
    return list(books.rows()), books.journal.digest, levels


def of_rows(world: WorkWorld) -> Books:
    """The books that the rows at the head make."""
    state = world.chain.state
    keys = {key for table in (MARKET, ORDER) for key, _ in world.store.state_rows(table)}
    keys |= {key for key in state.changed_since_final() if key[:1] in (MARKET, ORDER)}
    rows = [(key, value) for key in sorted(keys) if (value := state.get(key)) is not None]
    digest = state.get(BOOKS_DIGEST)
    assert digest is not None
    fresh = Exchange.load(rows, digest, GENESIS.parameters.order_limits)
    levels = [fresh.depth(SYMBOL, side, sys.maxsize) for side in (BUY, SELL)]
    return list(fresh.rows()), fresh.journal.digest, levels


def trades(world: WorkWorld, blocks: Sequence[Any]) -> int:
    found = [world.chain.candidate(block.hash) for block in blocks]
    told = [one.executed.events for one in found if one is not None and one.executed is not None]
    return sum(isinstance(event, Matched) for block in told for _, all_ in block for event in all_)


@pytest.mark.parametrize("seed", range(3))
async def test_books_follow_the_heaviest_branch_and_come_back(tmp_path: Path, seed: int) -> None:
    """Ten blocks are undone for a branch of eleven, and redone once theirs is the longer one."""
    dice = Random(seed)
    async with (
        running(tmp_path / "one", "a", genesis=GENESIS) as one,
        running(tmp_path / "other", "a", genesis=GENESIS) as other,
    ):
        mine = await trade(one, dice, DEPTH)
        theirs = await trade(other, dice, DEPTH + 1)
        before = books_of(one)
        assert trades(one, mine) >= 3
        assert before != books_of(other)

        await one.give("a", *theirs)
        assert one.chain.head.hash == theirs[-1].hash
        assert one.engine.branches.reorg_depth_max == DEPTH
        assert books_of(one) == books_of(other) == of_rows(one)

        async with running(tmp_path / "third", "a", genesis=GENESIS) as third:
            await third.give("a", *mine)
            assert books_of(third) == before
            longer = [*mine, *await third.mine(3)]
        await one.give("a", *longer)
        assert one.chain.head.hash == longer[-1].hash
        assert books_of(one) == before == of_rows(one)
        assert await trade(one, dice, 3)
        assert books_of(one) == of_rows(one) != before
