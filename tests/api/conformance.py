"""Schemathesis against the described API of a development node, which this program runs itself.

Four phases: examples, boundaries, drawn cases, and walks along the links. They are the same each
time for the same arguments.

    .venv/bin/python tests/api/conformance.py --examples 390 --record     # more than 20,000 cases
"""

import argparse
import asyncio
import ipaddress
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from api_kit import make_genesis, start_node
from exchange_kit import trading_changes

from chaind.api.app import ApiServer
from chaind.node.config import ApiSection, WebhooksSection

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "benchmarks" / "results" / "api_conformance.md"
UNBOUNDED = 1_000_000


class Outcome(NamedTuple):
    """What a run came to."""

    status: int  # of schemathesis: 0 where nothing was found
    cases: int
    operations: int
    failures: int
    seconds: int


def confine() -> None:
    """From here on this process reaches this machine alone: drawn peers and webhooks lead far."""

    def watch(event: str, values: tuple[Any, ...]) -> None:
        host: object = None
        if event == "socket.getaddrinfo":
            host = values[0]
        elif event in ("socket.connect", "socket.sendto") and isinstance(values[1], tuple):
            host = values[1][0]
        if host not in (None, "localhost") and not _is_loopback(str(host)):
            raise OSError("this process stays on this machine")

    sys.addaudithook(watch)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def run(examples: int, more: list[str]) -> Outcome:
    """Start a node, have schemathesis ask it, and end it."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        api = ApiSection(api_port=0, requests_per_second=UNBOUNDED, requests_burst=UNBOUNDED)
        webhooks = WebhooksSection(allow_private=True)
        node, running = await start_node(
            home, make_genesis(**trading_changes()), api, webhooks=webhooks
        )
        server = ApiServer(node)
        try:
            await server.start()
            return await _ask(server.port, home, examples, more)
        finally:
            await server.stop()
            node.stop()
            await running


async def _ask(port: int, home: Path, examples: int, more: list[str]) -> Outcome:
    report = home / "report.json"
    command = (
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", HERE / "schemathesis.toml"),
        *("run", f"http://127.0.0.1:{port}/openapi.json", "--checks", "all"),
        *("--max-examples", examples, "--generation-database", "none"),
        *("--report", "json", "--report-json-path", report),
        *more,
    )
    secrets = {
        "CHAIND_TOKEN": (home / "api.token").read_text().strip(),
        "CHAIND_HOOKS": str(HERE / "schemathesis_hooks.py"),
    }
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env={**os.environ, **secrets, "NO_COLOR": "1"}, cwd=home
    )
    status = await process.wait()
    told = json.loads(report.read_text())
    return Outcome(
        status=status,
        cases=told["test_cases"]["generated"],
        operations=told["operations"]["tested"],
        failures=told["test_cases"]["unique_failures"],
        seconds=round(told["running_time"]),
    )


def current_commit() -> str:
    """What a run is of."""
    git = ("git", "-C", str(HERE), "rev-parse", "--short", "HEAD")
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


def record(outcome: Outcome, examples: int, commit: str) -> None:
    """Write the page: a run stands for the API as it was at one commit."""
    version = metadata.version("schemathesis")
    PAGE.write_text(
        "# The API against its description\n\n"
        f"`tests/api/conformance.py --examples {examples} --record`: schemathesis {version}, all\n"
        "of its checks and one of ours, against a development node and its /openapi.json.\n"
        "A finding is a 5xx; an answer, a header or a code that is not described; a body against\n"
        "its schema; what is refused for its form though it is described, or the reverse.\n\n"
        "| cases | operations | findings | seconds | date | commit | machine |\n"
        "|---:|---:|---:|---:|---|---|---|\n"
        f"| {outcome.cases:,} | {outcome.operations} | {outcome.failures} | {outcome.seconds} | "
        f"{time.strftime('%Y-%m-%d', time.gmtime())} | {commit} | {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()} |\n"
    )


def main() -> int:
    """Exit status 1 where something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=5, help="drawn cases per operation")
    parser.add_argument("--record", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("more", nargs="*", help="further options of schemathesis, after --")
    arguments = parser.parse_args()
    confine()
    commit = current_commit() if arguments.record else ""
    outcome = asyncio.run(run(arguments.examples, arguments.more))
    print(f"{outcome.cases} cases, {outcome.failures} findings, {outcome.seconds} s")
    if arguments.record and outcome.status == 0:
        record(outcome, arguments.examples, commit)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
