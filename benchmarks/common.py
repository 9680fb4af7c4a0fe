"""What every benchmark shares: the machine in words, tables with budgets, records, real nodes.

Law: a figure stands beside its budget, and a table says on which machine, when and from which
commit it comes. Nothing is written under results/ unless --record asks for it.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from chaind.cli.chains import create_network, join_chain
from chaind.cli.layout import HOST, Place, run_arguments
from chaind.cli.processes import CHAIND, end, log_tail, mark, spawn_chaind, wait_until
from chaind.cli.status import NodeSilent, fetch
from chaind.node.home import Home
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey, verify_packed

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
READY_S_MAX = 120.0
END_S_MAX = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# One client asks for everything here: the limit for one address would measure itself.
UNLIMITED = {
    "CHAIND_API_REQUESTS_PER_SECOND": "10000000",
    "CHAIND_API_REQUESTS_BURST": "10000000",
    "CHAIND_LOG_LEVEL": "warning",
}
NO_SETTINGS: Mapping[str, str] = {}


class Row(NamedTuple):
    """One figure. `budget` is what the design allows, empty where it says nothing."""

    what: str
    value: float | str
    unit: str
    budget: str = ""

    def shown(self) -> str:
        """The figure with three significant digits, or all of a large one."""
        if isinstance(self.value, str):
            return self.value
        return f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.3g}"


class Table:
    """One benchmark's result."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.machine = machine()

    def add(self, what: str, value: float | str, unit: str, budget: str = "") -> None:
        """A row."""
        self.rows.append(Row(what, value, unit, budget))

    def note(self, text: str) -> None:
        """A sentence below the table."""
        self.notes.append(text)

    def to_builtins(self) -> dict[str, Any]:
        """For `--json` and the record."""
        return {
            "name": self.name,
            "title": self.title,
            "machine": self.machine,
            "command": " ".join(["python", _script(), *sys.argv[1:]]),
            "rows": [row._asdict() for row in self.rows],
            "notes": self.notes,
        }

    def finish(self, *, as_json: bool, record: bool) -> None:
        """Print it, and keep it where that was asked for."""
        result = self.to_builtins()
        click.echo(json.dumps(result, indent=2) if as_json else markdown(result))
        if record:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self.name}.json").write_text(json.dumps(result, indent=2) + "\n")
            (RESULTS / f"{self.name}.md").write_text(markdown(result) + "\n")


def markdown(result: Mapping[str, Any]) -> str:
    """A result as a page: title, table, notes, machine."""
    lines = [f"## {result['title']}", ""]
    cells = [("what", "measured", "unit", "budget")]
    for row in (Row(**each) for each in result["rows"]):
        cells.append((row.what, row.shown(), row.unit, row.budget))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width for width in widths]
    rule[1] = rule[1][:-1] + ":"
    lines += [line(cells[0]), line(rule), *map(line, cells[1:]), ""]
    lines += [f"- {note}" for note in result["notes"]]
    lines += [f"- {name}: {value}" for name, value in result["machine"].items()]
    lines.append(f"- command: `{result['command']}`")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Where and when this runs, and of what."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if "model name" in line), "?")
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    load_1, load_5, _ = os.getloadavg()
    return {
        "cpu": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "files on": _file_system(Path(tempfile.gettempdir())),
        "one signature check": f"{_signature_us():.1f} µs of CPU, at the start",
        "load at the start": f"{load_1:.2f} over 1 min, {load_5:.2f} over 5",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def _signature_us() -> float:
    """CPU of a verification just now: what the machine is worth at this moment.

    Virtual machines share their host, and the same one may be a third slower an hour later.
    """
    key, digest = SecretKey(b"\x11" * 32), b"\x22" * 32
    check = key.public + digest + key.sign(digest)
    verify_packed(check * 100)
    begun_ns = time.process_time_ns()
    verify_packed(check * 1_000)
    return (time.process_time_ns() - begun_ns) / 1_000_000


def _file_system(path: Path) -> str:
    """Type of the file system that holds `path`: the longest mount point above it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [(mount[1], mount[2]) for mount in mounts if path.is_relative_to(mount[1])]
    return max(found, key=lambda mount: len(mount[0]))[1]


def _script() -> str:
    """The command that runs, from the top of the repository."""
    path = Path(sys.argv[0]).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "chaind")
    return (git("rev-parse", "--short=12", "HEAD") or "?") + (" and changes" if changed else "")


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json and --record."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    help_text = "Write benchmarks/results/NAME.md and .json."
    return click.option("--record", is_flag=True, help=help_text)(command)


# Real nodes.


class CpuUse(NamedTuple):
    """Seconds of CPU since the start: of the event loop's thread, of all other threads together,
    and of the processes that check signatures."""

    loop_s: float
    threads_s: float
    checks_s: float

    def since(self, before: "CpuUse") -> "CpuUse":
        """What came in between."""
        return CpuUse(*(now - then for now, then in zip(self, before, strict=True)))


class RealNode:
    """One `chaind run` process and where it lives."""

    def __init__(
        self, place: Place, peers: Sequence[Place], settings: Mapping[str, str] = NO_SETTINGS
    ) -> None:
        self.place = place
        self.peers = peers
        self.settings = settings  # of the environment, beside those that every node gets
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its API."""
        return self.place.url

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None, "it runs"
        return self.process.pid

    def start(self) -> None:
        """Start the process; returns at once."""
        mine = {name: text for name, text in os.environ.items() if not name.startswith("CHAIND_")}
        arguments = run_arguments(self.place, self.peers)
        self.process = spawn_chaind(
            arguments, Home(self.place.home).log, {**mine, **UNLIMITED, **self.settings}
        )

    def stop(self) -> None:
        """An orderly end."""
        if self.process is not None:
            found = mark(self.process.pid)
            end([found] if found else [], END_S_MAX)
            self.process.wait()
            self.process = None

    def answers(self, path: str) -> bool:
        """Whether a GET answers 200; fails when the process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"node ended:\n{log_tail(Home(self.place.home).log)}")
        try:
            fetch(self.url, path)
        except NodeSilent:
            return False
        return True

    def await_ready(self) -> None:
        """Return once it says that it is ready."""
        if not wait_until(lambda: self.answers("/health/ready"), READY_S_MAX):
            raise RuntimeError(f"not ready:\n{log_tail(Home(self.place.home).log)}")

    def status(self, name: str) -> int:
        """A number of /status."""
        return int(str(fetch(self.url, "/status")[name]))

    def cpu(self) -> CpuUse:
        """CPU used so far."""
        loop_s = cpu_s(f"{self.pid}/task/{self.pid}")
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return CpuUse(loop_s, cpu_s(str(self.pid)) - loop_s, sum(map(cpu_s, children)))

    def resident_mib(self) -> float:
        """Memory of the process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


class Nodes:
    """A development network of real processes."""

    def __init__(
        self, directory: Path, count: int, settings: Mapping[str, str] = NO_SETTINGS
    ) -> None:
        self.directory = directory
        homes = [directory / f"node{index}" for index in range(count)]
        self.places = [free_place(home) for home in homes]
        made = [(Home(place.home), Home(place.home).validator_key) for place in self.places]
        self.genesis: Genesis = create_network(made)
        self.all = [RealNode(place, self.places, settings) for place in self.places]

    def __iter__(self) -> Iterator[RealNode]:
        return iter(self.all)

    def start(self) -> None:
        """Start all and wait until all are ready."""
        for node in self.all:
            node.start()
        for node in self.all:
            node.await_ready()

    def follower(self) -> RealNode:
        """A full node of the same chain with an empty home, not started."""
        place = free_place(self.directory / f"follower{len(self.all)}")
        join_chain(Home(place.home), Home(self.places[0].home).genesis)
        node = RealNode(place, self.places)
        self.all.append(node)
        return node

    def load(self, *words: str) -> dict[str, Any]:
        """What `chaind load --json` says of a run against all validators."""
        urls = [word for place in self.places for word in ("--url", place.url)]
        mine = {name: text for name, text in os.environ.items() if not name.startswith("CHAIND_")}
        done = subprocess.run(
            [*CHAIND, "load", "--json", *urls, *words], capture_output=True, text=True, env=mine
        )
        if not done.stdout:
            raise RuntimeError(f"chaind load failed: {done.stderr}")
        if done.returncode:
            click.echo(done.stderr, err=True)  # not all became final: the figures tell
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def running(count: int, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Nodes]:
    """So many validators that are ready, in a directory that goes with them."""
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as directory:
        nodes = Nodes(Path(directory), count, settings)
        try:
            nodes.start()
            yield nodes
        finally:
            for node in nodes:
                node.stop()


def free_place(home: Path, *, mined: bool = False) -> Place:
    """A place on ports that nobody listens on now; `mined`: with one for miners."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(3)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return Place(home, ports[0], ports[1], ports[2] if mined else 0)


def cpu_s(task: str) -> float:
    """User and system seconds of a process, or of one of its threads: PID/task/TID."""
    stat = Path(f"/proc/{task}/stat").read_text()
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # proc(5) fields 14 and 15
