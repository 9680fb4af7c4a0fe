"""`chaind wallet pay`, `refund` and `statement` against a node process."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_kit import Running, running_node
from wallet_kit import BOB, balances, fresh, gift, invoke, told

from chaind.primitives.amounts import UNIT
from chaind.wallet.answers import Payee, RefundsState
from chaind.wallet.client_paying import PayingClient
from chaind.wallet.client_sync import SyncClient
from chaind.wallet.payment_uri import format_uri, parse_uri


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It keeps the named accounts' keys."""
    variables = {"CHAIND_CUSTODY_ENABLED": "true"}
    with running_node(tmp_path_factory.mktemp("node"), **variables) as node:
        yield node


@pytest.fixture(scope="module")
def client(node: Running) -> Iterator[SyncClient]:
    with SyncClient.open([node.url]) as client:
        yield client


@pytest.fixture(autouse=True)
def _cheap_wallets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("chaind.wallet.keystore.LOG2_N_FLOOR", 4)


class Till:
    """A wallet with money, and how it is asked."""

    def __init__(self, node: Running, amount: str) -> None:
        self.name = fresh(node, amount)
        self.at = ("--wallet", self.name, "--url", node.url)
        self.address = invoke("address", "--wallet", self.name).output.strip()

    def told(self, *words: str, **more: Any) -> Any:
        return told(*words, *self.at, **more)

    def refused(self, *words: str) -> str:
        """What a command says that must fail."""
        result = invoke(*words, *self.at)
        assert result.exit_code == 1, result.output
        return result.stderr


# Invoices.


def test_an_invoice_is_paid_once_by_its_uri(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    made = client.create_invoice("bob", 4 * UNIT, memo="two chairs")
    plan = till.told("pay", made.uri, "--dry-run", password=None)
    assert (plan["to"], plan["amount"], plan["key"]) == (made.to, "4", made.reference)
    first = till.told("pay", made.uri)
    assert client.invoice(made.id).status == "paid"
    again = till.told("pay", made.uri, password=None)  # nothing to sign
    assert (again["tx_id"], again["earlier"]) == (first["tx_id"], True)
    assert balances(node, till.name) == {"main": "6"}
    stranger = Till(node, "10")
    assert "is paid: 4 of 4 COIN were paid" in stranger.refused("pay", made.uri)
    assert balances(node, stranger.name) == {"main": "10"}


def test_an_invoice_in_parts(node: Running, client: SyncClient) -> None:
    till, made = Till(node, "10"), client.create_invoice("bob", 4 * UNIT)
    part = till.told("pay", made.uri, "--amount", "1.5")
    assert part["key"] == f"{made.reference} 1.5"
    assert "2.5 are missing" in till.refused("pay", made.uri)
    till.told("pay", made.uri, "--amount", "2.5")
    assert client.invoice(made.id).status == "paid"
    assert till.told("pay", made.uri, "--amount", "1.5")["tx_id"] == part["tx_id"]
    assert balances(node, till.name) == {"main": "6"}


def test_what_is_no_invoice_to_pay_is_refused_in_words(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    cancelled = client.cancel_invoice(client.create_invoice("bob", UNIT).id)
    assert "is cancelled" in till.refused("pay", cancelled.uri)
    made = parse_uri(client.create_invoice("bob", UNIT).uri)
    for changes, words in (
        ({"chain": "0" * 16}, "the invoice is for chain 0000000000000000"),
        ({"expires_ms": 1_000}, "the invoice ended at 1970-01-01 00:00:01 UTC"),
        ({"address": till.address}, f"asks for 1 COIN to {till.address}"),
        ({"amount": "2"}, "for 1 COIN to"),
        ({"amount": "-1"}, "amount -1 is refused"),
        ({"address": "chd1qqqq"}, "is not an address of this chain"),
    ):
        uri = format_uri(made._replace(**changes))  # type: ignore[arg-type]
        assert words in till.refused("pay", uri), changes
    assert "it does not begin with chaind:" in till.refused("pay", "bitcoin:x?amount=1")
    assert balances(node, till.name) == {"main": "10"}


def test_an_invoice_of_another_node_is_paid_on_its_word(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    made = parse_uri(client.create_invoice("bob", UNIT).uri)
    elsewhere = format_uri(made._replace(memo="invoice:" + "ab" * 10))
    first = till.told("pay", elsewhere)
    assert till.told("pay", elsewhere)["tx_id"] == first["tx_id"]
    other = format_uri(made._replace(memo="rent for may"))
    assert re.fullmatch("uri:[0-9a-f]{64}", till.told("pay", other)["key"])
    assert balances(node, till.name) == {"main": "8"}


# Refunds.


def test_a_refund_from_the_address_that_was_paid(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    second = invoke("address", "--number", "1", "--wallet", till.name).output.strip()
    paid = client.transfer("alice", second, 4 * UNIT)
    before = client.holdings("alice").balance
    plan = till.told("refund", paid.tx_id, "--dry-run", password=None)
    assert plan["amount"] == "4"
    first = till.told("refund", paid.tx_id, "--amount", "1.5", "--memo", "a leg", "--key", "k")
    again = till.told("refund", paid.tx_id, "--amount", "1.50", "--memo", "a leg", "--key", "k")
    assert (first["earlier"], again["earlier"], first["tx_id"]) == (False, True, again["tx_id"])
    rest = till.told("refund", paid.tx_id)
    state = client.refunds(bytes.fromhex(paid.tx_id), second)
    assert (state.refunded, state.left) == ({"COIN": "4"}, {"COIN": "0"})
    assert [(one.tx_id, one.number) for one in state.refunds] == [
        (first["tx_id"], 1), (rest["tx_id"], 2)
    ]  # fmt: skip
    assert float(client.holdings("alice").balance) == float(before) + 4
    assert balances(node, till.name) == {"main": "10"}


def test_what_cannot_be_given_back_says_why(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    paid = client.transfer("alice", till.address, 4 * UNIT).tx_id
    assert "4 were paid, 4 are left" in till.refused("refund", paid, "--amount", "4.1")
    till.told("refund", paid, "--amount", "3", "--key", "k")
    assert "gave back something else" in till.refused("refund", paid, "--amount", "1", "--key", "k")
    assert "4 were paid, 1 are left" in till.refused("refund", paid, "--amount", "2")
    elsewhere = client.transfer("alice", "bob", UNIT).tx_id
    assert "paid no address of account 'main'" in till.refused("refund", elsewhere)
    assert "no transaction" in till.refused("refund", "00" * 32)
    assert invoke("refund", "xyz", *till.at).exit_code == 2
    assert balances(node, till.name) == {"main": "11"}


def test_of_several_addresses_one_is_named(node: Running, client: SyncClient) -> None:
    till = Till(node, "10")
    second = invoke("address", "--number", "1", "--wallet", till.name).output.strip()
    paid = client.payout("alice", [Payee(till.address, UNIT), Payee(second, 2 * UNIT)]).tx_id
    assert f"several addresses of the account: {till.address}, {second}" in till.refused(
        "refund", paid
    )
    told = till.told("refund", paid, "--payee", second)
    assert client.refunds(bytes.fromhex(paid), second).refunds[0].tx_id == told["tx_id"]
    assert client.refunds(bytes.fromhex(paid), till.address).left == {"COIN": "1"}
    assert "paid no address" in till.refused("refund", paid, "--payee", BOB)


def test_of_two_refunds_at_once_the_second_starts_anew(
    node: Running, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = Till(node, "10")
    paid = client.transfer("alice", till.address, 4 * UNIT).tx_id
    before = client.refunds(bytes.fromhex(paid), till.address)
    till.told("refund", paid, "--amount", "3")

    async def seen_before(*_: object) -> RefundsState:
        return before

    with monkeypatch.context() as patch:
        patch.setattr(PayingClient, "refunds", seen_before)
        assert "came first: nothing was given back" in till.refused("refund", paid, "--key", "k")
    assert balances(node, till.name) == {"main": "11"}
    till.told("refund", paid, "--key", "k")
    assert balances(node, till.name) == {"main": "10"}


# Statements.


def test_a_statement_of_an_account_with_several_addresses(
    node: Running, client: SyncClient
) -> None:
    till = Till(node, "10")
    second = invoke("address", "--number", "1", "--wallet", till.name).output.strip()
    gift(node, second, "5")
    till.told("send", BOB, "2", "--memo", "=tea")
    till.told("send", second, "1", "--coin")  # to itself
    found = till.told("statement", password=None)
    assert (found["opening_balance"], found["closing_balance"]) == ("0", "13")
    assert [(entry["change"], entry["balance"]) for entry in found["entries"]] == [
        ("10", "10"), ("5", "15"), ("-2", "13"), ("0", "13")
    ]  # fmt: skip
    assert found["entries"][2]["counterparties"] == [BOB]
    assert found["entries"][3]["counterparties"] == []

    shown = list(csv.DictReader(io.StringIO(invoke("statement", "--csv", *till.at).stdout)))
    assert [row["kind"] for row in shown] == [
        "opening balance",
        *["payment"] * 4,
        "closing balance",
    ]
    assert (shown[3]["memo"], shown[5]["balance"]) == ("'=tea", "13")
    table = invoke("statement", *till.at).output.splitlines()
    assert len(table) == 7
    assert table[-1].split() == ["closing", "balance", "13"]
    empty = told("statement", "--to", "2001-01-01", *till.at)
    assert (empty["entries"], empty["closing_balance"]) == ([], "0")
    both = invoke("statement", "--csv", "--json", *till.at)
    assert (both.exit_code, "one of --csv and --json" in both.stderr) == (2, True)
