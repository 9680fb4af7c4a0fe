"""What tests of both modes ask of a simulation."""

import os
import subprocess
import sys

from chaind.simulation.options import Outcome


def held(outcome: Outcome) -> None:
    assert outcome.violation is None, f"seed {outcome.options.seed}: {outcome.violation}"


def one_trace_everywhere(options: str) -> None:
    """Whatever the order of sets and the addresses of objects in a process."""
    code = (
        "from chaind.simulation.options import Options\n"
        "from chaind.simulation.simulation import Simulation\n"
        f"outcome = Simulation(Options({options})).run()\n"
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
