"""Runs of a long campaign, kept and added up: benchmarks/results/NAME.json, and NAME.md to read.

Law: a run is appended whole when it has ended, and none is ever taken away: the page shows the
sum of all of them, and below it each one with its seed, date and commit, and a `remark` where one
was written into NAME.json by hand. Percentiles are of all single values together, so those are
kept.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from common import RESULTS, Table, machine, markdown  # noqa: E402 — found by the line above

Run = Mapping[str, Any]


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def total(runs: Iterable[Run], name: str) -> int:
    """A count, over all runs."""
    return sum(int(run[name]) for run in runs)


def total_of_each(runs: Iterable[Run], name: str) -> Counter[str]:
    """Counts by name, over all runs."""
    found: Counter[str] = Counter()
    for run in runs:
        found.update(run[name])
    return found


def add_run(
    figures: Run,
    *,
    name: str,
    title: str,
    seed: int,
    fill: Callable[[Table, Sequence[Run]], None],
    sentence: Callable[[Run], str],
    results: Path = RESULTS,
) -> None:
    """Append a run and write the page anew. `fill` makes the rows of the sum of all runs."""
    path = results / f"{name}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    runs.append({"seed": seed, **figures, "machine": machine()})
    table = Table(name, title)
    table.add("runs", len(runs), "")
    fill(table, runs)
    for run in runs:
        where = run["machine"]
        table.note(
            f"{where['date']}, commit {where['commit']}, {where['cpu']}, seed {run['seed']}: "
            f"{sentence(run)}, in {run['seconds'] / 60:.1f} min{run.get('remark', '')}"
        )
    page = table.to_builtins()
    results.mkdir(exist_ok=True)
    path.write_text(json.dumps(page | {"runs": runs}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(page) + "\n")
