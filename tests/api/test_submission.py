"""The door of transactions: one, many, streams; an answer per item, in order."""

import asyncio
import json
from typing import Any

import msgpack
import msgspec
import pytest
from api_kit import ALICE, BOB, NOBODY, Door

from chaind.api import transactions
from chaind.api.forms import Forms
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.transaction import Lease, Transaction

# No block may come within an hour: whatever is submitted waits.
WAITING_CHAIN = pytest.mark.parametrize(
    "genesis_changes", [{"parameters": Parameters(min_block_interval_ms=3_600_000)}]
)


async def test_one_is_accepted_once_durable(door: Door) -> None:
    payment = door.payment()
    answer = await door.post("/add_transaction", {"raw": payment.raw.hex()}, 202)
    assert answer == {"status": "accepted", "tx_id": payment.txid.hex()}
    again = await door.post("/api/v1/transactions", {"raw": payment.raw.hex()}, 202)
    assert again == answer


async def test_readable_form_is_accepted(door: Door) -> None:
    payment = door.payment(memo=b"lunch")
    form = json.loads(msgspec.json.encode(Forms(door.node.genesis).transaction_to_json(payment)))
    answer = await door.post("/api/v1/transactions?wait=final", form)
    assert answer == {"status": "final", "tx_id": payment.txid.hex()}
    shown = await door.get(f"/transaction/{payment.txid.hex()}")
    assert shown["transaction"] == form


@pytest.mark.parametrize("how", ["query", "header"])
async def test_wait_final_answers_when_it_is_final(door: Door, how: str) -> None:
    payment = door.payment(7)
    query = "?wait=final" if how == "query" else ""
    headers = {"Prefer": "respond-async, wait=final"} if how == "header" else {}
    async with door.session.post(
        f"/add_transaction{query}", json={"raw": payment.raw.hex()}, headers=headers
    ) as response:
        assert response.status == 200
        assert response.headers["Preference-Applied"] == "wait=final"
        assert (await response.json())["status"] == "final"
    assert door.node.queries.is_final(payment.txid)
    again = await door.post("/add_transaction?wait=final", {"raw": payment.raw.hex()})
    assert again["status"] == "final"


@WAITING_CHAIN
async def test_wait_final_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "WAIT_MS_MAX", 50)
    body = {"raw": door.payment(2).raw.hex()}
    answer = await door.post("/add_transaction?wait=final", body, 202)
    assert answer["status"] == "accepted"


async def test_wrong_preference_is_refused(door: Door) -> None:
    problem = await door.post("/add_transaction?wait=never", {"raw": "00"}, 400)
    assert problem["code"] == "query-invalid"


async def test_refusals_name_rule_and_values(door: Door) -> None:
    poor = door.payment(source=NOBODY)
    problem = await door.post("/add_transaction", {"raw": poor.raw.hex()}, 422)
    assert problem["code"] == "insufficient-funds"
    assert problem["values"]["available"] == "0"
    assert problem["advice"]
    forged = Transaction(door.payment().body, door.payment(number=1).witnesses)
    problem = await door.post("/add_transaction", {"raw": forged.raw.hex()}, 422)
    assert problem["code"] == "bad-signature"
    problem = await door.post("/add_transaction", {"raw": "00"}, 400)
    assert problem["code"] == "undecodable"


@pytest.mark.parametrize(
    "body", ["", "{", '{"raw":"00","raw":"01"}', "7", "null", '{"row":"00"}', '{"raw":"0"}']
)
async def test_malformed_bodies_are_400(door: Door, body: str) -> None:
    async with door.session.post(
        "/add_transaction", data=body, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 400, await response.text()
        assert response.content_type == "application/problem+json"


def mixed(door: Door) -> tuple[list[Transaction], list[str]]:
    """Transactions, and the status or code that each must get."""
    found = [door.payment(100 + i, number=i) for i in range(4)]
    found.insert(1, door.payment(source=NOBODY))
    found.insert(4, found[0])
    statuses = ["accepted", "insufficient-funds", *["accepted"] * 4]
    return found, statuses


def outcome(result: dict[str, Any]) -> str:
    return str(result["problem"]["code"] if result["status"] == "refused" else result["status"])


async def test_array_has_an_answer_per_item_in_order(door: Door) -> None:
    found, statuses = mixed(door)
    body: list[Any] = [{"raw": item.raw.hex()} for item in found]
    body[2] = found[2].raw.hex()  # plain hex does as well
    body.append({"raw": "zz"})
    answer = await door.post("/api/v1/transactions", body, 202)
    results = answer["results"]
    assert [outcome(item) for item in results] == [*statuses, "body-malformed"]
    assert [item["tx_id"] for item in results[:-1]] == [item.txid.hex() for item in found]
    assert (answer["accepted"], answer["refused"]) == (5, 2)


async def test_array_waits_for_finality(door: Door) -> None:
    found, statuses = mixed(door)
    body = [{"raw": item.raw.hex()} for item in found]
    answer = await door.post("/api/v1/transactions?wait=final", body)
    assert [outcome(item) for item in answer["results"]] == [
        status.replace("accepted", "final") for status in statuses
    ]


async def test_ndjson_has_a_line_per_line(door: Door) -> None:
    found, statuses = mixed(door)
    lines = [msgspec.json.encode({"raw": item.raw.hex()}) for item in found]
    lines.insert(2, b"{not json")
    async with door.session.post(
        "/api/v1/transactions",
        data=b"\n".join(lines),
        headers={"Content-Type": "application/x-ndjson"},
    ) as response:
        assert response.status == 202
        assert response.content_type == "application/x-ndjson"
        results = [msgspec.json.decode(line) for line in (await response.read()).splitlines()]
    statuses.insert(2, "body-malformed")
    assert [outcome(item) for item in results] == statuses


@pytest.mark.parametrize("framed", [True, False])
async def test_messagepack_stream(door: Door, framed: bool) -> None:
    found, statuses = mixed(door)
    data = b"".join(msgpack.packb(item.raw) if framed else item.raw for item in found)

    async def pieces() -> Any:
        for start in range(0, len(data), 100):
            yield data[start : start + 100]

    async with door.session.post(
        "/api/v1/transactions", data=pieces(), headers={"Content-Type": "application/msgpack"}
    ) as response:
        assert response.status == 202
        unpacker = msgpack.Unpacker()
        unpacker.feed(await response.read())
        results = list(unpacker)
    assert [outcome(item) for item in results] == statuses


async def test_a_stream_that_breaks_answers_what_went_before(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "SLICE_ITEMS", 2)
    found = [door.payment(100 + i, number=i) for i in range(3)]
    data = b"".join(msgpack.packb(item.raw) for item in found) + b"\xc1"
    async with door.session.post(
        "/api/v1/transactions", data=data, headers={"Content-Type": "application/msgpack"}
    ) as response:
        unpacker = msgpack.Unpacker()
        unpacker.feed(await response.read())
        results = list(unpacker)
    assert [outcome(item) for item in results] == ["accepted"] * 3 + ["body-malformed"]


@pytest.mark.parametrize("api_settings", [{"batch_bytes_max": 2_000}])
async def test_a_stream_beyond_its_limit_answers_what_went_before(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "SLICE_ITEMS", 1)
    monkeypatch.setattr(transactions, "CHUNK_BYTES", 1)
    line = msgspec.json.encode({"raw": door.payment(1).raw.hex()}) + b"\n"
    submitted = asyncio.Event()
    door.node.events.subscribe(lambda _: submitted.set())

    async def pieces() -> Any:
        yield line
        await submitted.wait()
        yield line * 10

    async with door.session.post(
        "/api/v1/transactions", data=pieces(), headers={"Content-Type": "application/x-ndjson"}
    ) as response:
        results = [msgspec.json.decode(part) for part in (await response.read()).splitlines()]
    assert [outcome(item) for item in results] == ["accepted", "body-too-large"]


async def test_many_items_are_submitted_in_slices(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    submit = door.node.intake.submit

    async def counted(raws: Any, *, local: bool) -> Any:
        sizes.append(len(raws))
        return await submit(raws, local=local)

    monkeypatch.setattr(door.node.intake, "submit", counted)
    body = "".join(f'{{"raw":"{door.payment(1, number=i % 3).raw.hex()}"}}\n' for i in range(1_200))
    async with door.session.post(
        "/api/v1/transactions", data=body, headers={"Content-Type": "application/x-ndjson"}
    ) as response:
        assert len((await response.read()).splitlines()) == 1_200
    assert sizes == [500, 500, 200]


async def test_a_rejected_transaction_is_told_to_who_waits(door: Door) -> None:
    """Two payments with one lease: the loser's waiter hears who won, and with what status."""
    lease = Lease(key_address(ALICE.public), b"\x01" * 32, b"\x02" * 32)
    first, second = door.payment(1, lease=lease), door.payment(2, lease=lease)
    await door.post("/add_transaction?wait=final", {"raw": first.raw.hex()})
    problem = await door.post("/add_transaction?wait=final", {"raw": second.raw.hex()}, 409)
    assert problem["code"] == "lease-taken"
    assert problem["values"]["txid"] == first.txid.hex()


async def test_state_of_a_transaction(door: Door) -> None:
    payment = door.payment(5, source=BOB, target=ALICE)
    await door.post("/add_transaction?wait=final", {"raw": payment.raw.hex()})
    for path in (
        f"/transaction/{payment.txid.hex()}",
        f"/api/v1/transactions/{payment.txid.hex()}",
    ):
        answer = await door.get(path)
        block = await door.get(f"/block/{answer['block_hash']}")
        assert answer["status"] == "final"
        assert answer["confirmations"] >= 1
        assert block["height"] == answer["height"]
        assert block["tx_ids"][answer["place"]] == payment.txid.hex()
    problem = await door.get(f"/transaction/{'0' * 64}", 404)
    assert problem["code"] == "transaction-unknown"
    for wrong in ("abc", "z" * 64, "0" * 66, "0" * 62 + " 0"):
        assert (await door.get(f"/transaction/{wrong}", 400))["code"] == "txid-invalid"


@WAITING_CHAIN
async def test_pending(door: Door) -> None:
    waiting = [door.payment(10 + i, number=i) for i in range(3)]
    await door.post("/add_transaction", [{"raw": item.raw.hex()} for item in waiting], 202)
    answer = await door.get("/pending")
    assert answer["count"] == 3
    assert {item["tx_id"] for item in answer["transactions"]} == {w.txid.hex() for w in waiting}
    assert answer["transactions"][0]["transaction"]["outputs"][0]["amount"] == "0.0000001"
    assert answer == await door.get("/transaction_pool")
    page = await door.get("/api/v1/pending?limit=2")
    assert (len(page["transactions"]), page["count"]) == (2, 3)
    assert (await door.get(f"/transaction/{waiting[0].txid.hex()}"))["status"] == "pending"
