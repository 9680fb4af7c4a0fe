"""The judge of `nemesis.py` can find fault: one true history, and every way of breaking it."""

from collections.abc import Callable

import pytest
from bank_history import Applied, Chain, History, Order, Read, Told, Verdict, judge

ALICE, BOB, CAROL = b"alice", b"bob", b"carol"
OPENING = {ALICE: 100, BOB: 50}
HASHES = [b"block 1", b"block 2", b"block 3"]
FIRST = Applied(1, b"id 1", "order 1", ALICE, BOB, 30)
SECOND = Applied(3, b"id 2", "order 2", BOB, CAROL, 5)


class Case:
    """Two nodes with one chain of three blocks, two payments, and everything told of them."""

    def __init__(self) -> None:
        self.history = History()
        self.history.ask(Order("order 1", ALICE, BOB, 30, keyed=True))
        self.history.ask(Order("order 2", BOB, CAROL, 5, keyed=False))
        self.history.ask(Order("order 3", BOB, CAROL, 7, keyed=True))  # never answered
        self.history.told += [
            Told("order 1", b"id 1", 0, at_s=1.0, final=True),
            Told("order 1", b"id 1", 1, at_s=1.5, final=True),
            Told("order 2", b"id 2", 0, at_s=2.0, final=False),
        ]
        self.history.reads += [
            Read(0, 0, {ALICE: 100, BOB: 50, CAROL: 0}, since_s=0.5),
            Read(0, 2, {ALICE: 70, BOB: 80, CAROL: 0}, since_s=2.5),
            Read(1, 1, {ALICE: 70, BOB: 80, CAROL: 0}, since_s=1.6),
            Read(0, 3, {ALICE: 70, BOB: 75, CAROL: 5}, since_s=3.0),
        ]
        self.chains = [Chain(HASHES, [FIRST, SECOND]), Chain(HASHES[:2], [FIRST])]

    def judge(self) -> Verdict:
        return judge(self.history, self.chains, OPENING)

    def apply(self, *applied: Applied) -> None:
        """Another content of the longest chain."""
        self.chains[0] = Chain(HASHES, applied)

    def read(self, index: int, **changes: object) -> None:
        self.history.reads[index] = self.history.reads[index]._replace(**changes)

    def fork(self) -> None:
        self.chains[1] = Chain([b"block 1", b"another 2"], [FIRST])

    def lose(self) -> None:
        self.apply(FIRST)

    def lose_before(self) -> None:
        self.history.told.append(Told("order 3", b"id 3", 1, at_s=4.0, final=False))

    def pay_twice(self) -> None:
        self.apply(FIRST, SECOND, Applied(3, b"id 9", "order 1", ALICE, BOB, 30))

    def apply_twice(self) -> None:
        self.apply(FIRST, SECOND, SECOND)

    def tell_another(self) -> None:
        self.history.told[1] = Told("order 1", b"id 2", 1, at_s=1.5, final=True)

    def pay_more(self) -> None:
        self.apply(FIRST._replace(units=31), SECOND)

    def overdraw(self) -> None:
        self.history.ask(Order("order 4", CAROL, BOB, 6, keyed=True))
        self.apply(FIRST, SECOND, Applied(3, b"id 4", "order 4", CAROL, BOB, 6))

    def pay_another(self) -> None:
        self.apply(FIRST, SECOND._replace(target=ALICE))

    def pay_unasked(self) -> None:
        self.apply(FIRST, SECOND, Applied(3, b"id 9", "order 9", ALICE, BOB, 1))

    def make_money(self) -> None:
        self.read(1, balances={ALICE: 70, BOB: 81, CAROL: 0})

    def tear(self) -> None:  # between two blocks, and the sum is right
        self.read(1, balances={ALICE: 70, BOB: 75, CAROL: 5})

    def read_beyond(self) -> None:
        self.read(3, height=4)

    def go_back(self) -> None:
        self.read(3, height=0, balances={ALICE: 100, BOB: 50, CAROL: 0})

    def forget_what_was_told(self) -> None:
        self.read(2, height=0, balances={ALICE: 100, BOB: 50, CAROL: 0})


def test_a_history_that_fits_is_not_blamed() -> None:
    verdict = Case().judge()
    assert verdict.sentences() == []
    assert set(verdict.counts().values()) == {0}


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (Case.fork, "forks"),
        (Case.lose, "lost"),
        (Case.lose_before, "lost"),
        (Case.pay_twice, "twice"),
        (Case.apply_twice, "twice"),
        (Case.tell_another, "twice"),
        (Case.overdraw, "overdrawn"),
        (Case.pay_more, "altered"),
        (Case.pay_another, "altered"),
        (Case.pay_unasked, "altered"),
        (Case.make_money, "sums_off"),
        (Case.tear, "reads_off"),
        (Case.read_beyond, "reads_off"),
        (Case.go_back, "backwards"),
        (Case.forget_what_was_told, "backwards"),
    ],
)
def test_every_rule_can_be_broken(spoil: Callable[[Case], None], rule: str) -> None:
    case = Case()
    spoil(case)
    verdict = case.judge()
    assert verdict.counts()[rule], verdict
    print("\n".join(verdict.sentences()))


def test_an_order_without_an_answer_may_be_carried_out_once() -> None:
    case = Case()
    done = Applied(3, b"id 3", "order 3", BOB, CAROL, 7)
    case.apply(FIRST, done, SECOND)
    case.history.reads.pop()
    assert case.judge().sentences() == []
    case.apply(FIRST, done, SECOND, done._replace(txid=b"id 4"))
    assert case.judge().counts()["twice"] == 1
