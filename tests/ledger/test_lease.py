"""Leases: an intention applies once while it is remembered."""

import pytest
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    NOW_MS,
    World,
    lease_of,
    make,
    pay_in,
    pay_out,
    payment,
)

from chaind.ledger.errors import (
    AlreadyApplied,
    InsufficientFunds,
    LeasesExhausted,
    LeaseTaken,
    WitnessMismatch,
)
from chaind.ledger.execute import live_lease
from chaind.primitives.transaction import Transaction

LEASE_MS = 86_400_000


@pytest.fixture
def world() -> World:
    return World().fund(ALICE, 1000).fund(BOB, 1000)


def leased(world: World, number: int, amount: int = 1, intent: bytes = bytes(32)) -> Transaction:
    lease = lease_of(ALICE, number, intent)
    return payment(ALICE, BOB, amount, lease=lease, valid_until=world.now_ms + 1)


def test_one_payment_per_owner_and_id_with_the_first_one_in_the_answer(world: World) -> None:
    first = leased(world, 1, intent=b"\1" * 32)
    world.apply(first)
    lease = first.body.lease
    assert lease is not None
    world.refuses(
        leased(world, 1, amount=2, intent=b"\2" * 32),
        LeaseTaken,
        id=lease.id.hex(),
        txid=first.txid.hex(),
        intent=(b"\1" * 32).hex(),
    )
    assert world.balance(BOB) == 1001


def test_the_same_bytes_again_are_already_applied_not_a_taken_lease(world: World) -> None:
    first = leased(world, 1)
    world.apply(first)
    world.refuses(first, AlreadyApplied, txid=first.txid.hex())


@pytest.mark.parametrize(("later_ms", "free"), [(LEASE_MS - 1, False), (LEASE_MS, True)])
def test_a_lease_is_free_exactly_at_its_expiry(world: World, later_ms: int, free: bool) -> None:
    first = leased(world, 1)
    world.apply(first)
    assert first.body.lease is not None
    world.now_ms += later_ms
    held = live_lease(world.state, ALICE.address, first.body.lease.id, world.now_ms)
    if free:
        assert held is None
        world.apply(leased(world, 1))
        assert world.balance(BOB) == 1002
    else:
        assert held is not None
        assert (held.expiry_ms, held.txid) == (NOW_MS + LEASE_MS, first.txid)
        world.refuses(leased(world, 1), LeaseTaken)


def test_leases_of_two_owners_with_one_id_are_two(world: World) -> None:
    world.apply(leased(world, 1))
    world.apply(payment(BOB, CAROL, 1, lease=lease_of(BOB, 1)))
    assert world.balance(CAROL) == 1


def test_the_owner_need_not_pay_but_must_sign(world: World) -> None:
    ends = {"inputs": [pay_in(ALICE, 1)], "outputs": [pay_out(BOB, 1)], "lease": lease_of(CAROL, 1)}
    world.refuses(make(ALICE, **ends), WitnessMismatch)
    world.apply(make(ALICE, CAROL, **ends))
    assert world.balance(BOB) == 1001


def test_a_coin_payment_asks_the_owner_of_its_lease_too(world: World) -> None:
    """Owners are known from state only: coin owner, then lease owner."""
    coin = world.coin(BOB, 5)
    ends = {"inputs": [coin], "outputs": [pay_out(CAROL, 5)], "lease": lease_of(ALICE, 1)}
    needed = [BOB.address.hex(), ALICE.address.hex()]
    world.refuses(make(BOB, **ends), WitnessMismatch, needed=needed)
    world.refuses(make(ALICE, BOB, **ends), WitnessMismatch, needed=needed)
    world.apply(make(BOB, ALICE, **ends))
    assert world.balance(CAROL) == 5


def test_a_refused_payment_takes_no_lease(world: World) -> None:
    world.refuses(leased(world, 1, amount=1001), InsufficientFunds)
    world.apply(leased(world, 1, amount=1000))


def test_leases_of_an_owner_are_capped_per_period() -> None:
    capped = World(leases_per_owner_max=3).fund(ALICE, 100).fund(BOB, 100)
    for number in range(3):
        capped.apply(leased(capped, number))
    capped.refuses(leased(capped, 3), LeasesExhausted, count=3, limit=3)
    capped.apply(payment(BOB, ALICE, 1, lease=lease_of(BOB, 3)))  # others are not affected
    capped.apply(payment(ALICE, BOB, 1))  # nor are payments without a lease


def test_the_count_starts_anew_with_the_period() -> None:
    world = World(leases_per_owner_max=1).fund(ALICE, 100)
    end_ms = (NOW_MS // LEASE_MS + 1) * LEASE_MS
    world.now_ms = end_ms - 1
    world.apply(leased(world, 1))
    world.refuses(leased(world, 2), LeasesExhausted, count=1, limit=1)
    world.now_ms = end_ms
    world.refuses(leased(world, 1), LeaseTaken)  # the lease itself lives on
    world.apply(leased(world, 2))


def test_undoing_the_block_frees_the_lease(world: World) -> None:
    world.apply(leased(world, 1))
    world.state.undo()
    world.apply(leased(world, 1, amount=2))
    assert world.balance(BOB) == 1002
