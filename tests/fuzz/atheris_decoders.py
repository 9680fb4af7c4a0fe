"""Coverage-guided fuzzing of every decoder that reads bytes from outside.

    python tests/fuzz/atheris_decoders.py --decoder transaction --runs 1_000_000
    python tests/fuzz/atheris_decoders.py --all --runs 10_000_000 --jobs 2 --record

One process per decoder: libFuzzer keeps what reaches new branches of chaind and mutates it further.
A table says what was done; with `--record` it is kept in benchmarks/results/fuzz.md. Inputs that
were findings stay in --findings, named by decoder, and go back in with `--replay FILE`.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.md"
INPUT_BYTES_MIN, INPUT_BYTES_MAX = 256, 4_096  # beyond twice a sample; more is bad_input's
UNIT_TIMEOUT_S = 5  # a decoder that takes so long for 4 KiB is a finding
MEMORY_MIB = 2_048
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_LAST = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")


class Outcome(NamedTuple):
    """What one decoder's run came to. `findings` are files."""

    decoder: str
    executions: int
    seconds: float
    coverage: int
    features: int
    corpus: int
    findings: tuple[Path, ...]
    error: str


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
    return Outcome(
        decoder, executions, seconds, coverage, features, int(last[4]) if last else 0, found, error
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes in Markdown."""
    rows = [
        "| decoder | executions | seconds | per second | edges | features | corpus | findings |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in outcomes:
        rate = one.executions / one.seconds if one.seconds else 0
        rows.append(
            f"| {one.decoder} | {one.executions:,} | {one.seconds:,.0f} | {rate:,.0f} "
            f"| {one.coverage:,} | {one.features:,} | {one.corpus:,} | {len(one.findings)} |"
        )
    return "\n".join(rows)


def record(text: str, runs: int, jobs: int) -> None:
    """Keep a table, with what it was made on."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        "# Fuzzing of the decoders\n\n"
        f"`python tests/fuzz/atheris_decoders.py --all --runs {runs:_} --jobs {jobs} --record`, "
        f"{date}, Python {platform.python_version()}, {platform.machine()}, {platform.system()}.\n"
        "A finding is anything but a value or the decoder's own error: another exception, another\n"
        f"way of writing the same value, {UNIT_TIMEOUT_S} s or {MEMORY_MIB} MiB. Edges and "
        "features are libFuzzer's, of chaind's own code.\n\n"
        f"{text}\n"
    )


def replay(decoder: str, path: Path) -> None:
    """Give a decoder one input again; raises what it raised."""
    from fuzz_decoders import try_one

    accepted = try_one(decoder, path.read_bytes())
    print("accepted" if accepted else "refused")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--decoder", help="one decoder, in this process")
    what.add_argument("--all", action="store_true", help="all of them, each in its own process")
    what.add_argument("--list", action="store_true", help="name them")
    parser.add_argument("--runs", type=int, default=100_000, help="executions of each")
    parser.add_argument("--jobs", type=int, default=1, help="decoders at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the dice; 0 draws one")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept between runs")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--replay", type=Path, help="an input to give the decoder once")
    return parser.parse_args()


def main() -> int:
    """The command; 1 where there was a finding."""
    given = _arguments()
    if given.replay:
        replay(given.decoder, given.replay)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        corpora = given.corpus or Path(temporary)
        if given.decoder:
            fuzz(given.decoder, given.runs, given.seed, corpora / given.decoder, given.findings)
        from fuzz_decoders import DECODERS  # only now: `fuzz` instruments what it imports

        if given.list:
            print("\n".join(DECODERS))
            return 0
        given.findings.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(given.jobs) as pool:
            outcomes = list(
                pool.map(
                    lambda name: run_apart(name, given.runs, given.seed, corpora, given.findings),
                    DECODERS,
                )
            )
    text = table(outcomes)
    print(text)
    for one in outcomes:
        if one.error:
            print(f"\n{one.decoder}:\n{one.error}", file=sys.stderr)
    if given.record:
        record(text, given.runs, given.jobs)
    return any(one.findings or one.error for one in outcomes)


if __name__ == "__main__":
    sys.exit(main())
