"""`chaind exchange` against a node process: the node's accounts trade, and so does a wallet."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result
from node_kit import Running, running_node
from wallet_kit import PASSWORD, fresh

from chaind.cli.main import commands

NOTHING = "0" * 64


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_node(tmp_path_factory.mktemp("node"), CHAIND_CUSTODY_ENABLED="true") as node:
        yield node


def trade(node: Running, *words: str) -> Result:
    env: dict[str, str | None] = {"CHAIND_WALLET_PASSWORD": PASSWORD, "CHAIND_WALLET_URL": node.url}
    return CliRunner().invoke(commands, ["exchange", *words], prog_name="chaind", env=env)


def told(node: Running, *words: str) -> Any:
    result = trade(node, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_nodes_accounts_trade(node: Running) -> None:
    names = [market["symbol"] for market in told(node, "markets")["markets"]]
    assert names == ["BTC/USD", "COIN/USD"]
    assert "BTC/USD   0.01" in trade(node, "markets").output
    ask = told(node, "place", "BTC-USD", "sell", "2", "45000", "--account", "trader2")
    assert ask["status"] == "open"
    bid = told(node, "place", "BTC/USD", "buy", "0.5")  # at the market
    assert (bid["status"], bid["filled"], bid["type"]) == ("filled", "0.5", "market")
    assert told(node, "book", "BTC-USD")["asks"] == [["45000", "1.5", 1]]
    assert "ask   45000  1.5" in trade(node, "book", "BTC/USD").output
    [found] = told(node, "trades", "BTC-USD")["trades"]
    assert (found["price"], found["maker_order_id"]) == ("45000", ask["order_id"])
    assert "buy   45000  0.5" in trade(node, "trades", "BTC-USD").output
    listed = told(node, "orders", "--account", "trader2", "--status", "active")["orders"]
    assert [order["order_id"] for order in listed] == [ask["order_id"]]
    assert "partially_filled" in trade(node, "orders", "--account", "trader2").output
    watched = trade(node, "watch", "BTC-USD", "--count", "2")
    assert watched.output.splitlines() == [
        "bid none, ask 1.5 at 45000",
        "trade buy   0.5 at 45000",
    ]
    foreign = trade(node, "cancel", ask["order_id"], "--account", "trader1")
    assert (foreign.exit_code, "is of another account than trader1" in foreign.output) == (1, True)
    assert told(node, "book", "BTC-USD")["asks"] == [["45000", "1.5", 1]]
    [done] = told(node, "cancel", ask["order_id"], "--account", "trader2")["cancelled"]
    assert (done["status"], done["order_id"]) == ("cancelled", ask["order_id"])
    gone = trade(node, "cancel", ask["order_id"])
    assert (gone.exit_code, "is done already" in gone.output) == (1, True)
    assert told(node, "book", "BTC-USD")["asks"] == []


def test_a_key_orders_once(node: Running) -> None:
    words = ("place", "BTC-USD", "buy", "1", "40000", "--key", "once", "--client-order-id", "x")
    first, again = told(node, *words), told(node, *words)
    assert first["order_id"] == again["order_id"]
    assert trade(node, "cancel", "--all", "--symbol", "BTC-USD").output == "1 order: cancelled\n"
    assert told(node, "cancel", "--all")["cancelled"][0]["count"] == 0
    ended = trade(node, "place", "BTC-USD", "buy", "1", "40000", "--time-in-force", "ioc")
    assert "cancelled, 0 filled: the book had no more at its price" in ended.output


def test_the_key_of_an_order_is_shown_before_it_is_sent(node: Running) -> None:
    words = ("place", "BTC-USD", "buy", "1", "40000", "--json")
    first = trade(node, *words)
    drawn = first.stderr.removeprefix("key ").strip()
    again = trade(node, *words, "--key", drawn)
    assert json.loads(again.stdout)["order_id"] == json.loads(first.stdout)["order_id"]
    assert told(node, "cancel", "--all")["cancelled"][0]["count"] == 1


def test_what_was_taken_back_is_told_though_another_is_unknown(node: Running) -> None:
    order_id = told(node, "place", "BTC-USD", "buy", "1", "40000")["order_id"]
    result = trade(node, "cancel", order_id, NOTHING, "--json")
    assert result.exit_code == 1
    [done] = json.loads(result.stdout)["cancelled"]
    assert (done["order_id"], done["status"]) == (order_id, "cancelled")
    assert "there is no order" in result.stderr


@pytest.mark.parametrize("option", ["--wallet-account", "--password-fd"])
def test_options_of_a_wallet_need_one(node: Running, option: str) -> None:
    result = trade(node, "place", "BTC-USD", "buy", "1", "40000", option, "0")
    assert (result.exit_code, f"{option} goes with --wallet" in result.output) == (2, True)


def test_a_wallet_trades_what_it_has(
    node: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("chaind.wallet.keystore.LOG2_N_FLOOR", 4)
    mine = ("--wallet", fresh(node, "100"))
    order = told(node, "place", "COIN-USD", "sell", "40", "1.25", *mine)
    assert (order["status"], order["account"][:4]) == ("open", "chd1")
    for _ in range(2):  # the answer to a key is the answer
        bid = trade(node, "place", "COIN-USD", "buy", "10", "1.25", "--post-only", "--key", "p")
        assert (bid.exit_code, "would trade at" in bid.output) == (1, True)
    taken = told(node, "place", "COIN-USD", "buy", "10", "1.3")
    assert taken["filled"] == "10"
    second = told(node, "place", "COIN-USD", "sell", "5", "1.3", *mine)
    [done] = told(node, "cancel", order["order_id"], *mine)["cancelled"]
    assert done["status"] == "cancelled"
    half = trade(node, "cancel", second["order_id"], NOTHING, "--json", *mine)
    assert (half.exit_code, "there is no order" in half.stderr) == (1, True)
    [done] = json.loads(half.stdout)["cancelled"]
    assert (done["status"], done["order_id"]) == ("cancelled", second["order_id"])
    told(node, "place", "COIN-USD", "sell", "5", "1.3", *mine)
    told(node, "cancel", "--all", *mine)
    assert told(node, "book", "COIN-USD")["asks"] == []
    assert second["status"] == "open"
    off = trade(node, "place", "COIN-USD", "sell", "1", "1.00001", *mine)
    assert (off.exit_code, "the tick of COIN/USD" in off.output) == (1, True)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("place", "BTC-USD", "buy", "1", "45000.001"), 1, "not a multiple of the tick"),
        (("place", "BTC-USD", "buy", "0.1", "-5"), 1, "price -5 is refused: negative"),
        (("place", "BTC-USD", "buy", "1", "1", "--prize", "1"), 2, "No such option"),
        (("place", "NO-USD", "buy", "1", "1"), 1, "there is no market"),
        (("place", "BTC-USD", "hold", "1", "1"), 2, "'hold' is not one of"),
        (("place", "BTC-USD", "buy", "1", "1", "--wallet", "w", "--key", "k"), 2, "--key goes"),
        (("watch", "NO-USD"), 1, "has no market NO-USD"),
        (("book", "NO-USD"), 1, "there is no market"),
        (("cancel",), 2, "Give ids of orders, or --all"),
        (("cancel", NOTHING, "--side", "buy"), 2, "go with --all"),
        (("cancel", NOTHING, "--wallet", "w", "--account", "a"), 2, "--account goes"),
        (("cancel", NOTHING), 1, "there is no order"),
    ],
)
def test_what_cannot_be_done_is_said(
    node: Running, words: tuple[str, ...], status: int, said: str
) -> None:
    result = trade(node, *words)
    assert (result.exit_code, said in result.output) == (status, True), result.output


@pytest.mark.parametrize("words", [("markets",), ("place", "BTC-USD", "buy", "1", "1")])
def test_a_node_that_is_not_there_is_told_at_once_and_soon_given_up(words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    started_s = time.monotonic()
    given = ["exchange", *words, "--url", url, "--timeout", "1"]
    result = CliRunner().invoke(commands, given, prog_name="chaind")
    said = [line for line in result.output.splitlines() if "Connection refused" in line]
    assert "; again in 0.1 s, for 1 s at most" in said[0]
    assert (result.exit_code, len(said), said[1][:6]) == (69, 2, "Error:")
    assert time.monotonic() - started_s < 30


def test_a_host_that_nobody_knows_is_said_in_words(node: Running) -> None:
    url = "http://nowhere.invalid"
    found = trade(node, "book", "BTC-USD", "--timeout", "1", "--url", url)
    assert found.exit_code == 69
    assert f"{url} gives no answer: " in found.stderr
    assert "Unknown error" not in found.stderr


def test_a_port_without_http_is_said_in_words(node: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            with suppress(OSError):  # the server ends with the test
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"chaind\xb9\x00\n\n")

        Thread(target=speak, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        found = trade(node, "book", "BTC-USD", "--timeout", "1", "--url", url)
        server.shutdown(socket.SHUT_RDWR)
    assert found.exit_code == 69
    assert "what answers there is no HTTP API. Is it a P2P port?" in found.stderr
