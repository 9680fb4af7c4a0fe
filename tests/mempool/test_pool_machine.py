"""Any sequence of operations leaves the pool's books equal to those of a plain list of entries."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pool_kit import ALICE, BOB, NOW_MS, Person, payment

from chaind.ledger.execute import Receipt
from chaind.mempool.entries import RATE_SCALE
from chaind.mempool.pool import Pool, PoolLimits
from chaind.primitives.errors import ChaindError

BALANCE = 3_000
LIMITS = PoolLimits(
    transactions_max=8, bytes_max=2_200, owner_transactions_max=6, owner_bytes_max=1_600
)


class Waiting:
    """The model's entry."""

    def __init__(self, receipt: Receipt, age: int) -> None:
        self.receipt, self.age = receipt, age
        self.checked = receipt.checked
        self.in_block = self.parked = False
        self.rate = receipt.fee * RATE_SCALE // self.size
        self.needs = {row for row, debit, *_ in self.checked.moves if debit}
        self.needs |= set(self.checked.claims)

    @property
    def size(self) -> int:
        return self.checked.transaction.size

    @property
    def hidden(self) -> bool:
        return self.in_block or self.parked


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(LIMITS, "COIN")
        self.model: dict[bytes, Waiting] = {}
        self.blocks: list[list[bytes]] = []
        self.time_ms = NOW_MS
        self.age = 0

    # Operations.

    @rule(
        source=st.sampled_from([ALICE, BOB]),
        amount=st.sampled_from([1, 300, 1_000]),
        fee=st.sampled_from([0, 5, 50, 700]),
        coins=st.sets(st.integers(0, 3), max_size=2),
        lease=st.none() | st.integers(0, 2),
        valid_ms=st.sampled_from([5, 50, 500]),
        memo=st.sampled_from([0, 150]),
    )
    def add(
        self,
        source: Person,
        amount: int,
        fee: int,
        coins: set[int],
        lease: int | None,
        valid_ms: int,
        memo: int,
    ) -> None:
        receipt = payment(
            source,
            amount,
            fee=fee,
            coins=tuple(sorted(coins)),
            lease=lease,
            valid_ms=self.time_ms - NOW_MS + valid_ms,
            memo=bytes(memo),
        )
        new = Waiting(receipt, self.age)
        claims = set(receipt.checked.claims)
        rivals = {t for t, one in self.model.items() if claims & set(one.checked.claims)}
        try:
            dropped = self.pool.add(receipt, self.time_ms, lambda _row: BALANCE)
        except ChaindError:
            assert not self.admissible(new, rivals), "refused for nothing"
            return
        left = {item.entry.checked.txid: item.reason for item in dropped}
        assert {txid for txid, reason in left.items() if reason == "replaced"} == rivals
        evicted = [self.model[txid] for txid, reason in left.items() if reason == "evicted"]
        for txid in rivals:
            assert receipt.fee > self.model[txid].receipt.fee
            assert new.rate > self.model[txid].rate
        for victim in evicted:
            assert not victim.hidden
            assert victim.rate < new.rate
        kept = [one for t, one in self.model.items() if t not in left and not one.hidden]
        worst = max(((one.rate, -one.age) for one in evicted), default=None)
        if worst is not None:
            assert all((one.rate, -one.age) > worst for one in kept), "a better one had to leave"
        for txid in left:
            del self.model[txid]
        self.model[receipt.checked.txid] = new
        self.age += 1

    def admissible(self, new: Waiting, rivals: set[bytes]) -> bool:
        """What the rules say of a newcomer."""
        others = [one for txid, one in self.model.items() if txid not in rivals]
        if any(
            new.receipt.fee <= self.model[t].receipt.fee or new.rate <= self.model[t].rate
            for t in rivals
        ):
            return False
        owner = new.checked.demands[0].address
        mine = [one for one in others if one.checked.demands[0].address == owner]
        if len(mine) + 1 > LIMITS.owner_transactions_max:
            return False
        if sum(one.size for one in mine) + new.size > LIMITS.owner_bytes_max:
            return False
        debits = sum((debits_of(one) for one in (*others, new)), Counter())
        if any(debits[row] > BALANCE for row in debits_of(new)):
            return False
        stay = [one for one in others if one.hidden or one.rate >= new.rate]
        return (
            len(stay) + 1 <= LIMITS.transactions_max
            and sum(one.size for one in stay) + new.size <= LIMITS.bytes_max
        )

    @precondition(lambda self: self.pool.has_work())
    @rule(count=st.integers(1, 3))
    def build(self, count: int) -> None:
        """The first few of the selection go into a block."""
        chosen = [entry.checked.txid for entry in self.pool.select()][:count]
        self.pool.hide(chosen)
        self.blocks.append(chosen)
        for txid in chosen:
            self.model[txid].in_block = True

    @precondition(lambda self: self.blocks)
    @rule()
    def undo(self) -> None:
        undone = self.blocks.pop()
        self.pool.show(undone)
        for one in self.model.values():
            one.parked = False
        for txid in undone:
            if txid in self.model:
                self.model[txid].in_block = False

    @precondition(lambda self: self.pool.has_work())
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(list(self.pool.select())))
        self.pool.park(entry)
        self.model[entry.checked.txid].parked = True

    @rule(data=st.data(), later_ms=st.sampled_from([0, 3, 60]), foreign=st.booleans())
    def settle(self, data: st.DataObject, later_ms: int, foreign: bool) -> None:
        """The lowest block is final; or one of somebody else's, with a rival of ours in it."""
        self.time_ms += later_ms
        included = []
        if self.blocks:
            included = [
                self.model[txid].checked for txid in self.blocks.pop(0) if txid in self.model
            ]
        elif foreign:
            coins, lease = data.draw(st.sets(st.integers(0, 3), max_size=1)), 1
            included = [payment(coins=tuple(coins), lease=lease).checked]
        changed = {row for one in included for row, *_ in one.moves}
        dropped = {
            item.entry.checked.txid: item.reason
            for item in self.pool.settle(included, changed, self.time_ms)
        }
        used = {claim for one in included for claim in one.claims}
        ids = {one.txid for one in included}
        for txid, one in list(self.model.items()):
            valid_until = one.checked.transaction.body.valid_until
            assert valid_until is not None
            if txid in ids:
                assert txid not in dropped
                del self.model[txid]
            elif used & set(one.checked.claims):
                assert dropped.pop(txid) == "conflict"
                del self.model[txid]
            elif valid_until <= self.time_ms:
                assert dropped.pop(txid) == "expired"
                del self.model[txid]
            elif one.parked and one.needs & changed:
                one.parked = False
        assert dropped == {}

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        txid = data.draw(st.sampled_from(list(self.model)))
        assert self.pool.remove(txid) is not None
        assert self.pool.remove(txid) is None
        del self.model[txid]

    # The books.

    @invariant()
    def selection_is_by_rate_then_age(self) -> None:
        visible = [one for one in self.model.values() if not one.hidden]
        visible.sort(key=lambda one: (-one.rate, one.age))
        assert [e.checked.txid for e in self.pool.select()] == [v.checked.txid for v in visible]
        assert self.pool.selectable == len(visible)
        assert self.pool.has_work() == bool(visible)

    @invariant()
    def sums_agree(self) -> None:
        pool, waiting = self.pool, list(self.model.values())
        assert len(pool) == len(waiting) <= LIMITS.transactions_max
        assert pool.bytes_total == sum(one.size for one in waiting) <= LIMITS.bytes_max
        debits = sum((debits_of(one) for one in waiting), Counter())
        assert pool._debits == {row: units for row, units in debits.items() if units}
        owners: dict[bytes, tuple[int, int]] = {}
        for one in waiting:
            for demand in one.checked.demands:
                count, size = owners.get(demand.address, (0, 0))
                owners[demand.address] = (count + 1, size + one.size)
        assert pool._owners == owners
        claims = {claim: t for t, one in self.model.items() for claim in one.checked.claims}
        assert pool._claims == claims
        parked: dict[bytes, set[bytes]] = {}
        for txid, one in self.model.items():
            for row in one.needs if one.parked else ():
                parked.setdefault(row, set()).add(txid)
        assert pool._parked == parked


def debits_of(one: Waiting) -> Counter[bytes]:
    return Counter({row: debit for row, debit, *_ in one.checked.moves if debit})


def test_the_pool_agrees_with_a_plain_model() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        PoolMachine, settings=settings(max_examples=60, stateful_step_count=40)
    )
