"""Real `chaind run` processes on loopback, which a test may kill and start again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaind.primitives.genesis import Genesis

COMMAND = [sys.executable, "-m", "chaind.cli.main"]
PATIENCE_S = 60.0  # a bound on hangs, not a speed that is tested


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`, asked every 20 ms; fails naming `what`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {patience_s:.0f} s")


class NodeProcess:
    """One node: its home, its ports, and its process while it runs."""

    def __init__(self, home: Path, api_port: int, p2p_port: int) -> None:
        self.home = home
        self.api_port = api_port
        self.p2p_port = p2p_port
        self.url = f"http://127.0.0.1:{api_port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.peers: list[int] = []
        self.command = COMMAND
        self.extra: dict[str, str] = {}  # of the environment

    def start(self) -> None:
        """Start the process; returns at once."""
        assert self.process is None
        arguments = [*self.command, "run", "--home", str(self.home)]
        arguments += ["--api-port", str(self.api_port), "--p2p-port", str(self.p2p_port)]
        for port in self.peers:
            arguments += ["--peer", f"127.0.0.1:{port}"]
        mine = {key: value for key, value in os.environ.items() if not key.startswith("CHAIND_")}
        environment = {**mine, "CHAIND_CUSTODY_ENABLED": "true", **self.extra}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                arguments, stdout=log, stderr=log, env=environment, cwd=self.home
            )

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal, wait, and the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self.process = None
        return status

    def get(self, path: str) -> Any:
        """The JSON answer of a GET, whatever its status; None where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except OSError:
            return None

    def post(
        self, path: str, body: object, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON, headers) of a POST."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def height(self) -> int:
        """Final height, −1 where nobody answers, or a node that is ending."""
        status = self.get("/status")
        return -1 if status is None else int(status.get("height", -1))

    def ready(self) -> bool:
        """Whether /health/ready says so."""
        try:
            with urllib.request.urlopen(self.url + "/health/ready", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except OSError:  # HTTPError is one
            return False

    def log_tail(self) -> str:
        """The last lines, for failures."""
        return "\n".join((self.home / "log").read_text().splitlines()[-30:])


class LocalNetwork:
    """A development network of `count` validators under a directory."""

    def __init__(self, directory: Path, count: int) -> None:
        subprocess.run(
            [*COMMAND, "init", "--home", str(directory), "--validators", str(count)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ports = free_ports(2 * count)
        homes = [directory / f"node{i}" for i in range(count)] if count > 1 else [directory]
        self.nodes = [
            NodeProcess(home, ports[2 * i], ports[2 * i + 1]) for i, home in enumerate(homes)
        ]
        for node in self.nodes:
            node.peers = [other.p2p_port for other in self.nodes if other is not node]
        self.genesis = Genesis.load(homes[0] / "genesis.json")

    def start(self) -> None:
        """Start all, and wait until all are ready."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until every running node is ready."""
        for node in self.nodes:
            if node.process is not None:
                until(node.ready, f"{node.home.name} ready")

    def living(self) -> list[NodeProcess]:
        """Nodes whose process runs."""
        return [node for node in self.nodes if node.process is not None]

    def close(self) -> None:
        """Kill whatever runs."""
        for node in self.living():
            node.kill()
