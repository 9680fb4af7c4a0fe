"""`chaind wallet` against a node process: reading, paying, and where no secret may be seen."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from load_kit import free_port
from node_kit import PATIENCE_S, Running, running_node
from wallet_kit import BOB, CANARIES, PASSWORD, WORDS, balances, fresh, gift, invoke, piped, told

DEAD_URL = f"http://127.0.0.1:{free_port()}"  # where no node is


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It keeps the named accounts' keys, and writes a debug log."""
    variables = {
        "CHAIND_CUSTODY_ENABLED": "true",
        "CHAIND_LOG_LEVEL": "debug",
        "CHAIND_WALLET_PASSWORD": PASSWORD,  # of no concern to a node, and none of its settings
    }
    with running_node(tmp_path_factory.mktemp("node"), **variables) as node:
        yield node


@pytest.fixture(autouse=True)
def wallet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wallet of the canary words, whose password is cheap to guess."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("chaind.wallet.keystore.LOG2_N_FLOOR", 4)
    with piped(WORDS) as descriptor:
        assert invoke("restore", "--words-fd", descriptor).exit_code == 0
    return tmp_path / "chaind-wallet" / "default.keystore"


def test_a_payment_once_for_its_key_at_whatever_node_answers(node: Running) -> None:
    name = fresh(node, "10")
    urls = ("--url", DEAD_URL, "--url", node.url)
    plan = told("send", BOB, "2.5", "--wallet", name, "--dry-run", *urls, password=None)
    assert (plan["amount"], plan["fee"], plan["asset"]) == ("2.5", "0", "COIN")
    assert re.fullmatch(r"[0-9a-f]{32}", plan["key"])
    assert balances(node, name) == {"main": "10"}
    first = told("send", BOB, "2.5", "--wallet", name, "--key", plan["key"], *urls)
    again = told("send", BOB, "2.5", "--wallet", name, "--key", plan["key"], *urls, password=None)
    assert (first["earlier"], again["earlier"]) == (False, True)
    assert first["tx_id"] == again["tx_id"]
    assert first["key"] == plan["key"]
    assert balances(node, name) == {"main": "7.5"}
    other = invoke("send", BOB, "2.6", "--wallet", name, "--key", plan["key"], *urls)
    assert (other.exit_code, "paid for something else" in other.stderr) == (1, True)
    text = invoke("send", BOB, "1", "--wallet", name, *urls)
    assert re.search(r"1 COIN to chd1q0as7.*, fee 0 COIN", text.stderr)
    assert re.search(r"^key [0-9a-f]{32}$", text.stderr, re.MULTILINE)
    assert re.fullmatch(r"[0-9a-f]{64} is final, in block \d+\n", text.stdout)


def test_many_are_paid_by_one_transaction_or_nobody(node: Running, tmp_path: Path) -> None:
    name = fresh(node, "10")
    at = ("--wallet", name, "--url", node.url)
    invoke("account", "savings", "--wallet", name)
    savings = invoke("address", "--account", "savings", "--wallet", name).output.strip()
    planned = told("send", BOB, "1", savings, "2", "--dry-run", *at)
    assert [line["amount"] for line in planned["outputs"]] == ["1", "2"]
    told("send", BOB, "1", savings, "2", *at)
    assert balances(node, name) == {"main": "7", "savings": "2"}
    file = tmp_path / "payouts.csv"
    file.write_text(f"to,amount\n{BOB},5\n{savings},3\n")
    assert "holds 7 of COIN" in invoke("send", "--file", str(file), *at).stderr
    assert balances(node, name) == {"main": "7", "savings": "2"}
    file.write_text(f"to,amount\n{BOB},3\n{savings},4\n")
    told("send", "--file", str(file), *at)
    assert balances(node, name) == {"main": "0", "savings": "6"}


def test_coins_and_accounts_are_shown_and_spent(node: Running) -> None:
    name = fresh(node, "10")
    at = ("--wallet", name, "--url", node.url)
    invoke("account", "savings", "--wallet", name)
    savings = invoke("address", "--account", "savings", "--wallet", name).output.strip()
    told("send", savings, "4", "--coin", *at)
    [coin] = told("utxos", *at)["utxos"]
    assert (coin["account"], coin["amount"], coin["address"]) == ("savings", "4", savings)
    empty = invoke("send", BOB, "1", "--account", "savings", "--from", "accounts", *at)
    assert "holds 0 of COIN" in empty.stderr
    told("send", BOB, "1", "--account", "savings", "--from", "coins", "--memo", "tea", *at)
    assert balances(node, name) == {"main": "6", "savings": "3"}
    lines = told("history", "--account", "savings", *at)["history"]
    assert [(line["direction"], line["amount"], line["memo"]) for line in lines] == [
        ("sent", "1", "tea"),
        ("received", "4", ""),
    ]
    table = invoke("history", "--limit", "2", *at).output.splitlines()
    assert len(table) == 3
    assert "tea" in table[1]
    assert len(invoke("utxos", *at).output.splitlines()) == 2
    assert "savings  COIN   3        0           3" in invoke("balance", *at).output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("chd1qqqq", "1"), 1, "is not an address of this chain"),
        ((BOB, "-1"), 2, "No such option"),
        ((BOB, "0"), 1, "zero"),
        ((BOB, "0.000000001"), 1, "more than 8 decimals"),
        ((BOB, "1e3"), 1, "not a plain decimal"),
        ((BOB, "1000000"), 1, "that can be spent"),
        ((BOB, "1", "--asset", "GOLD"), 1, "holds 0 of GOLD"),
        ((BOB, "1", "--asset", "GOLD", "--coin"), 2, "other assets have none"),
        ((BOB, "1", "--key", "ä"), 2, "printable ASCII"),
        ((BOB, "1", "--key", ""), 2, "printable ASCII"),
        ((BOB, "1", "--memo", "x" * 257), 1, "257 bytes"),
        ((BOB, "1", "--account", "nobody"), 65, "it has: main"),
        ((BOB, "1", "--wallet", "nowhere"), 66, "there is no wallet"),
    ],
)
def test_what_cannot_be_paid_says_why(
    node: Running, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = invoke("send", *arguments, "--url", node.url)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.output


def test_a_watched_account_is_seen_and_planned_and_never_spent(node: Running) -> None:
    invoke("import", "bob", "--address", BOB)
    gift(node, BOB, "5")
    at = ("--account", "bob", "--url", node.url)
    assert float(told("balance", *at)["balances"][0]["balance"]) >= 5
    assert told("send", BOB, "1", "--dry-run", *at)["fee"] == "0"
    refused = invoke("send", BOB, "1", *at)
    assert (refused.exit_code, "only watches" in refused.stderr) == (77, True)


def test_a_chain_with_other_addresses_is_refused(node: Running, tmp_path: Path) -> None:
    document = json.loads(urllib.request.urlopen(f"{node.url}/api/v1/genesis").read())
    document["addresses"] = {"hrp": "xyz", "p2pkh_version": 1}
    document |= {"allocations": [], "assets": [], "markets": []}
    (tmp_path / "genesis.json").write_text(json.dumps(document))
    told("create", "--wallet", "foreign", "--genesis", str(tmp_path / "genesis.json"))
    result = invoke("balance", "--wallet", "foreign", "--url", node.url)
    assert (result.exit_code, "begin with chd" in result.stderr) == (78, True)


def test_nodes_that_are_all_silent_are_told(node: Running) -> None:
    result = invoke("balance", "--url", DEAD_URL)
    assert (result.exit_code, "Connection refused" in result.stderr) == (69, True)


def ask_everything(node: Running, address: str, txid: str) -> str:
    """What the node answers about a payer and its payment, and its log."""
    paths = ["/status", "/stats", "/metrics", "/api/v1/pending", f"/transaction/{txid}"]
    paths += [f"/balance/{address}", f"/utxos/{address}", f"/transactions/{address}"]
    answers = [urllib.request.urlopen(node.url + path).read().decode() for path in paths]
    return "\n".join([*answers, node.log.read_text()])


def test_no_secret_is_seen_in_logs_arguments_answers_or_errors(node: Running, wallet: Path) -> None:
    """The whole way of a payment in a process of its own, then everything it left behind."""
    address = invoke("address").output.strip()
    gift(node, address, "3")
    reading, writing = os.pipe()
    words = [sys.executable, "-P", "-m", "chaind.cli.main", "wallet", "send", BOB, "1"]
    words += ["--url", node.url, "--password-fd", str(reading), "--json"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHAIND_")}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[reading],
        env={**environment, "PYTHONASYNCIODEBUG": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        shown = process.stderr.readline()  # the plan: it waits for the password now
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        os.write(writing, PASSWORD.encode() + b"\n")
        output, errors = process.communicate(timeout=PATIENCE_S)
    os.close(reading)
    os.close(writing)
    assert process.returncode == 0, errors
    assert re.search(r"Max core file size +0 +0 ", limits)
    sent = json.loads(output)
    seen = [arguments.decode(), shown.decode(), output.decode(), errors.decode()]
    seen.append(ask_everything(node, address, sent["tx_id"]))
    seen.append(wallet.read_bytes().decode("latin-1"))
    failing: list[Callable[[], Any]] = [
        lambda: invoke("send", BOB, "1000", "--url", node.url),
        lambda: invoke("send", BOB, "1", "--url", DEAD_URL),
        lambda: invoke("export", password=PASSWORD + "x"),
        lambda: invoke("account", "main"),
    ]
    for fails in failing:
        result = fails()
        assert result.exit_code != 0
        seen.append(result.output + repr(result.exc_info))
    assert sent["tx_id"] in "".join(seen)  # the right places were looked at
    for canary in CANARIES:
        assert not [text for text in seen if canary in text]
