"""Whole nodes under faults: fixed seeds, fresh ones, the same trace twice, and mutants caught."""

from collections.abc import Callable, Sequence
from itertools import count, cycle, islice
from random import SystemRandom

import pytest
from simulation_kit import held, one_trace_everywhere

from chaind.consensus import rules
from chaind.consensus.core import Record
from chaind.consensus.outbox import Outbox
from chaind.consensus.quorums import Quorums
from chaind.ledger import execute
from chaind.node.durable import GroupCommit
from chaind.node.engine import Engine
from chaind.node.node import Node
from chaind.primitives.votes import Vote
from chaind.simulation.campaign import shrink
from chaind.simulation.faults import Fault
from chaind.simulation.options import Options, Outcome
from chaind.simulation.simulation import Simulation

Plan = tuple[Fault, ...]

# Each once found something, or shows an adversary at its work.
SEEDS = [
    Options(1, traders=0),
    Options(1, nodes=7, traders=0),
    Options(70, traders=0),
    Options(138, skip=frozenset({2, 8, 9, 10, 11}), traders=0),
    Options(207, skip=frozenset(range(17)), traders=0),
    Options(8, adversary="double voter"),
    Options(5, adversary="twins"),
]


def run(options: Options) -> Outcome:
    return Simulation(options).run()


@pytest.mark.parametrize(
    "options", SEEDS, ids=lambda one: f"{one.seed}-{one.nodes}-{one.adversary}"
)
def test_a_fixed_seed_holds(options: Options) -> None:
    held(run(options))


def test_a_fresh_seed_holds() -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"replay: chaind simulate --seed {seed}")
    held(run(Options(seed)))


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    one_trace_everywhere("17, seconds=12.0")


def test_different_seeds_give_different_traces() -> None:
    hashes = {run(Options(seed, seconds=1.0)).trace_hash for seed in (1, 2)}
    assert len(hashes) == 2


def test_a_run_without_faults_and_liars_is_calm() -> None:
    outcome = run(Options(3, groups=(), seconds=8.0, adversary="none"))
    assert outcome.violation is not None
    assert outcome.violation.startswith("falls short")
    calm = {"view without a block", "nullified view", "state catch-up", "FALLBACK"}
    assert calm.isdisjoint(outcome.points)


# Mutants: what the simulation is there to catch.


def _spoken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes leave before their records are durable."""
    monkeypatch.setattr(Engine, "_durable_seq", property(lambda _: 1 << 60, _ignore), raising=False)


def _never_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log believes that its file is synced."""
    monkeypatch.setattr("chaind.simulation.disk._Appender.sync", lambda _: None)


def _acknowledged_before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """202 goes out before the journal is durable."""

    async def durable(_: GroupCommit) -> None:
        return

    monkeypatch.setattr(GroupCommit, "durable", durable)


def _lease_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "_check_lease", lambda *_: None)


def _smaller_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q − 1."""
    monkeypatch.setattr(Quorums, "quorum", property(lambda _: 2, _ignore))


def _final_after_null(monkeypatch: pytest.MonkeyPatch) -> None:
    """FINALIZE although this node has said NULLIFY."""

    def final_vote(view: rules.View, me: int, valid: Callable[[bytes], bool]) -> rules.Say | None:
        first = view.tally.firsts.get(me)
        for block in view.notars:
            if (first is None or first.block == block) and valid(block):
                return rules.VoteKind.FINALIZE, block
        return None

    monkeypatch.setattr(rules, "final_vote", final_vote)


def _votes_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart without the vote log."""
    start = Engine.start
    monkeypatch.setattr(Engine, "start", lambda self, _: start(self, []))


def _certificates_unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Outbox.log

    def log_votes(self: Outbox, record: Record, body: bytes | None = None) -> int:
        return log(self, record, body) if isinstance(record, Vote) else self.durable

    monkeypatch.setattr(Outbox, "log", log_votes)


def _journal_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart without the intake journal."""
    monkeypatch.setattr(Node, "_restore", lambda *_: None)


def _ignore(_: object, __: object) -> None:
    pass


def storm(kind: str, targets: Sequence[Sequence[int]], every_s: float, size: float = 1) -> Plan:
    """The same fault again and again, on these machines in turn, for ten seconds."""
    turns = zip(count(), cycle(targets))
    return tuple(
        Fault(number, 2 + number * every_s, kind, tuple(who), every_s / 2, size)
        for number, who in islice(turns, int(10 / every_s))
    )


ALL = range(4)
STORM_SEEDS = (1, 5, 6)  # networks of different speeds
CUTS = storm("power cut", [[0], [1], [2], [3]], 0.5)
SLOW = tuple(Fault(100 + n, 1, "slow disk", (n,), 12, 30) for n in ALL)
BLACKOUTS = storm("blackout", [ALL], 0.4)
LOSSY = storm("lossy links", [ALL], 0.6, 0.5)
MUTANTS: list[tuple[Callable[[pytest.MonkeyPatch], None], Plan, str]] = [
    (_spoken_at_once, (), "before its record is durable"),
    (_never_synced, (), "before its record is durable"),
    (_acknowledged_before_sync, SLOW + CUTS, "which it has accepted"),
    (_lease_unchecked, storm("slow links", [ALL], 1.0, 60), "takes lease"),
    (_smaller_quorum, storm("partition", [[0, 1]], 1.0), ""),
    (_final_after_null, LOSSY, "after NULLIFY"),
    (_votes_forgotten, LOSSY + CUTS, ""),
    (_certificates_unlogged, BLACKOUTS, "does not say all"),
    (_journal_forgotten, CUTS, "which it has accepted"),
]


@pytest.mark.parametrize(
    ("mutate", "plan", "words"), MUTANTS, ids=[one[0].__name__.strip("_") for one in MUTANTS]
)
def test_a_mutant_is_caught_in_a_storm_that_the_node_survives(
    mutate: Callable[[pytest.MonkeyPatch], None],
    plan: Plan,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    for seed in STORM_SEEDS:
        violation = run(Options(seed, seconds=12.0, adversary="none", plan=plan)).violation
        if violation is not None:
            assert words in violation
            return
    raise AssertionError("survived")


@pytest.mark.parametrize("plan", [SLOW + CUTS, LOSSY + CUTS, LOSSY + BLACKOUTS])
def test_a_storm_is_survived(plan: Plan) -> None:
    held(run(Options(STORM_SEEDS[0], seconds=12.0, adversary="none", plan=plan)))


def test_a_failure_is_shrunk_to_the_faults_that_it_needs() -> None:
    """A made-up failure that needs two of twelve faults."""

    def rerun(options: Options) -> Outcome:
        left = [number for number in range(12) if number not in options.skip]
        broken = "broken" if {3, 8} <= set(left) else None
        faults = [Fault(n, float(n), "kill", (0,), 1.0, 1.0) for n in left]
        return Outcome(options, broken, "", {"virtual seconds": 9.5}, {}, [], faults)

    small = shrink(rerun(Options(0)), rerun)
    assert small.violation == "broken"
    assert [fault.number for fault in small.faults] == [3, 8]


def twins(count: int) -> Options:
    """So many validators that are two, and a network that again and again parts each from itself.

    One side holds one of every pair and one honest node, the other one the rest.
    """
    options = Options(STORM_SEEDS[0], seconds=12.0, adversary="twins", liars=count, plan=())
    seats = Simulation(options).liars[:count]
    honest = next(index for index in ALL if index not in seats)
    return options._replace(plan=storm("partition", [[honest, *seats]], 1.0))


def test_f_twins_fork_nothing() -> None:
    held(run(twins(1)))


def test_one_more_pair_of_twins_than_the_network_bears_forks_it() -> None:
    violation = run(twins(2)).violation
    assert violation is not None
    assert "another block final" in violation
