"""Many seeds, over some processes: totals, what was reached, and failures made small.

A failing seed is run again without some of its faults for as long as it still fails, so that what
is printed is a short plan with one command that replays it.
"""

import hashlib
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from typing import NamedTuple

from chaind.simulation.faults import GROUPS, KINDS
from chaind.simulation.options import Options, Outcome
from chaind.simulation.simulation import MODES, Simulation

SHRINK_RUNS_MAX = 24  # a minute or two
SECONDS = "virtual seconds"
REQUIRED_SEEDS = 100  # from so many seeds on, every point below has to be reached
TRADES = ("order refused by the book", "orders traded")
TO_AGREE = "seconds to agree"


class Report(NamedTuple):
    """What a campaign came to. `missing` are required points that no seed reached."""

    seeds: int
    counts: Counter[str]
    points: Counter[str]
    failures: list[Outcome]
    missing: list[str]
    trace_hash: str
    slowest: Outcome | None  # to agree once faults have ended

    @property
    def passed(self) -> bool:
        """Whether every seed held and every point was reached."""
        return not self.failures and not self.missing


def required(mode: str) -> tuple[str, ...]:
    """Points that many seeds of a mode have to reach."""
    chosen = MODES[mode]
    faults = (f"fault: {kind}" for kind in KINDS)
    return (*chosen.points, *TRADES, *faults, *(f"adversary: {kind}" for kind in chosen.kinds))


def run_one(options: Options) -> Outcome:
    """One seed, from nothing."""
    return Simulation(options).run()


def run_all(runs: Sequence[Options], jobs: int, heard: Callable[[Outcome], None]) -> Report:
    """All seeds over `jobs` processes; `heard` is told of each, in order."""
    counts: Counter[str] = Counter()
    points: Counter[str] = Counter()
    failures: list[Outcome] = []
    hashes = hashlib.blake2b(digest_size=16)
    slowest: Outcome | None = None
    for outcome in _outcomes(runs, jobs):
        counts.update(outcome.counts)
        points.update(outcome.points)
        hashes.update(bytes.fromhex(outcome.trace_hash))
        if outcome.violation is not None:
            failures.append(outcome)
        if slowest is None or outcome.counts[TO_AGREE] > slowest.counts[TO_AGREE]:
            slowest = outcome
        heard(outcome)
    whole = len(runs) >= REQUIRED_SEEDS and all(
        one.groups == GROUPS and one.adversary == "any" and one.traders for one in runs
    )
    wanted = {name for mode in {one.mode for one in runs} for name in required(mode)}
    missing = sorted(name for name in wanted if whole and not points[name])
    return Report(len(runs), counts, points, failures, missing, hashes.hexdigest(), slowest)


def _outcomes(runs: Sequence[Options], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(run_one, runs)
        return
    pool = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent
    )
    try:
        yield from pool.map(run_one, runs)
    finally:
        for process in active_children():  # interrupted, nobody waits for what they run
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches the whole process group: a worker would print a traceback of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def shrink(outcome: Outcome, rerun: Callable[[Options], Outcome] = run_one) -> Outcome:
    """The same failure with as few faults as some reruns can find."""
    late = [fault.number for fault in outcome.faults if fault.at_s > outcome.counts[SECONDS]]
    best = _without(outcome, late, rerun) or outcome
    runs, size = 1, max(1, len(best.faults) // 2)
    while size and runs < SHRINK_RUNS_MAX:
        numbers = [fault.number for fault in best.faults]
        for start in range(0, len(numbers), size):
            runs += 1
            smaller = _without(best, numbers[start : start + size], rerun)
            if smaller is not None:
                best = smaller
                break
            if runs >= SHRINK_RUNS_MAX:
                break
        else:
            size = size // 2 if size > 1 else 0
    return best


def _without(
    outcome: Outcome, numbers: Iterable[int], rerun: Callable[[Options], Outcome]
) -> Outcome | None:
    """The run again with these faults left out as well, if it still fails."""
    options = outcome.options
    again = rerun(options._replace(skip=options.skip.union(numbers)))
    return again if again.violation is not None else None
