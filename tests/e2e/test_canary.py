"""Known secrets are given to a node and to wallets, and then looked for wherever they must not be.

A validator keeps keys of a mnemonic of its own, sealed by a password, takes a token and a webhook
secret, and writes a debug log. It is asked everything, rightly and wrongly. One of the secrets can
be read in its home, by its owner alone, so that deliveries can be signed; the others nowhere.
"""

import asyncio
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from local_network import COMMAND, NodeProcess, free_ports, until

from chaind.api.route import Route
from chaind.api.routes import ROUTES
from chaind.cli.main import commands
from chaind.node.custody import account_key
from chaind.primitives.genesis import DEFAULT_ADDRESSES
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import seed_from_mnemonic
from chaind.wallet.wif import encode_wif, wif_version

WORDS = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
WALLET_WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
PASSWORD, WALLET_PASSWORD = "canary-password-5b1d", "canary-password-88fe"
TOKEN, WRONG_TOKEN = "canary-token-0123456789abcdef", "canary-token-that-is-wrong"
WEBHOOK_SECRET, SHORT_SECRET = "canary-webhook-secret-77", "canary-short"
SEED, WALLET_SEED = seed_from_mnemonic(WORDS), seed_from_mnemonic(WALLET_WORDS)
VERSION = wif_version(DEFAULT_ADDRESSES)
IMPORTED = SecretKey(bytes(range(7, 39)))
BOB = "chd1q0as7zflfugh0hhfh4v6ryyy30y76fkgkawaqyu"


def _canaries() -> dict[str, bytes]:
    """What must not be seen, by name; words count from three in a row on."""
    found = {
        "password": PASSWORD.encode(),
        "wallet password": WALLET_PASSWORD.encode(),
        "token": TOKEN.encode(),
        "wrong token": WRONG_TOKEN.encode(),
        "webhook secret": WEBHOOK_SECRET.encode(),
        "short webhook secret": SHORT_SECRET.encode(),
    }
    for name, words in (("words", WORDS.split()), ("wallet words", WALLET_WORDS.split())):
        for start in range(len(words) - 2):
            found[f"{name} from {start}"] = " ".join(words[start : start + 3]).encode()
    keys = {"alice": account_key(SEED, 1), "bob": account_key(SEED, 2), "imported": IMPORTED}
    for name, key in keys.items():
        secret = key.reveal()
        found |= {
            f"{name}'s key": secret,
            f"{name}'s key in hex": secret.hex().encode(),
            f"{name}'s key as WIF": encode_wif(key, VERSION).encode(),
        }
    for name, seed in (("seed", SEED), ("wallet seed", WALLET_SEED)):
        found |= {name: seed, f"{name} in hex": seed.hex().encode()}
    return found


CANARIES = _canaries()


def seen_in(data: bytes) -> list[str]:
    """The names of secrets that stand in these bytes."""
    return [name for name, canary in CANARIES.items() if canary in data]


class World:
    """The node, what its owner gave it, and all that it said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        given = {"password": PASSWORD, "mnemonic": WORDS, "token": TOKEN}
        self.files = {name: directory / "given" / name for name in given}
        self.files["token"].parent.mkdir()
        for name, path in self.files.items():
            path.write_text(given[name] + "\n")
            path.chmod(0o600)
        home = directory / "home"
        home.mkdir()
        *ports, self.dead_port = free_ports(3)
        self.node = NodeProcess(home, *ports)
        self.node.extra = {
            "CHAIND_CUSTODY_PASSWORD_FILE": str(self.files["password"]),
            "CHAIND_CUSTODY_MNEMONIC_FILE": str(self.files["mnemonic"]),
            "CHAIND_API_TOKEN_FILE": str(self.files["token"]),
            "CHAIND_WEBHOOKS_ALLOW_PRIVATE": "true",
            "CHAIND_LOG_LEVEL": "debug",
            "PYTHONASYNCIODEBUG": "1",
        }
        self.said: dict[str, bytes] = {}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The answer, kept for the search; JSON where it is."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Idempotency-Key": "k", **headers}
        request = urllib.request.Request(self.node.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                told, shown = answer.read(), str(answer.headers)
        except urllib.error.HTTPError as error:
            told, shown = error.read(), str(error.headers)
        self.said[f"{method} {path} {len(self.said)}"] = shown.encode() + told
        return json.loads(told) if "json" in shown else None

    def spend(self, path: str, body: object) -> Any:
        """With the right token."""
        return self.ask("POST", path, body, Authorization=f"Bearer {TOKEN}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("canary"))
    world.node.start()
    try:
        until(world.node.ready, "the node is ready")
        yield world
    finally:
        if world.node.process is not None:
            world.node.kill()


def filled(route: Route, txid: str, known: dict[str, str]) -> str:
    """A path of a route, naming things that there are."""
    named = {"who": "alice", "ref": "latest", "id": txid, "text": txid, "file": "app.js"}
    named |= {"symbol": "BTC-USD", **known}
    for prefix, value in (("invoices", known["invoice"]), ("webhooks", known["webhook"])):
        if f"/{prefix}/" in route.path:
            named["id"] = value
    return re.sub(r"\{(\w+)\}", lambda found: named[found[1]], route.path)


async def listen(url: str, txid: str) -> bytes:
    """What the WebSocket tells of the past, and of a mistake."""
    heard = b""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws") as live:
        channels = ["blocks", "account:alice", f"tx:{txid}"]
        await live.send_json({"method": "subscribe", "channels": channels, "from_height": 1})
        await live.send_json({"method": "subscribe", "channels": ["nonsense"]})
        while b"nonsense" not in heard:
            heard += (await live.receive()).data.encode()
    return heard


def use(world: World) -> str:
    """Everything that a node with keys does, once; the id of a payment."""
    world.spend("/faucet", {"to": "alice", "amount": "100"})
    paid = world.spend("/transfer", {"from": "alice", "to": "bob", "amount": "5"})
    txid: str = paid["tx_id"]
    world.spend("/api/v1/refunds", {"payment": txid, "amount": "1"})
    outputs = [{"to": BOB, "amount": "1"}, {"to": "bob", "amount": "2"}]
    world.spend("/api/v1/payouts", {"from": "alice", "outputs": outputs})
    world.spend("/api/v1/custody/accounts", {"name": "till"})
    invoice = world.spend("/api/v1/invoices", {"to": "alice", "amount": "1"})
    hook = {"url": world.node.url + "/nobody", "secret": WEBHOOK_SECRET, "cursor": "0.0.0"}
    webhook = world.spend("/api/v1/webhooks", hook)
    known = {"invoice": invoice["id"], "webhook": webhook["id"]}
    until(
        lambda: world.ask(
            "GET", f"/api/v1/webhooks/{webhook['id']}", Authorization=f"Bearer {TOKEN}"
        )["failures"],
        "a delivery failed",
    )
    world.spend("/api/v1/peers", {"peer": f"127.0.0.1:{world.dead_port}"})
    log = world.node.home / "log"
    until(lambda: b"[debug" in log.read_bytes(), "something is logged for debugging alone")
    for route in ROUTES:
        path = filled(route, txid, known)
        for token in (TOKEN, WRONG_TOKEN):
            if route.method == "GET":
                world.ask("GET", path, Authorization=f"Bearer {token}")
            elif route.method == "POST":
                world.ask("POST", path, {"from": [], "x": 1}, Authorization=f"Bearer {token}")
    for wrong in ({"secret": SHORT_SECRET}, {"events": ["none"]}, {"url": "ftp://x"}, {"x": 1}):
        world.spend("/api/v1/webhooks", {**hook, **wrong})
    world.said["websocket"] = asyncio.run(listen(world.node.url, txid))
    return txid


def test_no_secret_leaves_the_node(world: World) -> None:
    txid = use(world)
    process = world.node.process
    assert process is not None
    place = Path(f"/proc/{process.pid}")
    assert seen_in((place / "cmdline").read_bytes() + (place / "environ").read_bytes()) == []
    assert re.search(r"Max core file size +0 +0 ", (place / "limits").read_text())
    assert world.node.end() == 0

    assert txid.encode() in b"".join(world.said.values())  # the right places are looked at
    assert b"token-needed" in b"".join(world.said.values())
    assert {name: found for name, data in world.said.items() if (found := seen_in(data))} == {}
    log = (world.node.home / "log").read_bytes()
    assert seen_in(log) == []
    signed_with = []
    for path in world.node.home.rglob("*"):
        if path.is_file() and (found := seen_in(path.read_bytes())):
            assert (path.parent.name, found) == ("webhooks", ["webhook secret"]), path
            assert path.stat().st_mode & 0o077 == 0
            signed_with.append(path.name)
    assert len(signed_with) == 1
    assert (world.node.home / "custody.keystore").exists()


@contextmanager
def piped(*lines: str) -> Iterator[str]:
    """A descriptor, as text, from which these lines can be read."""
    reading, writing = os.pipe()
    os.write(writing, "".join(line + "\n" for line in lines).encode())
    os.close(writing)
    try:
        yield str(reading)
    finally:
        os.close(reading)


def said_by(*arguments: str, code: int, **env: str) -> bytes:
    """What a command prints, and the traceback if there is one."""
    result = CliRunner().invoke(commands, arguments, prog_name="chaind", env=env)
    assert result.exit_code == code, result.output
    return f"{result.output}{result.exc_info!r}".encode()


def refused_start(home: Path, variable: str, file: Path) -> bytes:
    """What `chaind run` says of a file that it is to take a secret from."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("CHAIND_")}
    done = subprocess.run(
        [*COMMAND, "run", "--home", str(home), "--api-port", "0", "--p2p-port", "0"],
        env={**mine, "CHAIND_CUSTODY_ENABLED": "true", variable: str(file)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 78, done.stderr
    return done.stdout + done.stderr


def test_no_refusal_repeats_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input that is wrong by a little is as good as the secret."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("chaind.wallet.keystore.LOG2_N_FLOOR", 4)
    wallet = {"CHAIND_WALLET_PASSWORD": WALLET_PASSWORD}
    said: list[bytes] = []
    for words in (WORDS.replace("above", "about"), WORDS + " abuve", WALLET_WORDS[:-7]):
        with piped(words) as descriptor:
            said.append(said_by("wallet", "restore", "--words-fd", descriptor, code=1, **wallet))
    wif = encode_wif(IMPORTED, VERSION)
    for damaged in (wif[:-1], wif + "1", wif[:-1] + ("2" if wif[-1] != "2" else "3"), wif.lower()):
        with piped(damaged) as descriptor:
            said.append(
                said_by("wallet", "import", "x", "--secret-fd", descriptor, code=1, **wallet)
            )
        assert wif[:20].encode() not in said[-1]
        assert wif.lower()[:20].encode() not in said[-1]
    with piped(wif) as descriptor:
        said_by("wallet", "import", "x", "--secret-fd", descriptor, code=0, **wallet)
    for given in (WALLET_PASSWORD + "x", WALLET_PASSWORD[:-1]):
        shown = said_by("wallet", "export", "--account", "x", code=77, CHAIND_WALLET_PASSWORD=given)
        said.append(shown)
        assert WALLET_PASSWORD[:-1].encode() not in shown
    (tmp_path / "mnemonic").write_text(WORDS.rpartition(" ")[0])
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o644)
    for setting in ("mnemonic", "password"):
        variable = f"CHAIND_CUSTODY_{setting.upper()}_FILE"
        said.append(refused_start(tmp_path / "home", variable, tmp_path / setting))
    (tmp_path / "token").write_text("canary-token\n")
    said.append(said_by("custody", "list", "--token-file", str(tmp_path / "token"), code=78))
    assert b"canary-token" not in said[-1]
    assert all(b"Traceback" not in text and text for text in said)
    assert {name for text in said for name in seen_in(text)} == set()
