"""The block tree: rules in every branch, most work, first seen, orphans, invalid, finality.

Random trees of real (easy) work are held against a reference that starts from block 0 each time.
"""

from random import Random

import pytest
from header_kit import BEGIN, EASY, NOW, mine
from slow_tree import SlowTree
from tree_kit import ASERT, BIP94, GENESIS, PLAIN, SPACED, WINDOWED, child, grow, hold, make_tree

from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.errors import (
    BitsUnexpected,
    HashTooHigh,
    TargetTooEasy,
    TimeTooNew,
    TimeTooOld,
    TimeTooSoon,
)
from chaind.consensus.pow.tree_errors import ParentInvalid, ReorgTooDeep
from chaind.primitives.block import Header
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import display_hash, sha256d
from chaind.primitives.work import WorkParameters

# Against the reference.


class Pair:
    """The tree and its reference, grown by the same random steps."""

    def __init__(self, parameters: WorkParameters, seed: int) -> None:
        self.parameters = parameters
        self.rng = Random(seed)
        self.now = BEGIN + 30_000
        self.tree, self.finals = make_tree(parameters)
        self.slow = SlowTree(GENESIS, parameters, self.now)
        self.later: list[bytes] = []  # children that are told before their parents
        self.errors: set[type[ChaindError]] = set()
        self.reorgs = 0

    def pick(self) -> Entry:
        """A header, the young ones more often."""
        entries = list(self.tree.entries())
        return entries[max(self.rng.randrange(len(entries)), self.rng.randrange(len(entries)))]

    def make(self, parent: Entry) -> bytes:
        """Mostly a header that holds; sometimes one that breaks a rule."""
        rng = self.rng
        time = max(
            parent.time + rng.choice((-2_000, 60, 300, 600, 600, 900)),
            self.tree.next_time_min(parent) if rng.random() < 0.9 else 0,
        )
        bits = self.tree.next_bits(parent)
        fault = rng.random()
        if fault < 0.03:
            bits = rng.choice((0x207FFFFE, 0x207F0000, 0x1F7FFFFF))
        if 0.03 <= fault < 0.06:
            time = self.now + 7_201 + rng.randrange(10_000)
        return mine(parent=parent.hash, time=time, bits=bits, done=fault < 0.97)

    def tell(self, header: bytes) -> None:
        """Both hear of a header; what the tree says is what the reference says."""
        slow, parent = self.slow, Header.decode(header).parent
        known = sha256d(header) in slow.headers
        raised: type[ChaindError] | None = None
        try:
            heard = self.tree.hear(header, now=self.now)
        except ChaindError as error:
            raised = type(error)
            self.errors.add(raised)
        if parent not in slow.headers:
            assert raised is None
            assert heard.orphaned
            slow.waiting[sha256d(header)] = header
        elif slow.final not in slow.chain(parent):
            if raised is None:
                assert heard.orphaned, "its parent was forgotten with its branch"
            else:
                assert raised is ReorgTooDeep
        elif slow.is_invalid(parent) or (known and slow.is_invalid(sha256d(header))):
            assert raised is ParentInvalid
        else:
            assert raised is slow.verdict(header)
            if raised is None and not known:
                slow.take(header)

    def step(self) -> None:
        rng, tree, slow = self.rng, self.tree, self.slow
        what = rng.random()
        if what < 0.62:
            self.tell(self.make(self.pick()))
        elif what < 0.70:  # a child before its parent
            parent = self.make(self.pick())
            lost = Entry(parent, sha256d(parent), None)
            bits = rng.choice((EASY, tree.next_bits(self.pick())))
            orphan = mine(parent=lost.hash, time=Header.decode(parent).time + 600, bits=bits)
            self.tell(orphan)
            self.later.append(parent)
        elif what < 0.76 and self.later:
            self.tell(self.later.pop())
        elif what < 0.94:
            self.hold(self.pick())
        elif what < 0.96:
            entry = self.pick()
            if entry is not tree.base:
                tree.invalidate(entry.hash)
                slow.invalid.add(entry.hash)
        elif (buried := tree.buried(tree.ready, 3)) is not None:
            self.finals.hashes = slow.chain(buried.hash)
            tree.finalise(buried.hash)
            slow.final = buried.hash

    def hold(self, entry: Entry) -> None:
        """The body of a header, and mostly those of the headers below it."""
        tree, slow = self.tree, self.slow
        whole = tree.path(tree.base.hash, entry.hash).apply if self.rng.random() < 0.8 else ()
        for one in (*whole, entry):
            if not slow.is_invalid(one.hash):
                before = tree.ready
                tree.hold(one.hash)
                slow.hold(one.hash)
                self.reorgs += bool(tree.path(before.hash, tree.ready.hash).undo)

    def compare(self) -> None:
        tree, slow = self.tree, self.slow
        assert [entry.hash for entry in tree.entries()] == slow.living()
        assert tree.base.hash == slow.final
        assert tree.best.hash == slow.best()
        assert tree.ready.hash == slow.ready()
        entry, other = self.pick(), self.pick()
        chain, rival = slow.chain(entry.hash), slow.chain(other.hash)
        assert (entry.height, entry.chainwork) == (len(chain) - 1, slow.work(entry.hash))
        assert entry.invalid == slow.is_invalid(entry.hash)
        times = [Header.decode(slow.headers[one]).time for one in chain]
        assert tree.times(entry) == tuple(times[-11:])
        path = tree.path(entry.hash, other.hash)
        assert [one.hash for one in path.undo] == [x for x in chain[::-1] if x not in rival]
        assert [one.hash for one in path.apply] == [x for x in rival if x not in chain]
        assert tree.locator(entry)[:10] == tuple(chain[::-1][:10])
        assert tree.locator(entry)[-1] == sha256d(GENESIS)


@pytest.mark.parametrize("parameters", [WINDOWED, BIP94, ASERT, SPACED])
def test_random_trees_are_those_of_the_reference(parameters: WorkParameters) -> None:
    errors: set[type[ChaindError]] = set()
    reorgs = finals = 0
    for seed in range(4):
        pair = Pair(parameters, seed)
        for _ in range(80):
            pair.step()
            pair.compare()
        errors |= pair.errors
        reorgs += pair.reorgs
        finals += pair.tree.base.height
    assert {BitsUnexpected, HashTooHigh, TimeTooNew, ParentInvalid} <= errors
    assert reorgs > 0
    assert finals > 0


# Laws by name.


def test_the_most_work_wins_not_the_greatest_height() -> None:
    tree, _ = make_tree(WINDOWED)
    slow = grow(tree, tree.base, 7, seconds=3_000)
    assert tree.best is slow[-1]
    quick = grow(tree, tree.base, 5, seconds=60)  # its second window is harder
    assert quick[-1].height < slow[-1].height
    assert tree.best is quick[-1]


def test_of_equal_work_the_first_seen_wins() -> None:
    tree, _ = make_tree(PLAIN)
    first, second = grow(tree, tree.base, 2, seconds=600), grow(tree, tree.base, 2, seconds=601)
    assert tree.best is first[-1]
    hold(tree, second)
    hold(tree, first)
    assert tree.ready is second[-1], "the first whose bodies were there"


def test_a_branch_without_its_bodies_is_best_and_not_ready() -> None:
    tree, _ = make_tree(PLAIN)
    branch = grow(tree, tree.base, 3)
    hold(tree, [branch[0], branch[2]])
    assert tree.best is branch[2]
    assert tree.ready is branch[0]
    tree.hold(branch[1].hash)
    assert tree.ready is branch[2]


def test_an_invalid_block_takes_its_descendants_and_the_next_best_is_chosen() -> None:
    tree, _ = make_tree(PLAIN)
    long, short = grow(tree, tree.base, 4), grow(tree, tree.base, 2, seconds=601)
    hold(tree, long + short)
    marked = tree.invalidate(long[1].hash)
    assert set(marked) == set(long[1:])
    assert tree.best is tree.ready is short[-1]
    with pytest.raises(ParentInvalid):
        tree.hear(child(tree, long[3]), now=NOW)
    with pytest.raises(ParentInvalid):
        tree.hear(long[2].header, now=NOW)
    assert tree.invalidate(long[0].hash) == (long[0],)
    assert tree.hear(child(tree, short[1]), now=NOW).added


def test_rules_hold_in_branches_that_are_not_the_best() -> None:
    tree, _ = make_tree(WINDOWED)
    grow(tree, tree.base, 9, seconds=60)
    side = grow(tree, tree.base, 3, seconds=1_200)
    assert tree.next_bits(side[-1]) == EASY
    with pytest.raises(BitsUnexpected):
        tree.hear(child(tree, side[-1], bits=tree.next_bits(tree.best)), now=NOW)
    with pytest.raises(TimeTooOld):
        tree.hear(child(tree, side[-1], time=tree.next_time_min(side[-1]) - 1), now=NOW)
    with pytest.raises(TargetTooEasy):
        tree.hear(child(tree, side[-1], bits=0x2100FFFF), now=NOW)


def test_blocks_keep_their_distance_where_the_chain_says_so() -> None:
    tree, _ = make_tree(SPACED)
    with pytest.raises(TimeTooSoon):
        tree.hear(child(tree, tree.base, seconds=59), now=NOW)
    assert tree.next_time_min(tree.base) == BEGIN + 60
    assert tree.hear(child(tree, tree.base, seconds=60), now=NOW).added


def test_a_header_from_the_future_is_taken_when_its_time_has_come() -> None:
    tree, _ = make_tree(PLAIN)
    header = child(tree, tree.base, seconds=8_000)
    with pytest.raises(TimeTooNew):
        tree.hear(header, now=BEGIN)
    assert tree.hear(header, now=BEGIN + 800).added


def test_what_would_leave_the_chain_below_final_is_refused() -> None:
    tree, finals = make_tree(PLAIN)
    branch = grow(tree, tree.base, 8)
    rival = grow(tree, branch[0], 2, seconds=601)
    hold(tree, branch)
    genesis_child = child(tree, tree.base, seconds=700)
    final = tree.buried(tree.ready, 5)
    assert final is branch[2]
    finals.hashes += [entry.hash for entry in branch[:3]]
    tree.finalise(final.hash)
    assert len(tree) == 6
    assert tree.get(rival[0].hash) is None
    with pytest.raises(ReorgTooDeep) as refused:
        tree.hear(genesis_child, now=NOW)
    assert refused.value.values == {
        "hash": display_hash(sha256d(genesis_child)),
        "fork_height": 0,
        "final_height": 3,
    }
    assert tree.hear(branch[1].header, now=NOW) == ((), False, ())
    assert tree.hear(child(tree, branch[2], seconds=700), now=NOW).added


def test_finality_gives_up_a_heavier_branch_whose_bodies_nobody_gave() -> None:
    tree, finals = make_tree(PLAIN)
    branch = grow(tree, tree.base, 4)
    hold(tree, branch)
    withheld = grow(tree, tree.base, 6, seconds=601)
    assert tree.best is withheld[-1]
    finals.hashes.append(branch[0].hash)
    tree.finalise(branch[0].hash)
    assert tree.best is tree.ready is branch[-1]


def test_side_branches_are_bounded_and_the_lightest_go_first() -> None:
    tree, _ = make_tree(PLAIN, side_max=16)
    main = grow(tree, tree.base, 5)
    heavy = grow(tree, tree.base, 4, seconds=601)
    for seconds in range(700, 740):
        tree.hear(child(tree, tree.base, seconds=seconds), now=NOW)
    assert len(tree) - 1 - len(main) <= 16 + 5
    assert tree.best is main[-1]
    assert all(tree.get(entry.hash) is entry for entry in heavy)


def test_a_branch_that_outgrows_the_best_one_is_heard_out_however_deep_it_leaves() -> None:
    tree, _ = make_tree(PLAIN, side_max=16)
    grow(tree, tree.base, 60)
    rival = grow(tree, tree.base, 61, seconds=601)
    assert tree.best is rival[-1]


def test_a_side_branch_goes_from_its_tip_down() -> None:
    tree, _ = make_tree(PLAIN, side_max=16)
    main = grow(tree, tree.base, 10)
    light = grow(tree, tree.base, 9, seconds=601)
    for seconds in range(700, 717):
        grow(tree, main[8], 1, seconds=seconds)
    assert len(tree) - 1 - len(main) == 16 + len(main), "there is no room left"
    grow(tree, main[8], 1, seconds=717)
    there = [tree.get(entry.hash) is entry for entry in light]
    assert there == [True] * 6 + [False] * 3, "one too many and an eighth"
