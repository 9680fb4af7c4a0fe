"""Make each listed mistake in a clean copy of the code, and see which test notices.

    python tests/mutation/mutate.py                 all of them
    python tests/mutation/mutate.py --only lease    those whose name holds a word
    python tests/mutation/mutate.py --record        and keep the table

A killer counts only if it passes on the unchanged copy. The exit status is 1 where a mistake that
costs money or agreement survives, or less than 95 % of all are caught.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mutants import MUTANTS, Mutant
from mutants_of_trading import MUTANTS_OF_TRADING
from mutants_of_tree import MUTANTS_OF_TREE
from mutants_of_work import MUTANTS_OF_WORK

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "mutations.md"
CAUGHT_MIN = 0.95
KILLER_S_MAX = 300.0  # a test that hangs on a mutant has noticed it
ALL = (*MUTANTS, *MUTANTS_OF_TREE, *MUTANTS_OF_WORK, *MUTANTS_OF_TRADING)
COPIED = ("chaind", "tests", "setup.cfg", "pyproject.toml", "chaind.toml", "README.md", "scripts")


class Verdict(NamedTuple):
    """What became of a mutant. `killer` is None where it survived."""

    mutant: Mutant
    killer: str | None
    seconds: float


class KillerBroken(Exception):
    """A killer fails on the unchanged code: it proves nothing."""


class MutantStale(Exception):
    """The line that a mutant changes is not there any more, or more than once."""


def passes(copy: Path, killer: str) -> bool:
    """Whether a part of the test suite passes on a copy of the tree."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", killer]
    environment = {**os.environ, "PYTHONPATH": str(copy), "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=KILLER_S_MAX
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextmanager
def mutated(copy: Path, mutant: Mutant) -> Iterator[None]:
    """While entered, the copy has the mistake. Raises `MutantStale`."""
    path = copy / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise MutantStale(f"{mutant.name}: its line stands {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(text)


def judge(copy: Path, mutant: Mutant, sound: dict[str, bool]) -> Verdict:
    """Who catches it. `sound` remembers which killers pass without any mutant."""
    begun = time.monotonic()
    with mutated(copy, mutant):
        killer = next((one for one in mutant.killers if not passes(copy, one)), None)
    seconds = time.monotonic() - begun
    if killer is not None and not sound.setdefault(killer, passes(copy, killer)):
        raise KillerBroken(killer)
    return Verdict(mutant, killer, seconds)


def table(verdicts: Sequence[Verdict]) -> str:
    """The page: who caught what, and the survivors."""
    caught = sum(one.killer is not None for one in verdicts)
    lines = [
        "# Mutations of the safety-critical code",
        "",
        f"{caught} of {len(verdicts)} caught, {time.strftime('%Y-%m-%d', time.gmtime())}. Each "
        "mistake is made alone in a clean copy; the killer passes without it.",
        "",
        "| mistake | file | costs | caught by | seconds |",
        "|---|---|---|---|---:|",
    ]
    for mutant, killer, seconds in verdicts:
        costs = "money or agreement" if mutant.safety else "liveness or service"
        lines.append(
            f"| {mutant.name} | {mutant.file} | {costs} | {killer or '**survives**'} "
            f"| {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    verdicts: list[Verdict] = []
    sound: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="chaind-mutants-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis")
                )
            else:
                shutil.copy2(source, copy / name)
        for mutant in ALL:
            if given.only in mutant.name:
                verdict = judge(copy, mutant, sound)
                verdicts.append(verdict)
                outcome = verdict.killer or "SURVIVES"
                print(f"{mutant.name}: {outcome} ({verdict.seconds:.0f} s)", flush=True)
    print("\n" + table(verdicts))
    if given.record:
        RESULTS.write_text(table(verdicts))
    survivors = [one.mutant for one in verdicts if one.killer is None]
    caught = 1 - len(survivors) / max(1, len(verdicts))
    return int(any(one.safety for one in survivors) or caught < CAUGHT_MIN)


if __name__ == "__main__":
    sys.exit(main())
