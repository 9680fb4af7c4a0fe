"""Transactions that quarrel with those that wait: on a chain whose next block is an hour away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hostile_transactions import Row
from hostile_world import ALICE, ALICE_COIN, INTENT, LEASE_ID, World, own, running_world
from test_bad_transactions import DOORS, bytes_of, judge

from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import Lease

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_UNITS = 100_000_000_000  # what alice has


def _lease() -> Lease:
    return Lease(own(ALICE), LEASE_ID, INTENT)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A world in which half of alice's money, her coin and her lease are spoken for."""
    home = Path(tmp_path_factory.mktemp("waiting"))
    async with running_world(home, min_block_interval_ms=3_600_000) as world:
        first = world.pay(units=ALL_UNITS // 2, lease=_lease())
        second = world.spend(ALICE_COIN, 500_000_000, ALICE)
        results = await world.node.intake.submit([first.raw, second.raw], local=True)
        assert [result.error for result in results] == [None, None]
        yield world


def _other_lease() -> Lease:
    return Lease(own(ALICE), LEASE_ID, sha256(b"another intent"))


ROWS = [
    Row("overcommitted", lambda w: w.pay(units=ALL_UNITS // 2 + 1), "overcommitted", 422,
        ("1000", "500")),
    Row("coin of one that waits", lambda w: w.spend(
        ALICE_COIN, 500_000_000, ALICE, memo=b"again"), "conflicts-with-pending", 409, ("coin",)),
    Row("leased for something else", lambda w: w.pay(lease=_other_lease()),
        "conflicts-with-pending", 409, ("lease",)),
    Row("leased again", lambda w: w.pay(lease=_lease()), "conflicts-with-pending", 409),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_one_code_at_every_door_and_what_waits_stays(waiting: World, row: Row) -> None:
    raw = bytes_of(waiting, row)
    before = waiting.standing()
    assert len(before.pool) == 2
    for name, door in DOORS.items():
        judge(row, name, await door(waiting, raw))
        assert waiting.standing() == before, name


async def test_a_hundred_at_once_are_one_or_none(waiting: World) -> None:
    """Of payments that each take more than half of what is left, one is accepted."""
    before = waiting.standing()
    raws = [waiting.pay(units=ALL_UNITS // 4 + 1).raw for _ in range(100)]
    answers = await asyncio.gather(*(waiting.node.intake.submit([raw], local=True) for raw in raws))
    refused = [answer[0].error for answer in answers if answer[0].error is not None]
    assert {getattr(error, "code", None) for error in refused} == {"overcommitted"}
    assert len(refused) == 99
    assert len(waiting.standing().pool) == len(before.pool) + 1
