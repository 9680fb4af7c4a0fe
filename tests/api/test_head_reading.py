"""On a chain of miners the API tells the head, says so, and counts confirmations."""

import asyncio
from typing import Any

import msgspec
import pytest
from api_kit import Door
from test_mining import MINED, mine, submit, template
from test_websocket import connected

from chaind.cli.audit import ProgressBar
from chaind.cli.audit_url import audit_url
from chaind.primitives.genesis import Parameters

SOON = {**MINED, "parameters": Parameters(subsidy_units=50 * 10**8, coinbase_maturity=2)}
on_mined_chain = pytest.mark.parametrize("genesis_changes", [SOON])


async def mined(door: Door, who: str = "carol", count: int = 1) -> Any:
    for _ in range(count):
        answer = await template(door, who)
        last = await submit(door, answer, mine(answer))
    return last


@on_mined_chain
async def test_balances_are_of_the_head_unless_asked_otherwise(door: Door) -> None:
    pay = {"from": "alice", "to": "bob", "amount": "2"}
    paid = (await door.post("/transfer", pay, 202))["tx_id"]
    before = await door.get("/balance/bob?at=final")
    assert before["at"] == "final"
    await mined(door, count=2)
    head = await door.get("/balance/bob")
    assert (head["at"], head["height"], head["confirmations"]) == ("head", 2, 2)
    assert float(head["balance"]) == float(before["balance"]) + 2
    final = await door.get("/balance/bob?at=final")
    assert (final["balance"], final["height"]) == (before["balance"], 0)
    told = await door.get(f"/transaction/{paid}")
    assert (told["status"], told["height"], told["confirmations"]) == ("included", 1, 2)
    await mined(door, count=2)
    told = await door.get(f"/transaction/{paid}")
    assert (told["status"], told["confirmations"]) == ("final", 4)
    assert (await door.get("/balance/bob?at=final"))["balance"] == head["balance"]
    problem = await door.get("/balance/bob?at=tip", 400)
    assert problem["code"] == "query-invalid"


@on_mined_chain
async def test_a_miner_sees_its_coins_and_when_they_mature(door: Door) -> None:
    await mined(door, count=3)
    page = await door.get("/utxos/carol")
    assert (page["at"], page["height"], page["count"]) == ("head", 3, 3)
    by_height = sorted(page["utxos"], key=lambda coin: coin["height"])
    assert [coin["confirmations"] for coin in by_height] == [3, 2, 1]
    assert [coin["mature"] for coin in by_height] == [True, True, False]
    assert {coin["coinbase"] for coin in by_height} == {True}
    balance = await door.get("/balance/carol")
    assert (balance["coins"], balance["immature"]) == ("150", "50")
    assert (await door.get("/utxos/carol?at=final"))["utxos"] == []


@on_mined_chain
async def test_the_status_names_the_head_and_its_time(door: Door) -> None:
    answer = await mined(door, count=2)
    status = await door.get("/status")
    assert (status["head_height"], status["head_hash"]) == (2, answer["hash"])
    assert status["chain_time_ms"] == door.node.chain.head.time_ms > status["time_ms"]


@on_mined_chain
async def test_blocks_that_lead_to_the_head_are_shown_by_hash(door: Door) -> None:
    answer = await mined(door, count=2)
    block = await door.get(f"/block/{answer['hash']}")
    assert (block["height"], block["final"], block["certificate"]) == (2, False, None)
    assert (await door.get("/block/2", 404))["code"] == "block-unknown"
    assert (await door.get("/block/latest"))["height"] == 0
    await mined(door, count=3)
    block = await door.get(f"/block/{answer['hash']}")
    assert (block["height"], block["final"]) == (2, True)


@on_mined_chain
async def test_a_mined_chain_is_audited_through_its_node(door: Door) -> None:
    pay = {"from": "alice", "to": "bob", "amount": "2"}
    for _ in range(2):
        await door.post("/transfer", pay, 202)
        await mined(door, "bob", count=3)
    async with door.session.get("/api/v1/blocks/raw?start=2&limit=2") as answer:
        start, raws, proof = msgspec.msgpack.decode(await answer.read())
    assert (start, len(raws), proof) == (2, 2, None)
    report = await asyncio.to_thread(audit_url, door.url, None, 20, ProgressBar())
    assert report.violations == []
    assert (report.height, report.blocks, report.transactions) == (3, 3, 1)
    assert report.samples > 3


@on_mined_chain
async def test_a_key_whose_payment_is_in_a_block_is_under_way(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.node.payments.FINAL_WAIT_MS", 1.0)
    pay = {"from": "alice", "to": "bob", "amount": "2"}
    key = {"Idempotency-Key": "once"}
    waits = await door.post("/transfer", pay, 409, headers=key)
    assert "waits for a block" in waits["detail"]
    txid = waits["values"]["txid"]
    await mined(door)
    door.node.pool.remove(bytes.fromhex(txid))  # as where it came with a block alone
    problem = await door.post("/transfer", pay, 409, headers=key)
    assert problem["code"] == "payment-in-flight"
    assert "in block 1, which is not final: 1 deep" in problem["detail"]
    other = await door.post("/transfer", {**pay, "amount": "3"}, 422, headers=key)
    assert other["code"] == "idempotency-key-reused"
    await mined(door, count=3)
    again = await door.post("/transfer", pay, 200, headers=key)
    assert again["tx_id"] == txid


@on_mined_chain
async def test_channels_tell_heads_inclusions_and_rewards(door: Door) -> None:
    pay = {"from": "alice", "to": "bob", "amount": "2"}
    paid = (await door.post("/transfer", pay, 202))["tx_id"]
    async with connected(door) as socket:
        await socket.subscribe("blocks", "account:bob", "account:carol")
        first = await mined(door)
        told = [await socket.next() for _ in range(3)]
        by_channel = {message["channel"]: message for message in told}
        head = by_channel["blocks"]
        assert (head["type"], head["data"]) == (
            "head",
            {
                "height": 1,
                "hash": first["hash"],
                "undone": 0,
                "applied": 1,
                "final_height": 0,
            },
        )
        included = by_channel["account:bob"]
        assert (included["type"], included["data"]["tx_id"]) == ("transaction", paid)
        assert included["data"]["status"] == "included"
        reward = by_channel["account:carol"]
        assert (reward["type"], reward["data"]) == (
            "reward",
            {
                "status": "included",
                "amount": "50",
                "height": 1,
                "block_hash": first["hash"],
                "matures_at_height": 3,
            },
        )
        await mined(door, "alice", count=3)
        told = [await socket.next() for _ in range(6)]
        kinds = [(message["channel"], message["type"]) for message in told]
        assert kinds[:3] == [("blocks", "head")] * 3
        assert sorted(kinds[3:]) == [
            ("account:bob", "activity"),
            ("account:carol", "reward"),
            ("blocks", "block"),
        ]
        final = next(one for one in told if one["type"] == "reward")
        assert (final["data"]["status"], final["data"]["height"]) == ("final", 1)
