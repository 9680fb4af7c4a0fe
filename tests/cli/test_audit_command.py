"""`chaind audit` as typed: of a stopped home and of a running node, honest and lying."""

import json
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner, Result
from load_kit import free_port

from chaind.cli.main import commands
from chaind.cli.processes import end, log_tail, mark, spawn_chaind, wait_until
from chaind.cli.status import NodeSilent, fetch
from chaind.ledger.keys import balance_key
from chaind.node.audit_home import open_store
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis
from chaind.storage.schema import STATE
from chaind.wallet.derivation import development_key

PATIENCE_S = 30.0


class Running(NamedTuple):
    """A node process with a few final payments."""

    home: Path
    url: str
    stop: Callable[[], None]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["audit", *arguments], prog_name="chaind")


def pay(url: str, target: str) -> None:
    body = json.dumps({"from": "alice", "to": target, "amount": "1.5"}).encode()
    request = urllib.request.Request(
        f"{url}/transfer?wait=final", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert json.load(answer)["status"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("audited")
    home, port, log = directory / "home", free_port(), directory / "log"
    home.mkdir()
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CHAIND_")}
    words = ["run", "--home", str(home), "--api-port", str(port), "--p2p-port", "0"]
    process = spawn_chaind(words, log, {**mine, "CHAIND_CUSTODY_ENABLED": "true"})
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log_tail(log)
        try:
            return bool(fetch(url, "/health/ready"))
        except NodeSilent:
            return False

    def stop() -> None:
        found = mark(process.pid)
        if found is not None:
            end([found], PATIENCE_S)
            process.wait()

    try:
        assert wait_until(ready, PATIENCE_S), log_tail(log)
        for target in ("bob", "carol", "bob"):
            pay(url, target)
        yield Running(home, url, stop)
    finally:
        stop()


class _Proxy(BaseHTTPRequestHandler):
    """Passes a node's answers on, after `twist` has changed them."""

    upstream = ""
    twist: Callable[[str, bytes], bytes]

    def do_GET(self) -> None:
        with urllib.request.urlopen(self.upstream + self.path, timeout=PATIENCE_S) as answer:
            body = type(self).twist(self.path, answer.read())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def liar(url: str, twist: Callable[[str, bytes], bytes]) -> Iterator[str]:
    """The address of a node that lies."""
    handler = type("Proxy", (_Proxy,), {"upstream": url, "twist": staticmethod(twist)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def test_a_running_node_is_sound_and_says_the_truth(node: Running) -> None:
    result = invoke("--url", node.url, "--genesis", str(node.home / "genesis.json"), "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["consistent"]
    assert report["transactions"] == report["signatures"] == 3
    assert report["samples"] > 10
    assert report["certificates"] >= 1
    shown = invoke("--url", node.url).output
    assert shown.rstrip().endswith("consistent")
    assert "supply COIN" in shown


def _twist_balance(path: str, body: bytes) -> bytes:
    if "/accounts/" not in path:
        return body
    answer = json.loads(body)
    answer["accounts"] = {"COIN": "1"}
    return json.dumps(answer).encode()


def _twist_supply(path: str, body: bytes) -> bytes:
    return body.replace(b'"supply":"1', b'"supply":"2') if path.endswith("/assets") else body


def _twist_blocks(path: str, body: bytes) -> bytes:
    if "/blocks/raw" not in path:
        return body
    start, raws, certificate = msgspec.msgpack.decode(body)
    if raws:
        raws[-1] = raws[-1][:-1] + bytes([raws[-1][-1] ^ 1])
    return msgspec.msgpack.encode((start, raws, certificate))


def _twist_certificates(path: str, body: bytes) -> bytes:
    if "/blocks/raw" not in path:
        return body
    start, raws, certificate = msgspec.msgpack.decode(body)
    if certificate:
        certificate[-1] = [bytes(64) for _ in certificate[-1]]
    return msgspec.msgpack.encode((start, raws, certificate))


@pytest.mark.parametrize(
    ("twist", "invariant"),
    [
        (_twist_balance, "replay"),
        (_twist_supply, "replay"),
        (_twist_blocks, "replay"),
        (_twist_certificates, "signatures"),
    ],
)
def test_a_lying_node_is_found_out(
    node: Running, twist: Callable[[str, bytes], bytes], invariant: str
) -> None:
    with liar(node.url, twist) as url:
        result = invoke("--url", url)
    assert result.exit_code == 1
    assert f"VIOLATION of {invariant}" in result.output
    assert result.output.rstrip().endswith("NOT consistent")


def test_a_node_of_another_chain_is_refused(node: Running, tmp_path: Path) -> None:
    genesis = msgspec.structs.replace(Genesis.load(node.home / "genesis.json"), name="other")
    file = tmp_path / "genesis.json"
    file.write_bytes(genesis.to_json())
    result = invoke("--url", node.url, "--genesis", str(file))
    assert result.exit_code == 1
    assert "follows chain" in result.output


def test_blocks_that_are_claimed_and_not_given_are_an_error(node: Running) -> None:
    def twist(path: str, body: bytes) -> bytes:
        return msgspec.msgpack.encode((1, [], None)) if "/blocks/raw" in path else body

    with liar(node.url, twist) as url:
        result = invoke("--url", url)
    assert result.exit_code == 1
    assert "gives no block 1" in result.output


@pytest.mark.parametrize("words", [(), ("--url", "http://127.0.0.1:1", "--home", ".")])
def test_one_of_home_and_url_is_needed(words: tuple[str, ...]) -> None:
    assert invoke(*words).exit_code == 2


def test_a_home_in_use_then_stopped_then_damaged(node: Running) -> None:
    """In this order, since the node does not come back."""
    busy = invoke("--home", str(node.home))
    assert busy.exit_code == 80
    assert "in use" in busy.output
    node.stop()
    sound = invoke("--home", str(node.home), "--json")
    assert sound.exit_code == 0, sound.output
    report = json.loads(sound.stdout)
    assert report["transactions"] == 3
    assert report["rows"]["X"] == 3
    database = open_store(node.home / "chain" / "db")
    row = STATE + balance_key(key_address(development_key(1).public), "")
    held = database.get(row)
    assert held is not None
    database.write([(row, (int.from_bytes(held, "big") + 1).to_bytes(8, "big"))], sync=True)
    database.close()
    result = invoke("--home", str(node.home))
    assert result.exit_code == 1
    assert "VIOLATION of conservation" in result.output
    assert "VIOLATION of replay" in result.output
