"""Coverage-guided fuzzing of every decoder that reads bytes from outside.

    python tests/fuzz/atheris_decoders.py --decoder transaction --runs 1_000_000
    python tests/fuzz/atheris_decoders.py --all --runs 100_000 --jobs 2
    python tests/fuzz/atheris_decoders.py --missing 10_000_000 --record

One process per decoder: libFuzzer keeps what reaches new branches of chaind and mutates it further.
A table says what was done. `--record` keeps each decoder's row in benchmarks/results/fuzz.md as
soon as that decoder is done, and `--missing RUNS` runs those that have no row of so many executions
yet, the fastest first: a long run may be broken off and taken up again with the same command.
Inputs that were findings stay in --findings, named by decoder, and go back in with
`--decoder NAME --replay FILE`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import NamedTuple

import fuzz_record
from fuzz_record import MEMORY_MIB, UNIT_TIMEOUT_S, Row

RESULTS = fuzz_record.ROOT / "benchmarks" / "results" / "fuzz.md"
INPUT_BYTES_MIN, INPUT_BYTES_MAX = 256, 4_096  # beyond twice a sample; more is bad_input's
PROBE_S = 0.05  # enough to tell a fast decoder from a slow one
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_LAST = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")


class Outcome(NamedTuple):
    """A decoder's run: its row, the inputs that were findings, and what libFuzzer said if it died.

    A run that died without a finding says nothing of the decoder: its row is not kept.
    """

    row: Row
    findings: tuple[Path, ...]
    error: str

    @property
    def tells(self) -> bool:
        """Whether it came to an end, or to a finding."""
        return bool(self.findings or not self.error)


def fuzz(decoder: str, runs: int, seed: int, corpus: Path, findings: Path) -> None:
    """Fuzz in this process; libFuzzer ends it."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris (it has wheels for Linux)")
    with atheris.instrument_imports(include=["chaind"]):
        from fuzz_decoders import DECODERS, try_one
    from fuzz_mutators import SHAPES

    if decoder not in DECODERS:
        sys.exit(f"There is no decoder {decoder}; --list names them.")
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    samples = DECODERS[decoder].samples
    longest = 2 * max(map(len, samples))
    for number, sample in enumerate(samples):
        (corpus / f"sample-{number}").write_bytes(sample)
    options = {
        "runs": runs,
        "seed": seed,
        "max_len": min(max(longest, INPUT_BYTES_MIN), INPUT_BYTES_MAX),
        "timeout": UNIT_TIMEOUT_S,
        "rss_limit_mb": MEMORY_MIB,
        "artifact_prefix": f"{findings}/{decoder}-",
        "print_final_stats": 1,
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    change = SHAPES.get(DECODERS[decoder].shape)

    def mutate(data: bytes, bytes_max: int, number: int) -> bytes:
        """Of the value inside, or libFuzzer's own of the bytes."""
        dice = Random(number)
        if change is None or dice.random() < 0.5:
            return bytes(atheris.Mutate(data, len(data)))
        return change(data, dice)[:bytes_max]

    custom = {} if change is None else {"custom_mutator": mutate}
    command = [sys.argv[0], *arguments, str(corpus)]
    atheris.Setup(command, lambda data: try_one(decoder, data), **custom)
    atheris.Fuzz()


def run_apart(decoder: str, runs: int, seed: int, corpora: Path, findings: Path) -> Outcome:
    """Fuzz in a process of its own, and read its report."""
    before = set(findings.glob(f"{decoder}-*"))
    command = [sys.executable, __file__, "--decoder", decoder, "--runs", str(runs)]
    command += ["--seed", str(seed), "--corpus", str(corpora), "--findings", str(findings)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    last = _DONE.search(done.stderr)
    reports = _LAST.findall(done.stderr)
    executions, coverage, features = map(int, reports[-1]) if reports else (0, 0, 0)
    found = tuple(sorted(set(findings.glob(f"{decoder}-*")) - before))
    error = "" if last else "\n".join(done.stderr.splitlines()[-30:])
    row = Row(
        decoder=decoder,
        executions=executions,
        seconds=round(seconds),
        edges=coverage,
        features=features,
        corpus=int(last[4]) if last else 0,
        findings=len(found),
        date=fuzz_record.today(),
        commit=fuzz_record.commit(),
        machine=fuzz_record.machine(),
    )
    return Outcome(row, found, error)


def speed(decoder: str) -> float:
    """Readings of its samples per second, without instrumentation: good enough for an order."""
    from fuzz_decoders import DECODERS, try_one

    samples, count, began = DECODERS[decoder].samples, 0, time.monotonic()
    while (passed := time.monotonic() - began) < PROBE_S:
        for sample in samples:
            try_one(decoder, sample)
        count += len(samples)
    return count / passed


def run_all(decoders: Sequence[str], given: argparse.Namespace, corpora: Path) -> list[Outcome]:
    """Run each apart, and keep its row when it is done and that was asked for."""
    from fuzz_decoders import DECODERS

    given.findings.mkdir(parents=True, exist_ok=True)

    def one(decoder: str) -> Outcome:
        outcome = run_apart(decoder, given.runs, given.seed, corpora, given.findings)
        print(outcome.row.line(), flush=True)
        if given.record and outcome.tells:
            order = tuple(DECODERS)
            if not fuzz_record.keep(outcome.row, RESULTS, order, fuzz_record.is_later):
                print(f"{decoder}: the recorded row says more, and stays", flush=True)
        return outcome

    print(fuzz_record.table(()), flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        return list(pool.map(one, decoders))


def replay(decoder: str, path: Path) -> None:
    """Give a decoder one input again; raises what it raised."""
    from fuzz_decoders import try_one

    accepted = try_one(decoder, path.read_bytes())
    print("accepted" if accepted else "refused")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--decoder", help="one decoder; in this process, but with --record")
    what.add_argument("--all", action="store_true", help="all of them, each in its own process")
    what.add_argument(
        "--missing",
        type=int,
        metavar="RUNS",
        help="those with a recorded row of fewer executions, or none; RUNS of each",
    )
    what.add_argument("--list", action="store_true", help="name them")
    parser.add_argument("--runs", type=int, default=100_000, help="executions of each")
    parser.add_argument("--jobs", type=int, default=1, help="decoders at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the dice; 0 draws one")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept between runs")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--record", action="store_true", help=f"keep the rows in {RESULTS.name}")
    parser.add_argument("--replay", type=Path, help="an input to give the decoder once")
    given = parser.parse_args()
    if given.missing:
        given.runs = given.missing
    return given


def _chosen(given: argparse.Namespace) -> list[str]:
    """The decoders to run, in order."""
    from fuzz_decoders import DECODERS

    if given.decoder:
        if given.decoder not in DECODERS:
            sys.exit(f"There is no decoder {given.decoder}; --list names them.")
        return [given.decoder]
    if given.all:
        return list(DECODERS)
    wanted = fuzz_record.missing(DECODERS, fuzz_record.recorded(RESULTS), given.runs)
    return sorted(wanted, key=speed, reverse=True)


def main() -> int:
    """The command; 1 where there was a finding."""
    given = _arguments()
    if given.replay:
        replay(given.decoder, given.replay)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        corpora = given.corpus or Path(temporary)
        if given.decoder and not given.record:
            fuzz(given.decoder, given.runs, given.seed, corpora / given.decoder, given.findings)
        from fuzz_decoders import DECODERS  # only now: `fuzz` instruments what it imports

        if given.list:
            print("\n".join(DECODERS))
            return 0
        chosen = _chosen(given)
        if not chosen:
            print(f"{RESULTS.name} has {given.runs:,} executions or more of every decoder.")
            return 0
        outcomes = run_all(chosen, given, corpora)
    for one in outcomes:
        if one.error:
            print(f"\n{one.row.decoder}:\n{one.error}", file=sys.stderr)
    return any(one.findings or one.error for one in outcomes)


if __name__ == "__main__":
    sys.exit(main())
