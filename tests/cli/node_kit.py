"""A node process for the tests of commands that talk to one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from load_kit import free_port

from chaind.cli.processes import end, log_tail, mark, spawn_chaind, wait_until
from chaind.cli.status import NodeSilent, fetch

PATIENCE_S = 30.0


class Running(NamedTuple):
    """Its API, its home and its log."""

    url: str
    home: Path
    log: Path


@contextmanager
def running_node(directory: Path, **variables: str) -> Iterator[Running]:
    """A single validator in `directory`, ready, with these variables of the environment alone."""
    home, port, log = directory / "home", free_port(), directory / "log"
    home.mkdir()
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CHAIND_")}
    words = ["run", "--home", str(home), "--api-port", str(port), "--p2p-port", "0"]
    process = spawn_chaind(words, log, mine | variables)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log_tail(log)
        try:
            return bool(fetch(url, "/health/ready"))
        except NodeSilent:
            return False

    try:
        assert wait_until(ready, PATIENCE_S), log_tail(log)
        yield Running(url, home, log)
    finally:
        found = mark(process.pid)
        assert found is not None, log_tail(log)
        end([found], PATIENCE_S)
        process.wait()
