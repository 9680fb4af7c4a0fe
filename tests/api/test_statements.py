"""Account statements: what they add up to, page by page, as JSON and as CSV."""

import csv
import io
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from api_kit import ALICE, BOB, NOBODY, STRANGER, TOKEN, VALIDATOR, Door

from chaind.node import statements
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.transaction import NATIVE, CoinInput, CoinOutput
from chaind.wallet.statement import safe_cell

FEES = pytest.mark.parametrize(
    "genesis_changes", [{"parameters": Parameters(min_fee_per_byte=3, subsidy_units=70)}]
)


async def statement(door: Door, who: str, **query: Any) -> dict[str, Any]:
    """A whole statement, all its pages, each of which must continue the one before."""
    pages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await door.get(f"/api/v1/accounts/{who}/statement", params={**query, **cursor})
        check_sum(page)
        if pages:
            assert page["opening_balance"] == pages[-1]["closing_balance"]
            assert page["to_height"] == pages[-1]["to_height"]
        pages.append(page)
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    entries = [entry for page in pages for entry in page["entries"]]
    return {**pages[-1], "opening_balance": pages[0]["opening_balance"], "entries": entries}


def check_sum(page: dict[str, Any]) -> None:
    balance = Decimal(page["opening_balance"])
    for entry in page["entries"]:
        balance += Decimal(entry["change"])
        assert balance == Decimal(entry["balance"])
    assert balance == Decimal(page["closing_balance"])


def plain_sums(door: Door, address: bytes, asset: str) -> list[tuple[int, int]]:
    """(height, units) after each block that changed them, from genesis file and blocks alone."""
    genesis = door.node.genesis
    coins: dict[tuple[bytes, int], tuple[bytes, int]] = {}
    held = 0
    for entry in genesis.allocations:
        if genesis.addresses.parse(entry.address) == address and entry.asset == asset:
            held += int(Decimal(entry.amount) * 10**8)
    found = [(0, held)]
    for info in door.node.queries.blocks(1, 100):
        fees = 0
        for transaction in info.block.transactions:
            body = transaction.body
            native = 0
            for taken in body.inputs:
                if isinstance(taken, CoinInput):
                    owner, units = coins.pop((taken.txid, taken.index), (key_address(
                        STRANGER.public), int(Decimal("77.5") * 10**8)))  # fmt: skip
                    of, native = NATIVE, native + units
                else:
                    owner, of, units = taken.address, taken.asset, taken.amount
                    native += units if of == NATIVE else 0
                held -= units if (owner, of) == (address, asset) else 0
            for index, output in enumerate(body.outputs):
                of = NATIVE if isinstance(output, CoinOutput) else output.asset
                if isinstance(output, CoinOutput):
                    coins[transaction.txid, index] = (output.address, output.amount)
                native -= output.amount if of == NATIVE else 0
                held += output.amount if (output.address, of) == (address, asset) else 0
            fees += native
        if (info.block.commitment.proposer, asset) == (address, NATIVE):
            held += fees + genesis.parameters.subsidy_units
        if held != found[-1][1]:
            found.append((info.height, held))
    return found


def exact(units: int) -> Decimal:
    return Decimal(units) / 10**8


@FEES
async def test_it_is_the_plain_sum_of_the_blocks(door: Door) -> None:
    """Payments of both assets, coins, fees and the proposer's rewards; every range of heights."""
    rng = Random(5)
    for number in range(14):
        source, target = rng.sample((ALICE, BOB), 2)
        asset = TOKEN if rng.random() < 0.3 and source is ALICE else NATIVE
        payment = door.payment(
            rng.randint(1, 10**9), source=source, target=target, asset=asset, number=number
        )
        await door.post("/api/v1/transactions?wait=final", {"raw": payment.raw.hex()})
    tip = door.node.chain.final.height
    for key in (ALICE, BOB, STRANGER, VALIDATOR, NOBODY):
        for asset in (NATIVE, TOKEN):
            truth = plain_sums(door, key_address(key.public), asset)
            symbol = asset or "COIN"
            whole = await statement(door, door.show(key), asset=symbol, limit=3)
            heights = {entry["height"] for entry in whole["entries"]}
            assert heights == {height for height, _ in truth[1:]}
            for first, last in ((1, tip), *(sorted(rng.choices(range(tip + 1), k=2))
                                            for _ in range(6))):  # fmt: skip
                part = await statement(
                    door, door.show(key), asset=symbol, from_height=first, to_height=last
                )
                before = [units for height, units in truth if height < max(1, first)][-1]
                after = [units for height, units in truth if height <= last][-1]
                assert Decimal(part["opening_balance"]) == exact(before)
                assert Decimal(part["closing_balance"]) == exact(after)
    balance = await door.get(f"/balance/{door.show(VALIDATOR)}")
    whole = await statement(door, door.show(VALIDATOR))
    assert (whole["closing_balance"], balance["balance"]) == (balance["balance"],) * 2
    assert {entry["kind"] for entry in whole["entries"]} == {"reward"}


async def test_an_entry_says_what_when_and_with_whom(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "12.5", "memo": "rent"}
    paid = await door.post("/transfer?wait=final", body)
    page = await statement(door, "alice")
    found = await door.get(f"/transaction/{paid['tx_id']}")
    assert page["entries"] == [
        {
            "kind": "payment", "tx_id": paid["tx_id"], "height": found["height"], "place": 0,
            "time_ms": found["time_ms"], "change": "-12.5", "fee": "0", "balance": "987.5",
            "counterparties": [door.show(BOB)], "memo": "rent", "memo_hex": b"rent".hex(),
        }
    ]  # fmt: skip
    assert (page["address"], page["asset"]) == (door.show(ALICE), "COIN")
    times = {"from_ms": found["time_ms"], "to_ms": found["time_ms"] + 1}
    assert len((await statement(door, "alice", **times))["entries"]) == 1
    for empty in ({"from_ms": found["time_ms"] + 1}, {"to_ms": found["time_ms"]}):
        assert (await statement(door, "alice", **empty))["entries"] == []
    late = await statement(door, "alice", from_height=10**6)
    assert (late["opening_balance"], late["closing_balance"]) == ("987.5", "987.5")


async def test_csv_is_for_spreadsheets_and_holds_no_formula(door: Door) -> None:
    memo = '=HYPERLINK("http://evil";"x")\n2nd'
    for amount in ("1", "2"):
        body = {"from": "alice", "to": "bob", "amount": amount, "memo": memo}
        await door.post("/transfer?wait=final", body)
    path = "/api/v1/accounts/bob/statement"
    async with door.session.get(path, headers={"Accept": "text/csv"}) as response:
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert 'filename="statement-' in response.headers["Content-Disposition"]
        assert "Link" not in response.headers
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["kind"] for row in rows] == [
        "opening balance", "payment", "payment", "closing balance"
    ]  # fmt: skip
    assert [row["change"] for row in rows] == ["", "1", "2", ""]
    assert [row["balance"] for row in rows] == ["1000", "1001", "1003", "1003"]
    assert rows[1]["memo"] == '\'=HYPERLINK("http://evil";"x")?2nd'
    async with door.session.get(path, params={"format": "csv", "limit": 1}) as response:
        following = response.links["next"]["url"]
    async with door.session.get(following) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["balance"] for row in rows] == ["1001", "1003", "1003"]


@pytest.mark.parametrize("text", ["=1", " =1", "+1", "-1", "@a", "\uff1d1", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_obey_is_text(text: str) -> None:
    assert safe_cell(text)[0] in "'?"
    assert safe_cell("tea - milk") == "tea - milk"


async def test_wrong_questions_are_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/accounts/alice/statement"
    for query, code in (
        ("format=xml", "query-invalid"),
        ("asset=%C3%A9", "query-invalid"),
        ("from_height=5&to_height=4", "range-invalid"),
        ("cursor=1.2", "query-invalid"),
        ("cursor=1.2.3", "query-invalid"),
        (f"cursor=3.2.{2**32}", "query-invalid"),
        ("limit=5001", "query-invalid"),
        ("to_ms=x", "query-invalid"),
        ("height=1", "query-unknown"),
    ):
        assert (await door.get(f"{path}?{query}", 400))["code"] == code
    assert (await door.get("/api/v1/accounts/nobody/statement", 404))["code"] == "name-unknown"
    monkeypatch.setattr(statements, "STEPS_MAX", 2)
    for number in range(4):
        payment = door.payment(5, number=number)
        await door.post("/api/v1/transactions?wait=final", {"raw": payment.raw.hex()})
    tip = door.node.chain.final.height
    assert (await door.get(f"{path}?from_height={tip - 1}"))["count"] == 2
    problem = await door.get(f"{path}?from_height=2", 422)
    assert problem["code"] == "statement-too-far"
    assert len((await statement(door, "alice"))["entries"]) == 4  # from the beginning, in pages
