"""Payments by name, in the request shapes that users of earlier systems know."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from api_kit import ALICE, BOB, NOBODY, TOKEN, Door

from chaind.node.payments import Payment
from chaind.node.vitals import Health
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters

UNIT = 10**8
KEY = {"Idempotency-Key": "lunch-1"}
WAITING_CHAIN = pytest.mark.parametrize(
    "genesis_changes", [{"parameters": Parameters(min_block_interval_ms=3_600_000)}]
)


def bob_has(door: Door) -> Decimal:
    return Decimal(door.node.queries.balance(key_address(BOB.public)).native) / UNIT


async def test_with_a_key_the_answer_is_the_final_one(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "12.50"}
    async with door.session.post("/transfer", json=body, headers=KEY) as response:
        assert response.status == 200
        assert "X-Idempotency-Hit" not in response.headers
        first = await response.read()
    answer = await door.post("/transfer", body, headers=KEY)
    assert answer == {
        "status": "success",
        "message": "Transfer Complete",
        "amount": "12.5",
        "tx_id": answer["tx_id"],
    }
    async with door.session.post("/transfer", json=body, headers=KEY) as response:
        assert (response.status, await response.read()) == (200, first)  # the same bytes again
        assert response.headers["X-Idempotency-Hit"] == "true"
        assert "X-Db-Hit" not in response.headers  # this run of the node made it
    assert bob_has(door) == Decimal("1012.5")
    assert (await door.get(f"/transaction/{answer['tx_id']}"))["status"] == "final"


async def test_a_payment_found_in_state_says_so(door: Door) -> None:
    """As after a restart, or on another node: this run has not answered it."""
    body = {"from": "alice", "to": "bob", "amount": 1}
    await door.post("/transfer", body, headers=KEY)
    door.node.payments._made.clear()
    async with door.session.post("/transfer", json=body, headers=KEY) as response:
        assert response.headers["X-Idempotency-Hit"] == "true"
        assert response.headers["X-Db-Hit"] == "true"
    assert bob_has(door) == 1_001


async def test_without_a_key_it_is_queued(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1"}
    answer = await door.post("/transfer", body, 202)
    assert answer == {"status": "queued", "tx_id": answer["tx_id"]}
    answer = await door.post("/transfer?wait=final", body)
    assert answer["status"] == "success"
    assert bob_has(door) >= 1_001  # two requests without a key are two payments


@pytest.mark.parametrize(
    "body",
    [
        {"from_id": 1, "to_id": 2, "amount": 2.5},
        {"from": 1, "to": 2, "amount": "2.5"},
        {"from": "1", "to": "bob", "amount": 2.5},
        {"from": "alice", "to": "BOB-ADDRESS", "amount": "2.5", "asset": "COIN", "memo": "é"},
        {"from": "ALICE-ADDRESS", "to": "bob", "amount": "2.50"},
    ],
)
async def test_ways_to_say_who(door: Door, body: dict[str, Any]) -> None:
    places = {"BOB-ADDRESS": door.show(BOB), "ALICE-ADDRESS": door.show(ALICE)}
    body = {key: places.get(str(value), value) for key, value in body.items()}
    assert (await door.post("/transfer?wait=final", body))["amount"] == "2.5"
    assert bob_has(door) == Decimal("1002.5")


async def test_another_asset(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "7", "asset": TOKEN}
    await door.post("/transfer?wait=final", body)
    assert (await door.get("/balance/bob"))["accounts"] == {"COIN": "1000", TOKEN: "7"}
    problem = await door.post("/transfer", {**body, "asset": "NONE"}, 422)
    assert problem["code"] in ("asset-unknown", "insufficient-funds")
    assert (await door.post("/transfer", {**body, "asset": "é"}, 400))["status"] == 400


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "1000000"}, 422, "insufficient-funds"),
        ({"amount": -1}, 400, "amount-invalid"),
        ({"amount": "0"}, 400, "amount-invalid"),
        ({"amount": "1e1"}, 400, "amount-invalid"),
        ({"amount": 0.000000001}, 400, "amount-invalid"),
        ({"amount": True}, 400, "amount-invalid"),
        ({"amount": None}, 400, "amount-invalid"),
        ({"amount": [1]}, 400, "amount-invalid"),
        ({"to": "nobody"}, 404, "name-unknown"),
        ({"to": "chd1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"}, 400, "address-invalid"),
        ({"to": 0}, 404, "name-unknown"),
        ({"to": None}, 400, "field-invalid"),
        ({"to_id": 2}, 400, "field-invalid"),
        ({"to": ["bob"]}, 400, "body-malformed"),
        ({"from": ""}, 404, "name-unknown"),
        ({"memo": "x" * 257}, 400, "memo-too-long"),
        ({"assset": "GOLD"}, 400, "body-malformed"),  # a slip must not pay in another asset
    ],
)
async def test_wrong_payments_are_refused(
    door: Door, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1", **change}
    assert (await door.post("/transfer", body, status))["code"] == code
    assert door.node.queries.pending_count == 0


async def test_a_key_pays_for_one_thing(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1"}
    await door.post("/transfer", body, headers=KEY)
    problem = await door.post("/transfer", {**body, "amount": "2"}, 422, headers=KEY)
    assert problem["code"] == "idempotency-key-reused"
    # The key belongs to the paying account: another one's is another key.
    await door.post("/transfer", {"from": "bob", "to": "alice", "amount": "2"}, headers=KEY)
    assert bob_has(door) == 999


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_wrong_keys_are_refused(door: Door, key: str) -> None:
    problem = await door.post(
        "/transfer", {"from": "alice", "to": "bob", "amount": "1"}, 400,
        headers={"Idempotency-Key": key},
    )  # fmt: skip
    assert problem["code"] == "idempotency-key-invalid"


async def test_one_payment_has_one_key(door: Door) -> None:
    problem = await door.post(
        "/transfer", {"from": "alice", "to": "bob", "amount": "1"}, 400,
        headers=[("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
    )  # fmt: skip
    assert problem["code"] == "idempotency-key-repeated"
    assert bob_has(door) == 1_000


async def test_many_requests_with_one_key_pay_once(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1"}
    answers = await asyncio.gather(*(door.post("/transfer", body, headers=KEY) for _ in range(30)))
    assert len({answer["tx_id"] for answer in answers}) == 1
    assert bob_has(door) == 1_001


@pytest.mark.parametrize("payment_settings", [{"require_key": True}])
async def test_a_key_can_be_required(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1"}
    assert (await door.post("/transfer", body, 400))["code"] == "idempotency-key-missing"
    await door.post("/transfer", body, headers=KEY)


@WAITING_CHAIN
async def test_in_flight_is_a_conflict_with_retry_after(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.node.payments.FINAL_WAIT_MS", 20)
    body = {"from": "alice", "to": "bob", "amount": "1"}
    for _ in range(2):
        async with door.session.post("/transfer", json=body, headers=KEY) as response:
            assert response.status == 409
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json(content_type=None))["code"] == "payment-in-flight"
    assert door.node.queries.pending_count == 1
    answer = await door.post("/transfer?wait=final", body, 202)  # no key: nothing to conflict with
    assert answer["status"] == "queued"


@WAITING_CHAIN
async def test_who_waited_in_vain_is_told_why(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.node.payments.FINAL_WAIT_MS", 20)
    reasons = ("no quorum: 1 of 3 votes", "no peers")
    monkeypatch.setattr(door.node.vitals, "health", lambda: Health(False, reasons))
    why = "no quorum: 1 of 3 votes; no peers"
    gift = await door.post("/faucet", {"to": "bob", "amount": "1"}, 202)
    assert (gift["status"], gift["why"]) == ("queued", why)
    body = {"from": "alice", "to": "bob", "amount": "1"}
    assert (await door.post("/transfer?wait=final", body, 202))["why"] == why
    assert "why" not in await door.post("/transfer", body, 202), "nobody waited"
    assert why in (await door.post("/transfer", body, 409, headers=KEY))["detail"]


async def test_all_that_a_body_lacks_is_named_at_once(door: Door) -> None:
    for body, lacks in (
        ({}, "it lacks amount, from or from_id, to or to_id"),
        ({"amount": "1", "from_id": 1}, "it lacks to or to_id"),
        ({"to": "bob", "from": "alice"}, "it lacks amount"),
        (
            {"to": "bob", "from": "alice", "amuont": 1},
            "it lacks amount, and has no use for 'amuont'",
        ),
    ):
        problem = await door.post("/transfer", body, 400)
        assert problem["code"] == "body-malformed"
        assert problem["detail"].endswith(lacks)
    assert (await door.post("/faucet", {}, 400))["detail"].endswith("it lacks to, amount")
    problem = await door.post("/api/v1/payouts", {"memo": "x"}, 400)
    assert problem["detail"].endswith("it lacks from, outputs")


async def test_a_payment_that_never_applies_is_told(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = door.node.payments.transfer

    async def expired(order: Any, *, wait: bool) -> Payment:
        payment = await transfer(order, wait=wait)
        return payment._replace(
            info=payment.info._replace(status="expired", reason="valid_until passed")
        )

    monkeypatch.setattr(door.node.payments, "transfer", expired)
    problem = await door.post(
        "/transfer?wait=final", {"from": "alice", "to": "bob", "amount": "1"}, 422
    )
    assert problem["code"] == "transaction-ended"
    assert problem["values"]["status"] == "expired"


@pytest.mark.parametrize("to", ["bob", 2, "ADDRESS"])
async def test_faucet(door: Door, to: Any) -> None:
    answer = await door.post(
        "/faucet", {"to": door.show(BOB) if to == "ADDRESS" else to, "amount": 100}
    )
    assert answer == {
        "status": "success", "user": "bob", "balance": "1100", "tx_id": answer["tx_id"]
    }  # fmt: skip
    found = await door.get(f"/transaction/{answer['tx_id']}")
    assert found["status"] == "final"  # a gift is a transaction, and no money beside the chain


async def test_faucet_for_a_stranger(door: Door) -> None:
    answer = await door.post("/faucet", {"to": door.show(NOBODY), "amount": "1.5"})
    assert (answer["user"], answer["balance"]) == (door.show(NOBODY), "1.5")
    assert (await door.post("/faucet", {"to": "bob", "amount": "0"}, 400))["status"] == 400
    assert (await door.post("/faucet", {"to": "bob"}, 400))["code"] == "body-malformed"


@pytest.mark.parametrize(
    "faucet_settings",
    [{"gift_max": 60, "address_per_hour_max": 100, "total_per_hour_max": 150}],
)
async def test_the_faucet_has_limits_of_its_own(door: Door) -> None:
    def ask(to: str, amount: str) -> dict[str, str]:
        return {"to": to, "amount": amount}

    problem = await door.post("/faucet", ask("bob", "60.00000001"), 422)
    assert problem["code"] == "faucet-gift-too-large"
    assert problem["values"] == {"limit": "60", "asked": "60.00000001"}
    await door.post("/faucet", ask("bob", "60"))
    async with door.session.post("/faucet", json=ask("bob", "41")) as response:
        assert response.status == 429
        assert 3_500 < int(response.headers["Retry-After"]) <= 3_600
        problem = await response.json(content_type=None)
    assert problem["code"] == "faucet-address-served"
    assert problem["values"]["given"] == "60"  # and not the fee
    assert problem["advice"]
    await door.post("/faucet", ask("bob", "40"))
    problem = await door.post("/faucet", ask("alice", "50.1"), 429)
    assert problem["code"] == "faucet-spent"
    await door.post("/faucet", ask("alice", "50"))
    assert (await door.get("/balance/bob"))["balance"] == "1100"


@pytest.mark.parametrize("faucet_settings", [{"address_per_hour_max": 50}])
async def test_gifts_asked_for_at_once_share_the_limit(door: Door) -> None:
    async def ask() -> int:
        async with door.session.post("/faucet", json={"to": "bob", "amount": "10"}) as response:
            return response.status

    statuses = await asyncio.gather(*(ask() for _ in range(12)))
    assert sorted(statuses) == [200] * 5 + [429] * 7
    assert (await door.get("/balance/bob"))["balance"] == "1050"
