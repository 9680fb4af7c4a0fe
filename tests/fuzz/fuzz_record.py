"""What a fuzzing run came to, and the page that keeps it: benchmarks/results/fuzz.md.

Law: a row stands for the decoder as it was at one commit. It gives way to a row of a later commit,
to one of at least as many executions, and to any finding; to nothing else. The page is read back,
merged and written as a whole under a lock, so several commands may add to it.
"""

import fcntl
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
UNIT_TIMEOUT_S = 5  # a decoder that takes so long for 4 KiB is a finding
MEMORY_MIB = 2_048
_HEAD = (
    "# Fuzzing of the decoders\n\n"
    "`python tests/fuzz/atheris_decoders.py --missing 10_000_000 --record`, each row as of its own "
    "date and commit.\n"
    "A finding is anything but a value or the decoder's own error: another exception, another way\n"
    f"of writing the same value, {UNIT_TIMEOUT_S} s or {MEMORY_MIB} MiB. Edges and features are "
    "libFuzzer's, of chaind's own code.\n\n"
)
_COLUMNS = (
    *("decoder", "executions", "seconds", "per second", "edges", "features", "corpus", "findings"),
    *("date", "commit", "machine"),
)
_CELL = re.compile(r"\s*\|\s*")


class Row(NamedTuple):
    """What one decoder's run came to, when, of which commit and where."""

    decoder: str
    executions: int
    seconds: int
    edges: int
    features: int
    corpus: int
    findings: int
    date: str
    commit: str
    machine: str

    def line(self) -> str:
        """Of the table."""
        rate = self.executions // self.seconds if self.seconds else self.executions
        counts = (self.executions, self.seconds, rate, *self[3:7])
        cells = (self.decoder, *(f"{count:,}" for count in counts), *self[7:])
        return f"| {' | '.join(cells)} |"

    @classmethod
    def of_line(cls, line: str) -> "Row":
        """Read back what `line` wrote."""
        cells = _CELL.split(line.strip().strip("|").strip())
        counts = [int(cell.replace(",", "")) for cell in cells[1:8]]
        del counts[2]  # the rate follows from the others
        return cls(cells[0], *counts, *cells[8:])


def table(rows: Iterable[Row]) -> str:
    """In Markdown."""
    rule = ["---:" if 1 <= column <= 7 else "---" for column in range(len(_COLUMNS))]
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{'|'.join(rule)}|", *(row.line() for row in rows)]
    return "\n".join(lines)


def recorded(page: Path) -> dict[str, Row]:
    """The rows of the page by decoder; none where there is no page."""
    lines = page.read_text().splitlines() if page.exists() else []
    rows = map(Row.of_line, [line for line in lines if line.startswith("| ")][1:])
    return {row.decoder: row for row in rows}


def replaces(new: Row, old: Row | None, is_later: Callable[[str, str], bool]) -> bool:
    """Whether `new` takes the place of `old`. `is_later(a, b)`: commit a descends from b."""
    return (
        old is None
        or new.findings > 0
        or new.executions >= old.executions
        or is_later(new.commit, old.commit)
    )


def keep(row: Row, page: Path, order: Sequence[str], is_later: Callable[[str, str], bool]) -> bool:
    """Merge one row into the page, which is written whole or not at all; whether it went in."""
    page.parent.mkdir(parents=True, exist_ok=True)
    with _alone(page.parent):
        rows = recorded(page)
        if not replaces(row, rows.get(row.decoder), is_later):
            return False
        rows[row.decoder] = row
        kept = (rows[name] for name in order if name in rows)  # a decoder that is gone goes too
        fresh = page.with_suffix(".new")
        fresh.write_text(f"{_HEAD}{table(kept)}\n")
        fresh.replace(page)
    return True


def missing(order: Iterable[str], rows: Mapping[str, Row], runs: int) -> list[str]:
    """The decoders without a recorded row of `runs` executions, in their order."""
    return [name for name in order if name not in rows or rows[name].executions < runs]


def commit() -> str:
    """The commit of the tree, and whether chaind differs from it."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "chaind").stdout
    return _git("rev-parse", "--short=12", "HEAD").stdout.strip() + ("+changes" if changed else "")


def is_later(commit: str, other: str) -> bool:
    """Whether a commit descends from another one; False where git does not know both."""
    new, old = (name.partition("+")[0] for name in (commit, other))
    return new != old and _git("merge-base", "--is-ancestor", old, new).returncode == 0


def today() -> str:
    """In UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def machine() -> str:
    """In few words."""
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One writer at a time, of all threads and processes."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
