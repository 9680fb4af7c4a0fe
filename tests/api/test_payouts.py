"""Many payments in one transaction: whole or not at all, once for its key, every bad row named."""

from typing import Any

import pytest
from api_kit import ALICE, BOB, NOBODY, TOKEN, Door

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters

KEY = {"Idempotency-Key": "salaries-may"}


def wages(*outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"from": "alice", "outputs": list(outputs), **more}


async def test_one_transaction_pays_many_and_once_for_its_key(door: Door) -> None:
    body = wages(
        {"to": "bob", "amount": "1.5"},
        {"to": door.show(NOBODY), "amount": 2},
        {"to": 3, "amount": "0.5"},
        {"to": "bob", "amount": "7", "asset": TOKEN},
        {"to": "bob", "amount": "1"},  # the same receiver twice is not an error
        memo="wages",
    )
    async with door.session.post("/api/v1/payouts", json=body, headers=KEY) as response:
        assert response.status == 200
        first = await response.read()
    answer = await door.post("/api/v1/payouts", body, headers=KEY)
    assert answer == {
        "status": "success",
        "message": "Payout Complete",
        "count": 5,
        "amounts": {"COIN": "5", TOKEN: "7"},
        "tx_id": answer["tx_id"],
    }
    async with door.session.post("/api/v1/payouts", json=body, headers=KEY) as response:
        assert (response.status, await response.read()) == (200, first)
        assert response.headers["X-Idempotency-Hit"] == "true"
    found = await door.get(f"/transaction/{answer['tx_id']}")
    assert len(found["transaction"]["outputs"]) == 5
    assert (await door.get("/balance/bob"))["accounts"] == {"COIN": "1002.5", TOKEN: "7"}
    assert (await door.get(f"/balance/{door.show(NOBODY)}"))["balance"] == "2"
    assert (await door.get("/balance/alice"))["accounts"] == {"COIN": "995", TOKEN: "43"}


async def test_its_key_stands_for_these_rows_in_this_order(door: Door) -> None:
    rows = ({"to": "bob", "amount": "1"}, {"to": 3, "amount": "2"})
    await door.post("/api/v1/payouts", wages(*rows), headers=KEY)
    for other in (wages(*reversed(rows)), wages(*rows, memo="x"), wages(rows[0])):
        problem = await door.post("/api/v1/payouts", other, 422, headers=KEY)
        assert problem["code"] == "idempotency-key-reused"
    # A payout of one row is not the transfer that pays the same.
    await door.post("/api/v1/payouts", wages(rows[0]), headers={"Idempotency-Key": "other"})
    problem = await door.post(
        "/transfer", {"from": "alice", **rows[0]}, 422, headers={"Idempotency-Key": "other"}
    )
    assert problem["code"] == "idempotency-key-reused"


async def test_without_a_key_it_is_queued(door: Door) -> None:
    answer = await door.post("/api/v1/payouts", wages({"to": "bob", "amount": "1"}), 202)
    assert answer == {"status": "queued", "tx_id": answer["tx_id"]}


async def test_every_bad_row_is_named_and_nothing_is_paid(door: Door) -> None:
    body = wages(
        {"to": "nobody", "amount": "1"},
        {"to": "bob", "amount": "1"},
        {"to": "bob", "amount": "-1"},
        {"to": "bob"},
        {"to": "bob", "amount": "1", "memo": "no"},
        ["bob", "1"],
        {"to": "chd1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "amount": "1"},
    )
    problem = await door.post("/api/v1/payouts", body, 400, headers=KEY)
    assert problem["code"] == "payout-rows-invalid"
    assert [(row["row"], row["code"]) for row in problem["values"]["rows"]] == [
        (1, "name-unknown"),
        (3, "amount-invalid"),
        (4, "body-malformed"),
        (5, "body-malformed"),
        (6, "body-malformed"),
        (7, "address-invalid"),
    ]
    assert "6 of 7 outputs" in problem["detail"]
    assert "row 3: amount -1 is refused: negative" in problem["detail"]
    assert door.node.queries.pending_count == 0
    assert door.node.queries.balance(key_address(BOB.public)).native == 1_000 * 10**8


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (wages(), 400, "payout-empty"),
        (wages(*[{"to": "bob", "amount": "1"}] * 4), 413, "payout-too-long"),
        (wages({"to": "bob", "amount": "600"}, {"to": 3, "amount": "600"}), 422,
         "insufficient-funds"),
        (wages(*[{"to": "bob", "amount": "92233720368"}] * 2), 422, "payout-sum-too-large"),
        (wages({"to": "bob", "amount": "1"}, memo="x" * 257), 400, "memo-too-long"),
        ({"outputs": []}, 400, "body-malformed"),
        ({"from": "alice", "outputs": {}}, 400, "body-malformed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("genesis_changes", [{"parameters": Parameters(outputs_max=3)}])
async def test_what_is_refused_whole(
    door: Door, body: dict[str, Any], status: int, code: str
) -> None:
    problem = await door.post("/api/v1/payouts", body, status, headers=KEY)
    assert problem["code"] == code
    alice = door.node.queries.balance(key_address(ALICE.public))
    assert (door.node.queries.pending_count, alice.native) == (0, 1_000 * 10**8)


@pytest.mark.parametrize("genesis_changes", [{"parameters": Parameters(min_fee_per_byte=3)}])
async def test_it_pays_the_fee_of_its_size(door: Door) -> None:
    body = wages(*[{"to": "bob", "amount": "1", "asset": TOKEN}] * 20)
    answer = await door.post("/api/v1/payouts?wait=final", body)
    [entry] = (await door.get("/transactions/alice"))["transactions"]
    raw = (await door.get(f"/transaction/{answer['tx_id']}"))["transaction"]
    size = door.node.queries.transaction(bytes.fromhex(answer["tx_id"])).transaction
    assert size is not None
    assert entry["fee"] == f"{3 * size.size / 10**8:.8f}".rstrip("0")
    assert [entry["asset"] for entry in raw["inputs"]] == [TOKEN, "COIN"]
