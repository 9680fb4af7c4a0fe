"""Refunds over the API: linked to their payment, once for a key, never more than was paid."""

import asyncio
from typing import Any

import pytest
from api_kit import ALICE, BOB, NOBODY, STRANGER, TOKEN, Door

from chaind.primitives.address import key_address
from chaind.primitives.references import (
    RefundMemo,
    refund_key,
    refund_lease_id,
    refund_memo,
    refund_of,
    refund_text,
)
from chaind.primitives.transaction import Lease

PATH = "/api/v1/refunds"
KEY = {"Idempotency-Key": "order-7"}


async def pay(door: Door, amount: str = "10", **fields: Any) -> str:
    body = {"from": "alice", "to": "bob", "amount": amount, **fields}
    txid: str = (await door.post("/transfer?wait=final", body))["tx_id"]
    return txid


async def coins_of(door: Door, who: str) -> str:
    balance: str = (await door.get(f"/balance/{who}"))["accounts"]["COIN"]
    return balance


async def test_a_payment_is_given_back_in_parts_and_in_whole(door: Door) -> None:
    payment = await pay(door)
    first = await door.post(PATH, {"payment": payment, "amount": "4", "memo": "one chair"})
    assert first == {
        "status": "success",
        "message": "Refund Complete",
        "amount": "4",
        "asset": "COIN",
        "refund_of": payment,
        "number": 1,
        "tx_id": first["tx_id"],
    }
    rest = await door.post(PATH, {"payment": payment, "from": "bob"})
    assert (rest["amount"], rest["number"]) == ("6", 2)
    assert await coins_of(door, "alice") == await coins_of(door, "bob") == "1000"

    told = await door.get(f"/transaction/{payment}")
    assert told["refund_of"] is None
    shown = ("tx_id", "number", "amounts", "memo")
    assert [tuple(one[key] for key in shown) for one in told["refunds"]] == [
        (first["tx_id"], 1, {"COIN": "4"}, "one chair"),
        (rest["tx_id"], 2, {"COIN": "6"}, ""),
    ]
    assert {one["payee"] for one in told["refunds"]} == {door.show(BOB)}
    back = await door.get(f"/transaction/{first['tx_id']}")
    assert (back["refund_of"], back["refunds"]) == ({"tx_id": payment, "number": 1}, [])

    found = await door.get(f"/api/v1/transactions/{payment}/refunds/bob")
    assert found == {
        "payment": payment,
        "payer": door.show(ALICE),
        "payee": door.show(BOB),
        "paid": {"COIN": "10"},
        "refunded": {"COIN": "10"},
        "left": {"COIN": "0"},
        "refunds": told["refunds"],
        "next_number": 3,
    }


async def test_never_more_than_was_paid(door: Door) -> None:
    payment = await pay(door)
    problem = await door.post(PATH, {"payment": payment, "amount": "10.00000001"}, 422)
    assert problem["code"] == "refund-exceeds"
    await door.post(PATH, {"payment": payment, "amount": "7"})
    problem = await door.post(PATH, {"payment": payment, "amount": "3.5"}, 422)
    assert (problem["values"]["paid"], problem["values"]["left"]) == ("10", "3")
    await door.post(PATH, {"payment": payment})
    problem = await door.post(PATH, {"payment": payment}, 422)
    assert (problem["code"], problem["values"]["asked"]) == ("refund-exceeds", "nothing")
    assert await coins_of(door, "bob") == "1000"


async def test_a_key_gives_back_once(door: Door) -> None:
    payment = await pay(door)
    body = {"payment": payment, "amount": "3"}
    async with door.session.post(PATH, json=body, headers=KEY) as response:
        first = await response.read()
        assert response.headers.get("X-Idempotency-Hit") is None
    await door.post(PATH, {"payment": payment, "amount": "1"})  # another one comes between
    async with door.session.post(PATH, json=body, headers=KEY) as response:
        assert (response.status, await response.read()) == (200, first)
        assert response.headers["X-Idempotency-Hit"] == "true"
        assert response.headers.get("X-Db-Hit") is None
    for other in ({"amount": "4"}, {"memo": "sorry"}, {"amount": "3", "asset": TOKEN}):
        problem = await door.post(PATH, {"payment": payment, **other}, 422, headers=KEY)
        assert problem["code"] == "idempotency-key-reused"
    assert (await door.get(f"/transaction/{payment}"))["refunds"][0]["key"] == refund_key(
        bytes.fromhex(payment), KEY["Idempotency-Key"]
    ).hex()
    # Of another payment the same key is another one's.
    second = await pay(door)
    await door.post(PATH, {"payment": second, "amount": "3"}, headers=KEY)
    assert await coins_of(door, "bob") == "1013"


async def test_at_once_they_come_one_after_another(door: Door) -> None:
    payment = await pay(door)
    body = {"payment": payment, "amount": "3"}

    async def ask(key: int) -> tuple[int, Any]:
        headers = {"Idempotency-Key": f"k{key}"}
        async with door.session.post(PATH, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    answers = await asyncio.gather(*(ask(number % 5) for number in range(15)))
    made = {told["tx_id"] for status, told in answers if status == 200}
    refused = [told["code"] for status, told in answers if status != 200]
    assert (len(made), set(refused), len(refused)) == (3, {"refund-exceeds"}, 6)
    assert await coins_of(door, "bob") == "1001"
    told = await door.get(f"/transaction/{payment}")
    assert [one["number"] for one in told["refunds"]] == [1, 2, 3]


async def test_only_who_was_paid_gives_back(door: Door) -> None:
    payment = await pay(door)
    for who in ("alice", "carol"):
        problem = await door.post(PATH, {"payment": payment, "from": who}, 403)
        assert problem["code"] == "refund-not-yours"
        await door.get(f"/api/v1/transactions/{payment}/refunds/{who}", 403)
    to_a_stranger = await pay(door, to=door.show(NOBODY))
    problem = await door.post(PATH, {"payment": to_a_stranger}, 403)
    assert problem["code"] == "custody-disabled"


async def test_only_what_is_final_is_given_back(door: Door) -> None:
    problem = await door.post(PATH, {"payment": "ab" * 32}, 404)
    assert problem["code"] == "transaction-unknown"
    assert (await door.post(PATH, {"payment": "ab"}, 400))["code"] == "txid-invalid"


async def test_a_payout_and_several_assets(door: Door) -> None:
    rows = [
        {"to": "bob", "amount": "1"},
        {"to": "carol", "amount": "2"},
        {"to": "bob", "amount": "5", "asset": TOKEN},
        {"to": door.show(NOBODY), "amount": "1"},
    ]
    payout = await door.post("/api/v1/payouts?wait=final", {"from": "alice", "outputs": rows})
    body = {"payment": payout["tx_id"]}
    problem = await door.post(PATH, body, 400)
    assert (problem["code"], problem["values"]["count"]) == ("refund-payee-unclear", 3)
    assert (await door.post(PATH, {**body, "from": "bob"}, 400))["code"] == "refund-asset-unclear"
    gold = await door.post(PATH, {**body, "from": "bob", "asset": TOKEN})
    coins = await door.post(PATH, {**body, "from": "bob", "asset": "COIN"})
    carols = await door.post(PATH, {**body, "from": "carol", "amount": "2"})
    assert [(one["amount"], one["asset"], one["number"]) for one in (gold, coins, carols)] == [
        ("5", TOKEN, 1), ("1", "COIN", 2), ("2", "COIN", 1)
    ]  # fmt: skip
    told = await door.get(f"/transaction/{payout['tx_id']}")
    assert [one["tx_id"] for one in told["refunds"]] == [
        gold["tx_id"], coins["tx_id"], carols["tx_id"]
    ]  # fmt: skip


async def test_a_refund_can_be_given_back_too(door: Door) -> None:
    payment = await pay(door)
    refund = await door.post(PATH, {"payment": payment})
    again = await door.post(PATH, {"payment": refund["tx_id"], "from": "alice"})
    assert (again["amount"], again["number"]) == ("10", 1)
    assert await coins_of(door, "bob") == "1010"


async def test_a_stranger_cannot_pretend(door: Door) -> None:
    """The memo alone makes nothing a refund: its lease does, and the payee signs for that."""
    payment = bytes.fromhex(await pay(door))
    memo = refund_memo(RefundMemo(payment, 1, bytes(16)))
    for key, lease_id in ((ALICE, refund_lease_id(payment, 1)), (BOB, refund_lease_id(payment, 7))):
        lease = Lease(key_address(key.public), lease_id, bytes(32))
        target = ALICE if key is BOB else STRANGER
        false = door.payment(5, source=key, target=target, lease=lease, memo=memo)
        await door.post("/api/v1/transactions?wait=final", {"raw": false.raw.hex()})
        told = await door.get(f"/transaction/{false.txid.hex()}")
        assert told["refund_of"] is None
    assert (await door.get(f"/transaction/{payment.hex()}"))["refunds"] == []
    # What the payee signs counts, whoever made it.
    lease = Lease(key_address(BOB.public), refund_lease_id(payment, 1), bytes(32))
    own = door.payment(4 * 10**8, source=BOB, target=ALICE, lease=lease, memo=memo)
    await door.post("/api/v1/transactions?wait=final", {"raw": own.raw.hex()})
    rest = await door.post(PATH, {"payment": payment.hex()})
    assert (rest["amount"], rest["number"]) == ("6", 2)


def test_what_is_on_the_chain_of_a_refund_is_frozen() -> None:
    payment = bytes(range(32))
    key = refund_key(payment, "order-7")
    assert refund_memo(RefundMemo(payment, 3, key), b"sorry") == (
        b"refund:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        b" 3 c09ff20af6d45454126ffbf935b7671b sorry"
    )
    assert refund_lease_id(payment, 3).hex() == (
        "b8c6dba1875b6c004e9c5b4db74d45bd1e68d89fc91d4d9a44c313d87eb43918"
    )


def test_the_memo_of_a_refund() -> None:
    refund = RefundMemo(bytes(range(32)), 1000, b"k" * 16)
    memo = refund_memo(refund, b"for  you")
    assert (refund_of(memo), refund_text(memo)) == (refund, b"for  you")
    assert refund_text(refund_memo(refund)) == b""
    head, number, key, *_ = memo.split(b" ")
    for broken in (
        head,
        head + b" 1",
        b"%b %b" % (head.upper(), key),
        b"%b %b %b" % (head.upper(), number, key),
        b"%b %b %b" % (head[:-1], number, key),
        b"%b 0 %b" % (head, key),
        b"%b 01 %b" % (head, key),
        b"%b 1001 %b" % (head, key),
        b"%b +1 %b" % (head, key),
        b"%b 1  %b" % (head, key),
        b"%b 1 %b" % (head, key[:-1] + b"K"),
        b" " + memo,
    ):
        assert refund_of(broken) is None


@pytest.mark.parametrize("payment_settings", [{"require_key": True}])
async def test_a_key_may_be_required(door: Door) -> None:
    problem = await door.post(PATH, {"payment": "ab" * 32}, 400)
    assert problem["code"] == "idempotency-key-missing"
