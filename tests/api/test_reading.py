"""What can be read, in canonical routes and in those of earlier systems."""

from itertools import pairwise
from typing import Any

import pytest
from api_kit import ALICE, BOB, COIN_AMOUNT, NOBODY, STRANGER, TOKEN, VALIDATOR, Door
from prometheus_client.parser import text_string_to_metric_families

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node.vitals import Health
from chaind.primitives.address import key_address
from chaind.primitives.amounts import parse_amount
from chaind.primitives.block import Header
from chaind.primitives.genesis import Genesis, Parameters
from chaind.primitives.hashes import sha256d
from chaind.primitives.keys import verify
from chaind.primitives.transaction import Body, CoinInput, CoinOutput, Transaction
from chaind.primitives.votes import certificate_decoder, vote_digest
from chaind.wallet.builder import sign


async def pay(door: Door, *transactions: Transaction) -> None:
    """Make each final, in a block of its own."""
    for transaction in transactions:
        await door.post("/add_transaction?wait=final", {"raw": transaction.raw.hex()})


async def test_balance(door: Door) -> None:
    await pay(door, door.payment(150_000_000))
    expected = {
        "address": door.show(ALICE),
        "user": "alice",
        "balance": "998.5",
        "accounts": {"COIN": "998.5", TOKEN: "50"},
        "coins": "0",
        "reserved": "0",
        "utxo_count": 0,
        "last_activity_block": door.node.chain.final.height,
        "at": "final",
        "height": door.node.chain.final.height,
    }
    for who in (
        "alice",
        "1",
        door.show(ALICE),
        door.node.genesis.addresses.show_base58(key_address(ALICE.public)),
    ):
        assert await door.get(f"/balance/{who}") == expected
        assert await door.get(f"/api/v1/accounts/{who}") == expected


async def test_balance_of_an_unknown_address_is_zero(door: Door) -> None:
    answer = await door.get(f"/balance/{door.show(NOBODY)}")
    assert (answer["balance"], answer["utxo_count"], answer["accounts"]) == ("0", 0, {})
    assert answer["last_activity_block"] is None
    assert "user" not in answer
    assert (await door.get("/balance/nobody", 404))["code"] == "name-unknown"
    assert (await door.get(f"/balance/{door.show(NOBODY)}x", 400))["code"] == "address-invalid"


def split(door: Door, count: int) -> Transaction:
    """The stranger's genesis coin, parted into `count`."""
    address, whole = key_address(STRANGER.public), parse_amount(COIN_AMOUNT)
    part = CoinOutput(address, 1_000)
    rest = CoinOutput(address, whole - 1_000 * (count - 1))
    coin = CoinInput(GENESIS_COIN_TXID, len(door.node.genesis.allocations) - 1)
    outputs = (*[part] * (count - 1), rest)
    prefix = door.node.genesis.chain_prefix
    return sign(Body(1, prefix, bytes(8), None, None, (coin,), outputs, None, b""), STRANGER)


async def test_coins(door: Door) -> None:
    who, transaction = door.show(STRANGER), split(door, 7)
    await pay(door, transaction)
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await door.get(f"/utxos/{who}?limit=3{cursor}")
        assert page["count"] == len(page["utxos"])
        seen += page["utxos"]
        if page["next_cursor"] is None:
            break
        assert page["count"] == 3
        cursor = f"&cursor={page['next_cursor']}"
    assert [coin["output_index"] for coin in seen] == list(range(7))
    assert seen[0] == {
        "tx_id": transaction.txid.hex(),
        "output_index": 0,
        "amount": "0.00001",
        "recipient_address": who,
        "height": door.node.chain.final.height,
        "coinbase": False,
        "confirmations": 1,
        "mature": True,
    }
    whole = await door.get(f"/utxos/{who}")
    assert (whole["utxos"], whole["count"], whole["next_cursor"]) == (seen, 7, None)
    assert (whole["at"], whole["height"]) == ("final", door.node.chain.final.height)
    balance = await door.get(f"/balance/{who}")
    assert (balance["balance"], balance["coins"]) == (COIN_AMOUNT, COIN_AMOUNT)
    assert (balance["accounts"], balance["utxo_count"]) == ({}, 7)
    for wrong in ("x", "00.1", f"{'0' * 64}.x", f"{'0' * 64}"):
        assert (await door.get(f"/utxos/{who}?cursor={wrong}", 400))["code"] == "query-invalid"


async def test_history(door: Door) -> None:
    await pay(
        door,
        door.payment(3, memo="tea ☕".encode()),
        door.payment(5, source=BOB, target=ALICE, memo=b"\xff"),
        door.payment(7, asset=TOKEN),
        door.payment(9, source=ALICE, target=ALICE),
    )
    answer = await door.get("/transactions/alice")
    assert answer["address"] == door.show(ALICE)
    assert [entry["direction"] for entry in answer["transactions"]] == [
        "self", "sent", "received", "sent"
    ]  # fmt: skip
    assert [entry["amount"] for entry in answer["transactions"]] == [
        "0", "0.00000007", "0.00000005", "0.00000003"
    ]  # fmt: skip
    token, received, first = answer["transactions"][1:]
    assert token["asset"] == TOKEN
    assert token["changes"] == {TOKEN: "-0.00000007"}
    assert received["counterparties"] == [door.show(BOB)]
    assert (received["memo"], received["memo_hex"]) == (None, "ff")
    assert (first["memo"], first["status"]) == ("tea ☕", "final")
    assert answer == await door.get(f"/api/v1/accounts/{door.show(ALICE)}/transactions")


@pytest.mark.parametrize("genesis_changes", [{"parameters": Parameters(min_fee_per_byte=1)}])
async def test_history_tells_the_fee_apart(door: Door) -> None:
    payment = door.payment(1_000)
    token = door.payment(7, asset=TOKEN)
    await pay(door, payment, token)
    second, first = (await door.get("/transactions/alice"))["transactions"]
    assert (first["asset"], first["amount"], first["fee"]) == (
        "COIN", "0.00001", f"{payment.size / 10**8:.8f}"
    )  # fmt: skip
    assert (second["asset"], second["amount"]) == (TOKEN, "0.00000007")
    [other] = [
        entry
        for entry in (await door.get("/transactions/bob"))["transactions"]
        if entry["asset"] == "COIN"
    ]
    assert (other["fee"], other["amount"]) == ("0", "0.00001")


async def test_history_pages_do_not_shift(door: Door) -> None:
    await pay(door, *(door.payment(1 + i, number=i) for i in range(5)))
    first = await door.get("/transactions/alice?limit=2")
    await pay(door, door.payment(100))  # something new meanwhile
    rest, cursor = [], first["next_cursor"]
    while cursor:
        page = await door.get(f"/transactions/alice?limit=2&cursor={cursor}")
        rest += page["transactions"]
        cursor = page["next_cursor"]
    amounts = [entry["amount"] for entry in first["transactions"] + rest]
    assert amounts == [f"0.0000000{i}" for i in (5, 4, 3, 2, 1)]
    for wrong in ("1", "a.b", "-1.0", "1.4294967296", "1.2.3"):
        problem = await door.get(f"/transactions/alice?cursor={wrong}", 400)
        assert problem["code"] == "query-invalid"


async def test_blockchain_pages_to_where_it_began(door: Door) -> None:
    await pay(door, *(door.payment(1 + i, number=i) for i in range(4)))
    height = door.node.chain.final.height
    page = await door.get("/blockchain?limit=2")
    assert page["length"] == height + 1
    chain, cursor = page["chain"], page["next_cursor"]
    await pay(door, door.payment(100))
    while cursor:
        page = await door.get(f"/blockchain?limit=2&cursor={cursor}")
        assert page["length"] == height + 1  # anchored
        chain += page["chain"]
        cursor = page["next_cursor"]
    assert [block["height"] for block in chain] == list(range(height + 1))
    for parent, block in pairwise(chain):
        assert block["previous_hash"] == parent["hash"]
        header = bytes.fromhex(block["header"])
        assert sha256d(header)[::-1].hex() == block["hash"]
        assert Header.decode(header).time == block["timestamp"]
    assert chain[0]["hash"] == (await door.get("/status"))["genesis_hash"]


async def test_headers_and_ranges(door: Door) -> None:
    await pay(door, *(door.payment(1 + i, number=i) for i in range(4)))
    height = door.node.chain.final.height
    headers = await door.get("/blockchain/headers")
    assert [header["height"] for header in headers["headers"]] == list(range(height + 1))
    found = await door.get("/blocks/range?start=1&end=3")
    assert [block["height"] for block in found["blocks"]] == [1, 2, 3]
    assert (found["count"], found["next_start"]) == (3, None)
    assert [block["hash"] for block in found["blocks"]] == [
        header["hash"] for header in headers["headers"][1:4]
    ]
    beyond = await door.get(f"/blocks/range?start={height}&end=999999")
    assert [block["height"] for block in beyond["blocks"]] == [height]
    assert (await door.get(f"/blocks/range?start={height + 1}&end={height + 9}"))["blocks"] == []
    assert (await door.get("/blocks/range?start=3&end=1", 400))["code"] == "range-invalid"
    assert (await door.get("/blocks/range?start=x", 400))["code"] == "query-invalid"


async def test_block(door: Door) -> None:
    items = [door.payment(1 + i, number=i) for i in range(5)]
    await door.post("/add_transaction?wait=final", [{"raw": item.raw.hex()} for item in items])
    place = await door.get(f"/transaction/{items[0].txid.hex()}")
    block = await door.get(f"/block/{place['height']}")
    assert block == await door.get(f"/block/{block['hash']}")
    assert block == await door.get(f"/api/v1/blocks/{block['height']}")
    shown = {item["tx_id"] for item in block["transactions"]}
    assert shown == set(block["tx_ids"])
    assert len(shown) == block["transaction_count"]
    page = await door.get(f"/block/{block['hash']}?limit=1")
    if block["transaction_count"] > 1:
        assert page["next_cursor"] == "1"
        second = await door.get(f"/block/{block['hash']}?limit=1&cursor=1")
        assert second["transactions"] == block["transactions"][1:2]
    first = await door.get("/block/0")
    assert bytes.fromhex(first["header"]) == door.node.genesis.header().encode()
    assert first == await door.get(f"/block/{first['hash']}")
    assert (await door.get("/block/latest"))["height"] >= block["height"]
    assert (await door.get("/block/999", 404))["code"] == "block-unknown"
    assert (await door.get(f"/block/{'0' * 64}", 404))["code"] == "block-unknown"
    assert (await door.get("/block/xyz", 400))["code"] == "block-reference-invalid"


async def test_the_certificate_of_the_tip_verifies(door: Door) -> None:
    await pay(door, door.payment(1))
    status = await door.get("/status")
    shown = status["certificate"]
    assert shown["height"] == status["height"]
    assert shown["block_hash"] == status["hash"]
    certificate = certificate_decoder.decode(bytes.fromhex(shown["encoded"]))
    voters = (await door.get("/api/v1/validators"))["validators"]
    chain = bytes.fromhex(status["chain_id"])
    for vote in certificate.votes():
        digest = vote_digest(chain, vote.epoch, vote.view, vote.kind, vote.block)
        assert verify(bytes.fromhex(voters[vote.voter]["public_key"]), digest, vote.signature)
    assert shown["signers"] == [0] == certificate.voters()
    block = await door.get(f"/block/{status['height']}")
    assert block["certificate"] == shown
    assert voters[0]["public_key"] == VALIDATOR.public.hex()


async def test_status_in_the_words_of_earlier_systems(door: Door) -> None:
    await pay(door, door.payment(1))
    status = await door.get("/status")
    assert status["blockchain_length"] == status["height"] + 1
    assert status["peers"] == status["active_peers"] == 0
    assert status["name"] == "tested"
    assert bytes.fromhex(status["chain_prefix"]) == door.node.genesis.chain_prefix
    stats = await door.get("/stats")
    assert stats["transactions_total"] == 1
    assert stats["supply"][TOKEN] == "50"
    for path in ("/peers", "/getpeers"):
        assert await door.get(path) == {"peers": [], "active_peers": [], "count": 0}
    assert await door.post("/discover_peers") == {"peers": [], "active_peers": [], "count": 0}
    root = await door.get("/")
    assert root["height"] == status["height"]
    assert root["links"]["status"] == "/status"


async def test_add_peer_shapes(door: Door) -> None:
    for body in ({"peer": "127.0.0.1:9"}, {"host": "127.0.0.1", "port": 9}):
        assert (await door.post("/addpeer", body, 202, headers=door.token))["peer"] == "127.0.0.1:9"
    six = await door.post("/addpeer", {"host": "::1", "port": 9}, 202, headers=door.token)
    assert six["peer"] == "[::1]:9"
    wrong: Any
    for wrong in (
        {},
        {"peer": "nohost"},
        {"peer": "a:0"},
        {"host": "a"},
        {"peer": "a:1", "port": 2},
    ):
        assert (await door.post("/addpeer", wrong, 400, headers=door.token))["status"] == 400


async def test_chain_facts(door: Door) -> None:
    async with door.session.get("/api/v1/genesis") as response:
        assert Genesis.from_json(await response.read()).hash == door.node.genesis.hash
    assets = (await door.get("/api/v1/assets"))["assets"]
    assert [asset["symbol"] for asset in assets] == ["COIN", TOKEN]
    assert assets[1]["issuer"] == door.show(ALICE)
    accounts = (await door.get("/api/v1/accounts"))["accounts"]
    assert accounts[0] == {"id": 1, "name": "alice", "address": door.show(ALICE)}
    assert [row["name"] for row in accounts[10:]] == ["trader1", "trader2"]


async def test_health(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await door.get("/health/live") == {"status": "ok"}
    await pay(door, door.payment(1))
    ready = await door.get("/health/ready")
    assert (ready["ready"], ready["reasons"]) == (True, [])
    unwell = Health(False, ("no peers", "behind by 3 blocks"))
    monkeypatch.setattr(door.node.vitals, "health", lambda: unwell)
    for path in ("/health/ready", "/healthcheck"):
        answer = await door.get(path, 503)
        assert answer["reasons"] == ["no peers", "behind by 3 blocks"]


async def test_metrics(door: Door) -> None:
    await pay(door, door.payment(1))
    await door.get("/balance/alice")
    await door.get("/balance/nobody", 404)
    async with door.session.get("/metrics") as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["chaind_consensus_height",] == door.node.chain.final.height
    assert found["chaind_api_requests_total", "/api/v1/accounts/{who}", "200"] == 1
    assert found["chaind_api_requests_total", "/api/v1/accounts/{who}", "404"] == 1
    assert found["chaind_api_request_seconds_count", "/api/v1/accounts/{who}"] == 2
    assert door.show(ALICE) not in text


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", "1.5", ""])
async def test_limits_are_bounded(door: Door, limit: str) -> None:
    problem = await door.get(f"/transactions/alice?limit={limit}", 400)
    assert problem["code"] == "query-invalid"
