"""`chaind status`: a table for people, JSON for machines, and a sentence for whoever is silent."""

import json
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from chaind.cli.main import commands


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments), prog_name="chaind")


class Answers(BaseHTTPRequestHandler):
    """A node's API that knows /status and is not ready, and fails on any other path."""

    name = "node0"

    def do_GET(self) -> None:
        bodies = {
            "/status": {
                "name": self.name,
                "height": 7,
                "hash": "ab" * 32,
                "view": 9,
                "peers": 2,
                "pending": 5,
                "validator_index": 0,
                "certificate": {"view": 9},
            },
            "/health/ready": {"ready": False, "reasons": ["no peers", "no quorum"]},
        }
        self.send_response(200 if self.path == "/status" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(bodies.get(self.path)).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def node_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_status_is_a_line_for_each_node(node_url: str) -> None:
    result = invoke("status", "--url", node_url, "--url", f"{node_url}/")
    head, first, second = [re.split(" {2,}", line) for line in result.stdout.splitlines()]
    cells = dict(zip(head, first, strict=True))
    assert cells == {
        "url": node_url,
        "name": "node0",
        "role": "validator 0",
        "height": "7",
        "hash": "abababababab",
        "view": "9",
        "peers": "2",
        "pending": "5",
        "ready": "no: no peers; no quorum",
    }
    assert second == first
    assert result.exit_code == 0


def test_status_for_machines_is_all_that_a_node_says(node_url: str) -> None:
    answer = json.loads(invoke("status", "--json", "--url", node_url).stdout)
    assert answer["url"] == node_url
    assert answer["certificate"] == {"view": 9}
    assert answer["health"]["reasons"] == ["no peers", "no quorum"]


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_status_shows_every_node_and_fails_where_one_is_silent(
    node_url: str, option: tuple[str, ...]
) -> None:
    silent = "http://127.0.0.1:1"
    result = invoke("status", "--url", silent, "--url", node_url, *option)
    assert result.exit_code == 69
    assert node_url in result.stdout
    assert f"{silent} gives no answer" in result.stderr


def test_status_shows_nothing_that_a_terminal_would_obey(
    node_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "name", "\x1b[2Jnode")
    assert "\x1b" not in invoke("status", "--url", node_url).output


def test_status_asks_no_proxy(node_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert invoke("status", "--url", f"{node_url}/").exit_code == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://127.0.0.1:1/node", "refused"),
    ],
)
def test_status_of_a_silent_node_says_which_and_why(url: str, reason: str) -> None:
    result = invoke("status", "--url", url)
    assert result.exit_code == 69
    told = next(line for line in result.stderr.splitlines() if f"{url} gives no answer: " in line)
    assert reason in told


@pytest.mark.parametrize("answer", [b"\x00\x80\x1b[2J\xff" * 20 + b"\n", b""])
def test_status_of_a_peer_to_peer_port_asks_whether_it_is_one(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(answer)

        thread = Thread(target=speak)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = invoke("status", "--url", url)
        thread.join()
    assert result.exit_code == 69
    assert "no HTTP API. Is it a P2P port?" in result.stderr
    assert "\x1b" not in result.stderr


def test_status_of_an_unwell_node_says_so(node_url: str) -> None:
    result = invoke("status", "--url", f"{node_url}/elsewhere")
    assert result.exit_code == 69
    assert "status 503" in result.stderr
