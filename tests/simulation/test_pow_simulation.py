"""Whole nodes of a mined chain under faults: fixed seeds, and the same trace twice."""

import os
import subprocess
import sys

import pytest

from chaind.simulation.options import Options, Outcome
from chaind.simulation.simulation import Simulation


def run(options: Options) -> Outcome:
    return Simulation(options._replace(mode="pow")).run()


def held(outcome: Outcome) -> None:
    assert outcome.violation is None, f"seed {outcome.options.seed}: {outcome.violation}"


@pytest.mark.parametrize("seed", [0, 3])
def test_a_fixed_seed_holds(seed: int) -> None:
    held(run(Options(seed, adversary="none")))


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    code = (
        "from chaind.simulation.options import Options\n"
        "from chaind.simulation.simulation import Simulation\n"
        "outcome = Simulation(Options(17, seconds=40.0, mode='pow')).run()\n"
        "print(outcome.trace_hash, outcome.counts['trace events'])\n"
    )
    said = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        said.add(done.stdout)
    assert len(said) == 1
