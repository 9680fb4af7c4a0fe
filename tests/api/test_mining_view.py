"""What can be read about mining: the next block, the miners, who mined what."""

import asyncio
from typing import Any

import msgspec
import pytest
from api_kit import ALICE, BOB, Door, free_port
from prometheus_client.parser import text_string_to_metric_families
from stratum_kit import StratumClient
from test_mining import EASY, mine, on_mined_chain, submit, template

from chaind.api.mining_routes import MINING_ROUTES
from chaind.primitives.work import target_of

PORT = free_port()
serving = pytest.mark.parametrize("miner_settings", [{"stratum_port": PORT}])


async def mined(door: Door, *names: str) -> None:
    for name in names:
        answer = await template(door, name)
        await submit(door, answer, mine(answer))


@on_mined_chain
async def test_the_next_block_is_told(door: Door) -> None:
    told = await door.get("/api/v1/mining")
    assert told["previous_hash"] == door.node.genesis.hash[::-1].hex()
    assert (told["mode"], told["height"], told["bits"]) == ("pow", 1, f"{EASY:08x}")
    assert int(told["target"], 16) == target_of(EASY)
    assert told["difficulty"] == pytest.approx(0xFFFF * 2**208 / target_of(EASY))
    assert (told["reward"], told["network_hashes_per_second"]) == ("50", None)
    assert (told["serving"], told["own"], told["stratum"]) == (False, None, None)
    await mined(door, "bob", "bob", "bob", "bob", "bob")
    told = await door.get("/api/v1/mining")
    assert (told["height"], told["rate_blocks"]) == (6, 4)
    assert told["network_hashes_per_second"] > 0
    assert (await door.get("/api/v1/mining/workers")) == {"workers": []}


@on_mined_chain
async def test_blocks_are_counted_for_who_was_paid(door: Door) -> None:
    await mined(door, "bob", "alice", "bob", "alice", "bob")
    told = await door.get("/api/v1/mining/attribution")
    assert (told["from_height"], told["to_height"], told["final_height"]) == (1, 5, 2)
    bob = {
        "address": door.show(BOB),
        "user": "bob",
        "blocks": 3,
        "reward": "150",
        "final_blocks": 1,
        "final_reward": "50",
    }
    alice = {**bob, "address": door.show(ALICE), "user": "alice", "blocks": 2, "reward": "100"}
    assert told["miners"] == [bob, alice]
    told = await door.get("/api/v1/mining/attribution?end=2&blocks=1")
    assert told["miners"] == [{**alice, "blocks": 1, "reward": "50"}]
    told = await door.get("/api/v1/mining/attribution?who=alice")
    assert told["miners"] == [alice]
    assert (await door.get("/api/v1/mining/attribution?who=nobody", 404))["code"] == "name-unknown"
    assert (await door.get("/api/v1/mining/attribution?blocks=0", 400))["code"] == "query-invalid"


@on_mined_chain
@serving
async def test_miners_of_this_node_are_told(door: Door) -> None:
    client = await StratumClient("bob.rig").join(PORT)
    await client.until(lambda: client.job)
    first, parent = client.job[:2]
    assert await client.send(client.search()) == "accepted"
    await client.until(lambda: client.job[1] != parent)
    assert await client.send(["bob.rig", first, "00000000", "0", "0"]) == (
        "21 job not found: the block below has changed"
    )
    assert (await client.send(["bob.rig", client.job[0], "", "0", "0"]))[:2] == "20"
    [worker] = (await door.get("/api/v1/mining/workers"))["workers"]
    counts: dict[str, Any] = {"accepted": 1, "stale": 1, "rejected": 1}
    assert worker["name"] == "bob.rig"
    assert counts.items() <= worker.items()
    assert (worker["blocks"], worker["connections"]) == (1, 1)
    assert worker["expires_ms"] == worker["last_seen_ms"] + 3_600_000
    told = await door.get("/api/v1/mining")
    assert told["serving"]
    assert told["stratum"]["url"] == f"stratum+tcp://127.0.0.1:{PORT}"
    assert counts.items() <= told["stratum"].items()
    assert (await door.get("/status"))["hashes_per_second"] > 0
    async with door.session.get("/metrics") as response:
        text = await response.text()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["chaind_mining_shares_stale_total"] == 1
    assert values["chaind_mining_workers"] == 1
    await client.leave()
    while (told := (await door.get("/api/v1/mining"))["stratum"])["connections"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # no event tells
    assert (told["workers"], told["hashes_per_second"]) == (0, 0.0)
    assert (await door.get("/status"))["hashes_per_second"] == 0.0
    [away] = (await door.get("/api/v1/mining/workers"))["workers"]
    assert away["connections"] == 0
    assert away["hashes_per_second"] > 0, "its last"


@on_mined_chain
@serving
async def test_a_mistyped_address_is_refused_with_what_is_wrong(door: Door) -> None:
    client = await StratumClient("bob.rig").join(PORT)
    good = door.show(BOB)
    typo = good[:-1] + ("q" if good[-1] != "q" else "p")
    for name in (typo, f"{typo}.rig"):
        code, said, _ = await client.ask("mining.authorize", name, "x")
        assert code == 24
        assert said.startswith("the name must be ADDRESS or ADDRESS.WORKER: ")
        assert f"{typo} is not an address of this chain: " in said
        assert "checksum" in said
    await client.leave()


@on_mined_chain
async def test_the_newest_blocks_say_who_mined_them(door: Door) -> None:
    assert (await door.get("/api/v1/mining/recent"))["blocks"] == []
    paid = (await door.post("/transfer", {"from": "alice", "to": "bob", "amount": "2"}, 202))[
        "tx_id"
    ]
    await mined(door, "bob", "alice", "bob", "alice", "bob")
    told = (await door.get("/api/v1/mining/recent"))["blocks"]
    assert [block["height"] for block in told] == [5, 4, 3, 2, 1]
    assert [block["miners"][0]["user"] for block in told] == ["bob", "alice", "bob", "alice", "bob"]
    assert [block["final"] for block in told] == [False, False, False, True, True]
    assert [block["transactions"] for block in told] == [0, 0, 0, 0, 1]
    assert told[0]["hash"] == (await door.get("/api/v1/mining"))["previous_hash"]
    first = await door.get("/block/1")
    same = {name: first[name] for name in ("height", "hash", "time_ms", "final")}
    assert {name: told[-1][name] for name in same} == same
    assert first["tx_ids"] == [paid]
    share = {"address": door.show(BOB), "user": "bob", "reward": "50"}
    assert told[0]["miners"] == [share]
    assert told[0]["difficulty"] == pytest.approx(0xFFFF * 2**208 / target_of(EASY))
    for limit in range(1, 7):
        few = await door.get(f"/api/v1/mining/recent?blocks={limit}")
        assert few["blocks"] == told[:limit]
    assert (await door.get("/api/v1/mining/recent?blocks=0", 400))["code"] == "query-invalid"


@on_mined_chain
@serving
async def test_answers_are_of_the_described_type(door: Door) -> None:
    await mined(door, "bob")
    for route in MINING_ROUTES:
        if route.method == "GET":
            answer = await door.get(route.path)
            decoded = msgspec.convert(answer, route.answers[200])
            assert msgspec.to_builtins(decoded) == answer


async def test_a_chain_of_validators_is_not_mined(door: Door) -> None:
    for path in ("mining", "mining/workers", "mining/attribution", "mining/recent"):
        assert (await door.get(f"/api/v1/{path}", 409))["code"] == "not-mined"
