"""The pool's rules, one by one: order, rivals, overcommitment, quotas, room, hiding, settling."""

from collections.abc import Callable

import pytest
from pool_kit import ALICE, BOB, NOW_MS, SHOP, payment

from chaind.ledger.execute import Receipt
from chaind.mempool.errors import (
    ConflictsWithPending,
    Overcommitted,
    OwnerQuotaExceeded,
    PoolFull,
)
from chaind.mempool.pool import Dropped, Pool, PoolLimits

RICH = 10**12


def everybody_has(units: int) -> Callable[[bytes], int]:
    return lambda _row: units


def make_pool(*, at_head: bool = False, **limits: int) -> Pool:
    return Pool(PoolLimits(**limits), "COIN", at_head=at_head)


def add(pool: Pool, receipt: Receipt, balance: int = RICH) -> tuple[Dropped, ...]:
    return pool.add(receipt, NOW_MS, everybody_has(balance))


def order(pool: Pool) -> list[bytes]:
    return [entry.checked.txid for entry in pool.select()]


def txids(*receipts: Receipt) -> list[bytes]:
    return [receipt.checked.txid for receipt in receipts]


# Selection: by fee rate, then age.


def test_the_higher_fee_rate_comes_first_and_then_the_older() -> None:
    pool = make_pool()
    cheap, dear, same = payment(fee=100), payment(fee=9_000), payment(fee=100)
    long = payment(fee=9_000, memo=bytes(200))  # the same fee for more bytes: a lower rate
    for receipt in (cheap, dear, same, long):
        add(pool, receipt)
    assert order(pool) == txids(dear, long, cheap, same)


def test_age_survives_hiding_and_showing() -> None:
    pool = make_pool()
    first, second, third = payment(), payment(), payment()
    for receipt in (first, second, third):
        add(pool, receipt)
    pool.hide(txids(first, second))
    assert order(pool) == txids(third)
    assert pool.has_work()
    pool.show(txids(second))
    pool.show(txids(first))
    assert order(pool) == txids(first, second, third)


def test_nothing_selectable_is_no_work() -> None:
    pool = make_pool()
    assert not pool.has_work()
    receipt = payment()
    add(pool, receipt)
    pool.hide(txids(receipt))
    assert not pool.has_work()
    assert pool.selectable == 0
    assert len(pool) == 1


# Adding.


def test_a_txid_that_waits_stays_as_it_is() -> None:
    pool = make_pool()
    receipt = payment()
    add(pool, receipt)
    before = pool.get(receipt.checked.txid)
    assert add(pool, receipt) == ()
    assert pool.get(receipt.checked.txid) is before
    assert pool.bytes_total == receipt.checked.transaction.size


@pytest.mark.parametrize("kind", ["coin", "lease"])
@pytest.mark.parametrize(
    ("fee", "memo", "replaces"),
    [
        (1_000, b"", False),  # the same fee and rate
        (999, b"", False),
        (1_001, bytes(250), False),  # a higher fee at a lower rate
        (5_000, b"", True),
    ],
)
def test_a_rival_is_replaced_by_strictly_higher_fee_and_rate_only(
    kind: str, fee: int, memo: bytes, replaces: bool
) -> None:
    pool = make_pool()
    claim = {"coins": (1,)} if kind == "coin" else {"lease": 1}
    old, new = payment(fee=1_000, **claim), payment(fee=fee, memo=memo, **claim)
    add(pool, old)
    if replaces:
        [dropped] = add(pool, new)
        assert (dropped.entry.checked, dropped.reason) == (old.checked, "replaced")
        assert dropped.by == new.checked.txid
        assert order(pool) == txids(new)
        return
    with pytest.raises(ConflictsWithPending) as caught:
        add(pool, new)
    assert caught.value.values["what"] == ("a coin" if kind == "coin" else "its lease")
    assert caught.value.values["txid"] == old.checked.txid.hex()
    assert order(pool) == txids(old)


def test_one_newcomer_must_outbid_every_rival() -> None:
    pool = make_pool()
    low, high = payment(coins=(1,), fee=10), payment(coins=(2,), fee=10_000)
    add(pool, low)
    add(pool, high)
    with pytest.raises(ConflictsWithPending):
        add(pool, payment(coins=(1, 2), fee=5_000))
    assert order(pool) == txids(high, low)
    both = payment(coins=(1, 2), fee=50_000)
    assert {item.entry.checked.txid for item in add(pool, both)} == set(txids(low, high))
    assert order(pool) == txids(both)


def test_a_hidden_rival_must_be_outbid_as_well() -> None:
    pool = make_pool()
    old = payment(coins=(1,), fee=1_000)
    add(pool, old)
    pool.hide(txids(old))
    with pytest.raises(ConflictsWithPending):
        add(pool, payment(coins=(1,), fee=500))
    [dropped] = add(pool, payment(coins=(1,), fee=9_000))
    assert dropped.entry.hidden
    assert len(pool) == 1


# Overcommitment.


def test_pending_debits_never_exceed_the_final_balance() -> None:
    pool = make_pool()
    add(pool, payment(amount=60, fee=0), balance=100)
    with pytest.raises(Overcommitted) as caught:
        add(pool, payment(amount=41), balance=100)
    assert caught.value.values["pending"] == "0.0000006"
    add(pool, payment(amount=40), balance=100)
    assert pool.pending_debit(ALICE.row) == 100
    add(pool, payment(BOB, amount=100), balance=100)  # another owner's row is another's


def test_fees_count_as_debits() -> None:
    pool = make_pool()
    with pytest.raises(Overcommitted):
        add(pool, payment(amount=60, fee=41), balance=100)


def test_what_sits_in_an_unfinal_block_still_counts() -> None:
    pool = make_pool()
    first = payment(amount=80)
    add(pool, first, balance=100)
    pool.hide(txids(first))
    with pytest.raises(Overcommitted):
        add(pool, payment(amount=30), balance=100)


def test_beside_the_heads_balance_what_the_head_executed_does_not_count() -> None:
    pool = make_pool(at_head=True)
    first, second = payment(amount=80), payment(amount=20)
    add(pool, first, balance=100)
    pool.hide(txids(first))
    assert pool.pending_debit(ALICE.row) == 0
    pool.hide(txids(first))  # once is enough
    add(pool, second, balance=20)
    with pytest.raises(Overcommitted):
        add(pool, payment(amount=1), balance=20)
    pool.show(txids(first))
    pool.show(txids(first))
    assert pool.pending_debit(ALICE.row) == 100
    pool.hide(txids(first, second))
    pool.remove(first.checked.txid)
    pool.settle([second.checked], (), NOW_MS)
    assert pool.pending_debit(ALICE.row) == 0
    assert len(pool) == 0


def test_what_failed_and_was_executed_after_all_is_not_woken() -> None:
    pool = make_pool(at_head=True)
    first = payment(amount=80)
    add(pool, first, balance=100)
    entry = pool.get(first.checked.txid)
    assert entry is not None
    pool.park(entry)
    assert pool.pending_debit(ALICE.row) == 80, "it may still apply"
    pool.hide(txids(first))
    pool.wake([ALICE.row])
    assert not pool.has_work(), "it stands in a block"
    pool.show(txids(first))
    assert pool.has_work()


def test_what_failed_is_woken_by_a_row_that_it_needs() -> None:
    pool = make_pool()
    add(pool, payment(amount=80), balance=100)
    [entry] = pool.select()
    pool.park(entry)
    pool.wake([BOB.row])
    assert not pool.has_work()
    pool.wake([ALICE.row])
    assert [one.checked.txid for one in pool.select()] == [entry.checked.txid]


def test_a_replacement_may_spend_what_its_rival_did() -> None:
    pool = make_pool()
    add(pool, payment(amount=90, lease=1), balance=100)
    add(pool, payment(amount=50, fee=50, lease=1), balance=100)
    assert pool.pending_debit(ALICE.row) == 100


# Quotas and room.


def test_an_owner_has_a_count_and_a_byte_quota() -> None:
    size = payment().checked.transaction.size
    by_count = make_pool(owner_transactions_max=2)
    add(by_count, payment())
    add(by_count, payment())
    with pytest.raises(OwnerQuotaExceeded):
        add(by_count, payment(fee=10**6))
    add(by_count, payment(BOB))
    by_bytes = make_pool(owner_bytes_max=2 * size)
    add(by_bytes, payment())
    add(by_bytes, payment())
    with pytest.raises(OwnerQuotaExceeded):
        add(by_bytes, payment())


def test_at_its_quota_an_owner_can_still_replace() -> None:
    pool = make_pool(owner_transactions_max=1)
    add(pool, payment(fee=10, lease=1))
    new = payment(fee=10_000, lease=1)
    assert [item.reason for item in add(pool, new)] == ["replaced"]
    assert order(pool) == txids(new)


def test_a_full_pool_lets_the_cheapest_and_youngest_go() -> None:
    pool = make_pool(transactions_max=3)
    dear, older, younger = payment(fee=9_000), payment(fee=100), payment(fee=100)
    for receipt in (dear, older, younger):
        add(pool, receipt)
    new = payment(fee=5_000)
    [dropped] = add(pool, new)
    assert (dropped.entry.checked, dropped.reason, dropped.by) == (younger.checked, "evicted", None)
    assert order(pool) == txids(dear, new, older)


def test_the_youngest_goes_even_after_blocks_were_undone() -> None:
    pool = make_pool(transactions_max=2)
    older, younger = payment(fee=100), payment(fee=100)
    add(pool, older)
    add(pool, younger)
    pool.hide(txids(older))
    pool.show(txids(older))
    [dropped] = add(pool, payment(fee=5_000))
    assert dropped.entry.checked is younger.checked


def test_a_full_pool_refuses_whoever_does_not_pay_more() -> None:
    pool = make_pool(transactions_max=2)
    held = [payment(fee=100), payment(fee=100)]
    for receipt in held:
        add(pool, receipt)
    with pytest.raises(PoolFull):
        add(pool, payment(fee=100))
    assert order(pool) == txids(*held)


def test_room_is_made_for_bytes_as_well() -> None:
    size = payment(fee=1).checked.transaction.size
    pool = make_pool(bytes_max=3 * size + 10)
    small = [payment(fee=1) for _ in range(3)]
    for receipt in small:
        add(pool, receipt)
    big = payment(fee=90_000, memo=bytes(200))
    gone = add(pool, big)
    assert [item.entry.checked for item in gone] == [small[2].checked, small[1].checked]
    assert pool.bytes_total <= pool.limits.bytes_max


def test_a_transaction_in_a_block_is_never_evicted() -> None:
    pool = make_pool(transactions_max=1)
    included = payment(fee=0)
    add(pool, included)
    pool.hide(txids(included))
    with pytest.raises(PoolFull):
        add(pool, payment(fee=10**6))


def test_a_refusal_changes_nothing() -> None:
    pool = make_pool(transactions_max=2)
    first = payment(coins=(1,), fee=10)
    add(pool, first)
    add(pool, payment(fee=90_000))
    # It outbids its rival, but is more than its owner has: the rival must stay.
    greedy = payment(amount=10**6, fee=50_000, lease=7)
    with pytest.raises(Overcommitted):
        add(pool, greedy, balance=10)
    assert len(pool) == 2
    assert pool.get(first.checked.txid) is not None
    assert pool.get(greedy.checked.txid) is None


# Parking: what failed on the head waits for one of its rows.


def test_a_parked_entry_returns_when_a_row_it_needs_changes() -> None:
    pool = make_pool()
    receipt = payment()
    add(pool, receipt)
    [entry] = pool.select()
    pool.park(entry)
    assert not pool.has_work()
    assert pool.settle((), [SHOP.row], 0) == []
    assert not pool.has_work()
    pool.settle((), [ALICE.row], 0)
    assert order(pool) == txids(receipt)


def test_parked_entries_return_when_a_block_is_undone() -> None:
    pool = make_pool()
    included, parked = payment(), payment()
    add(pool, included)
    add(pool, parked)
    pool.hide(txids(included))
    [entry] = pool.select()
    pool.park(entry)
    pool.show(txids(included))
    assert order(pool) == txids(included, parked)


def test_parking_leaves_nothing_behind() -> None:
    pool = make_pool()
    for lease in range(3):
        add(pool, payment(lease=lease, coins=(lease,)))
    for entry in list(pool.select()):
        pool.park(entry)
    first, second, third = list(pool.entries())
    pool.remove(first.checked.txid)
    pool.settle((), [second.checked.claims[0]], 0)
    pool.settle((), (), NOW_MS + 60_000)
    assert third.hidden
    assert len(pool) == 0
    assert pool._parked == {}


# Settling.


def test_a_final_block_takes_its_transactions_and_ends_their_rivals() -> None:
    pool = make_pool()
    included, rival, other = payment(lease=1), payment(coins=(1,)), payment(coins=(2,))
    for receipt in (included, rival, other):
        add(pool, receipt)
    winner = payment(coins=(1,), fee=3)  # never seen here
    dropped = pool.settle([included.checked, winner.checked], (), NOW_MS)
    assert [(item.entry.checked, item.reason, item.by) for item in dropped] == [
        (rival.checked, "conflict", winner.checked.txid)
    ]
    assert order(pool) == txids(other)


def test_expiry_is_chain_time_reaching_valid_until() -> None:
    pool = make_pool()
    soon, late, never = (
        payment(valid_ms=10),
        payment(valid_ms=11),
        payment(coins=(1,), valid_ms=None),
    )
    for receipt in (soon, late, never):
        add(pool, receipt)
    assert pool.settle((), (), NOW_MS + 9) == []
    [dropped] = pool.settle((), (), NOW_MS + 10)
    assert (dropped.entry.checked, dropped.reason) == (soon.checked, "expired")
    pool.settle((), (), NOW_MS + 10**12)
    assert order(pool) == txids(never)


def test_claims_follow_the_entry_that_holds_them() -> None:
    pool = make_pool()
    old, new = payment(lease=1, fee=0), payment(lease=1, fee=9_000)
    add(pool, old)
    [claim] = next(iter(pool.entries())).checked.claims
    add(pool, new)
    held = pool.claimant(claim)
    assert held is not None
    assert held.checked is new.checked
    pool.remove(new.checked.txid)
    assert pool.claimant(claim) is None


def test_bytes_are_found_by_their_own_hash() -> None:
    pool = make_pool()
    receipt = payment()
    add(pool, receipt)
    wtxid = receipt.checked.transaction.wtxid
    assert pool.has_wtxid(wtxid)
    assert pool.by_wtxid(wtxid) is receipt.checked
    pool.remove(receipt.checked.txid)
    assert not pool.has_wtxid(wtxid)
    assert pool.by_wtxid(wtxid) is None
