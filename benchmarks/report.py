"""The results page: every recorded table, one after the other.

python benchmarks/report.py            writes benchmarks/results/README.md
python benchmarks/report.py --check    fails where the page is not what the records say
"""

import json
import sys

import click
from common import RESULTS, markdown

ORDER = (
    "stages",
    "throughput",
    "latency",
    "catchup",
    "startup",
    "headers",
    "door",
    "compare",
    "matching",
)
HEAD = """# Measured

Each table names its machine, date and commit, and the command that made it. Budgets are the
design's; where none stands, the figure is there to be known. `benchmarks/NAME.py --record` writes
a record beside this page, and `benchmarks/report.py` puts the page together from the records.
"""


def page() -> str:
    """The page of all records, in the order of the path of a transfer."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}

    def place(name: str) -> tuple[int, str]:
        kind = name.partition("-")[0]
        return (ORDER.index(kind) if kind in ORDER else len(ORDER), name)

    return "\n".join([HEAD, *(markdown(found[name]) + "\n" for name in sorted(found, key=place))])


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail where the page would change.")
def main(check: bool) -> None:
    """Assemble benchmarks/results/README.md."""
    target = RESULTS / "README.md"
    if check:
        if not target.exists() or target.read_text() != page():
            click.echo(f"{target} is not what the records say", err=True)
            sys.exit(1)
        return
    RESULTS.mkdir(exist_ok=True)
    target.write_text(page())
    click.echo(f"{target}: {len(list(RESULTS.glob('*.json')))} record(s)")


if __name__ == "__main__":
    main()
