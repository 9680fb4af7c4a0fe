"""Whole nodes of a mined chain under faults and lying miners, and mutants that are caught."""

import gc
import weakref
from collections.abc import Callable
from itertools import cycle, islice
from random import SystemRandom

import pytest
from simulation_kit import held, one_trace_everywhere

from chaind.consensus.pow import tree
from chaind.consensus.pow.orphans import Orphan
from chaind.ledger import execute
from chaind.ledger.journal import Delta, State
from chaind.node.node import Node
from chaind.node.work_engine import WorkEngine
from chaind.simulation.faults import Fault
from chaind.simulation.options import Options, Outcome
from chaind.simulation.pow_kinds import KINDS
from chaind.simulation.pow_mode import LONG_PARTITION
from chaind.simulation.simulation import Simulation


def run(options: Options) -> Outcome:
    return Simulation(options._replace(mode="pow")).run()


def test_a_fixed_seed_holds() -> None:
    held(run(Options(3)))


def test_a_clock_that_is_set_back_makes_no_blocks_that_its_node_refuses() -> None:
    """Found by seed 1196741548: the chain's median time was beyond what its clock let it take."""
    back = Fault(0, 6.952437346490116, "clock", (1,), 4.14, 15_800.0)
    held(run(Options(1196741548, seconds=12.0, plan=(back,))))


def test_a_fresh_seed_holds() -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"replay: chaind simulate --mode pow --seed {seed}")
    held(run(Options(seed)))


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    one_trace_everywhere("17, seconds=25.0, mode='pow', adversary='selfish miner'")


def test_a_run_leaves_nothing_in_memory() -> None:
    simulation = Simulation(Options(0, seconds=5.0, adversary="none", plan=(), mode="pow"))
    held(simulation.run())
    left = weakref.ref(simulation)
    del simulation
    gc.collect()
    assert left() is None


# Two halves, again and again, and in between each node loses power.
STORM = tuple(
    Fault(number, 5.0 + 5 * number, kind, who, 4.0, 1.0)
    for number, (kind, who) in enumerate(
        islice(
            cycle(
                [
                    ("partition", (0, 1)),
                    ("power cut", (2,)),
                    ("partition", (1, 2)),
                    ("power cut", (0,)),
                ]
            ),
            8,
        )
    )
)
SHOWN = {
    "selfish miner": "private branch published",
    "withholding miner": "private branch published",
    "body withholder": "withheld body fetched elsewhere",
    "invalid work": "lying peer dropped",
    "invalid block": "invalid block refused",
    "time warper": "headers from the future refused",
    "lying header server": "lying peer dropped",
    "body spoiler": "lying peer dropped",
    "garbage": "",
    "slow peer": "",
    "spammer": "",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lying_miner_harms_nobody(kind: str) -> None:
    outcome = run(Options(2, seconds=45.0, adversary=kind, plan=STORM))
    held(outcome)
    assert outcome.points[f"adversary: {kind}"] == 1
    assert not SHOWN[kind] or outcome.points[SHOWN[kind]]
    assert outcome.counts["final blocks"] > 10


def test_a_storm_reorganises_and_what_was_lost_is_mined_again() -> None:
    points = run(Options(4, seconds=60.0, adversary="none", plan=STORM)).points
    assert points["reorganisation of depth 2 or more"]
    assert points["transaction of a lost branch mined again"]


def test_a_network_parted_for_too_long_says_so_on_both_sides() -> None:
    outcome = run(Options(0, adversary=LONG_PARTITION))
    held(outcome)
    assert outcome.points["a chain split for good, and told"]


# Mutants: what the simulation is there to catch.


def _final_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks on top are enough."""
    settle = WorkEngine._settle

    def hasty(self: WorkEngine) -> None:
        self._depth = 2
        settle(self)

    monkeypatch.setattr(WorkEngine, "_settle", hasty)


def _undo_forgets_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    undo = State.undo

    def forgetful(self: State) -> Delta:
        kept = dict(self._live)
        delta = undo(self)
        for key in list(delta.undo)[-1:]:
            self._live[key] = kept[key]
        return delta

    monkeypatch.setattr(State, "undo", forgetful)


def _work_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree.Tree, "_check_work", lambda *_: None)


def _times_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "check_after", lambda **_: None)


def _lease_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "_check_lease", lambda *_: None)


def _journal_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart without the intake journal."""
    monkeypatch.setattr(Node, "_restore", lambda *_: None)


def _deep_reorganisation_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(
        self: tree.Tree, header: bytes, block_hash: bytes, _decoded: object, peer: int
    ) -> tree.Heard:
        self._orphans.add(Orphan(block_hash, header, peer))
        return tree.Heard((), orphaned=True, faults=())

    monkeypatch.setattr(tree.Tree, "_hear_unlinked", hear)


MUTANTS: list[tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = [
    (_final_too_early, "none", "another block final"),
    (_undo_forgets_a_key, "none", "refuses a block of"),
    (_work_unchecked, "invalid work", "could be mined"),
    (_times_unchecked, "time warper", "could be mined"),
    (_lease_unchecked, "none", "takes lease"),
    (_journal_forgotten, "none", "which it has accepted"),
    (_deep_reorganisation_untold, LONG_PARTITION, "no agreement"),
]


@pytest.mark.parametrize(
    ("mutate", "adversary", "words"), MUTANTS, ids=[one[0].__name__.strip("_") for one in MUTANTS]
)
def test_a_mutant_is_caught(
    mutate: Callable[[pytest.MonkeyPatch], None],
    adversary: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    plan = None if adversary == LONG_PARTITION else STORM
    seconds = None if adversary == LONG_PARTITION else 60.0
    violation = run(Options(2, seconds=seconds, adversary=adversary, plan=plan)).violation
    assert violation is not None
    assert words in violation
