"""What the dashboard is served from and fed by: files, search, views with votes, their channel."""

import re
from importlib.resources import files
from typing import Any

import pytest
from api_kit import ALICE, BOB, STRANGER, VALIDATOR, Door

from chaind.api.pages import HEADERS
from chaind.primitives.address import key_address

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
DASHBOARD = files("chaind.api").joinpath("dashboard")


async def test_a_browser_gets_the_page_and_a_program_the_sign(door: Door) -> None:
    async with door.session.get("/", headers=BROWSER) as response:
        page = await response.text()
        assert (response.status, response.content_type) == (200, "text/html")
        assert response.headers["Vary"] == "Accept"
    assert page == DASHBOARD.joinpath("index.html").read_text()
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        async with door.session.get("/", headers=headers) as response:
            assert response.content_type == "application/json"
            assert response.headers["Vary"] == "Accept"
            assert (await response.json())["name"] == "chaind"
    async with door.session.head("/", headers=BROWSER) as response:
        assert (response.status, response.content_type) == (200, "text/html")


@pytest.mark.parametrize("file", [each.name for each in DASHBOARD.iterdir()])
async def test_every_file_is_served_under_the_policy(door: Door, file: str) -> None:
    medias = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    async with door.session.get(f"/dashboard/{file}") as response:
        assert await response.read() == DASHBOARD.joinpath(file).read_bytes()
        assert response.content_type == medias.get(file.rpartition(".")[2], "image/svg+xml")
        assert HEADERS.items() <= dict(response.headers).items()
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
        etag = response.headers["ETag"]
    async with door.session.get(f"/dashboard/{file}", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == etag
    async with door.session.get(f"/dashboard/{file}", headers={"If-None-Match": '"x"'}) as response:
        assert response.status == 200


async def test_nothing_else_is_served(door: Door) -> None:
    for name in ("none.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "index.html%00"):
        problem = await door.get(f"/dashboard/{name}", 404)
        assert problem["code"] in ("page-unknown", "route-unknown")


def test_the_files_ask_nobody_else_and_hold_nothing_inline() -> None:
    for file in DASHBOARD.iterdir():
        text = file.read_text()
        urls = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, file.name
        assert not re.search(r"@import|eval\(|new Function|innerHTML|document\.write", text), file
    page = DASHBOARD.joinpath("index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_all_of_it_is_small() -> None:
    assert sum(len(file.read_bytes()) for file in DASHBOARD.iterdir()) < 400 << 10


async def pay(door: Door, count: int) -> list[str]:
    """Ids of so many payments, final."""
    found = []
    for number in range(count):
        raw = door.payment(1 + number, number=number)
        await door.post("/add_transaction?wait=final", {"raw": raw.raw.hex()})
        found.append(raw.txid.hex())
    return found


async def test_views_stand_with_their_votes(door: Door) -> None:
    await pay(door, 3)
    told = await door.get("/api/v1/consensus")
    assert (told["weight"], told["quorum"], told["fast"]) == (1, 1, 1)
    views = [view for view in told["views"] if view["height"] is not None]
    assert [view["view"] for view in views] == sorted(
        (view["view"] for view in views), reverse=True
    )
    for view in views:
        block = await door.get(f"/block/{view['height']}")
        assert (view["block_hash"], view["view"]) == (block["hash"], block["view"])
        assert (view["leader"], view["first"], view["nullify"]) == (0, [0], [])
        assert view["outcome"] in ("fast", "final")
    (voter,) = told["validators"]
    assert (voter["name"], voter["weight"], voter["evidence"], voter["missed"]) == ("v0", 1, 0, 0)
    assert voter["voted"] == voter["led"] == told["window"] >= 3
    height = (await door.get("/status"))["height"]
    assert told["next_block"]["height"] == height + 1
    assert (told["next_block"]["transactions"], told["next_block"]["oldest_ms"]) == (0, None)


async def test_the_channel_tells_what_changed(door: Door) -> None:
    async with door.session.ws_connect("/ws") as socket:
        await socket.send_json({"method": "subscribe", "channels": ["consensus"]})
        first = await socket.receive_json(timeout=5)
        assert (first["channel"], first["type"], first["seq"]) == ("consensus", "consensus", 1)
        assert first["data"]["pulse"]["latency_ms"] is None
        assert (await socket.receive_json(timeout=5))["type"] == "subscribed"
        await pay(door, 2)
        news = first
        while news["data"]["pulse"]["transactions_total"] < 2:
            news = await socket.receive_json(timeout=5)
        pulse = news["data"]["pulse"]
        assert 1 <= pulse["samples"] <= 2
        assert 0 < pulse["latency_ms"] <= pulse["latency_p99_ms"]
        assert pulse["lag_ms"] >= 0
        shown = await door.get("/api/v1/consensus")
        seen = {view["view"]: view["block_hash"] for view in shown["views"]}
        for view in news["data"]["views"]:
            assert seen[view["view"]] == view["block_hash"]


async def test_what_nobody_reads_is_not_measured(door: Door) -> None:
    async with door.session.ws_connect("/ws") as socket:
        await socket.send_json({"method": "subscribe", "channels": ["consensus"]})
        await socket.receive_json(timeout=5)
        await pay(door, 1)
        await socket.send_json({"method": "unsubscribe", "channels": ["consensus"]})
        while (await socket.receive_json(timeout=5))["type"] != "unsubscribed":
            pass
        await socket.send_json({"method": "subscribe", "channels": ["consensus"]})
        again = await socket.receive_json(timeout=5)
        assert (again["seq"], again["data"]["pulse"]["samples"]) == (1, 0)


async def found(door: Door, text: str) -> list[tuple[str, str]]:
    answer = await door.get(f"/api/v1/search/{text}")
    return [(match["kind"], match["ref"]) for match in answer["matches"]]


async def test_one_search_finds_everything(door: Door) -> None:
    (txid,) = await pay(door, 1)
    block = await door.get(f"/block/{(await door.get(f'/transaction/{txid}'))['height']}")
    height, alice = block["height"], door.show(ALICE)
    voter = door.node.genesis.addresses.show(key_address(VALIDATOR.public))
    assert await found(door, txid.upper()) == [("transaction", txid)]
    assert await found(door, block["hash"]) == [("block", str(height))]
    genesis = (await door.get("/block/0"))["hash"]
    assert await found(door, genesis) == [("block", "0")]
    assert await found(door, "alice") == [("account", alice)]
    assert await found(door, alice) == [("account", alice)]
    assert await found(door, door.show(STRANGER)) == [("account", door.show(STRANGER))]
    assert await found(door, "v0") == [("account", voter)]
    # A number may be a height, written as people do, and the number of an account.
    assert await found(door, "%231") == [("block", "1")]
    assert await found(door, "2") == [("block", "2")] * (height >= 2) + [
        ("account", door.show(BOB))
    ]


@pytest.mark.parametrize("text", ["nobody", "00" * 32, "zz" * 32, "9" * 15, "chd1qqqq", "%2F", "é"])
async def test_a_search_without_result_is_no_error(door: Door, text: str) -> None:
    assert await found(door, text) == []


async def test_the_score_of_a_peer_is_told(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the network's own snapshot of it."""

    class Snapshot:
        node_id, address, inbound, latency_ms = "ab" * 32, "127.0.0.1:9", True, 1.5
        final_height, agent, score, connected_ms = 7, "x/1", 20.0, 1000.0
        validator_key_hex = VALIDATOR.public.hex()

    monkeypatch.setattr(door.node.network, "stats", lambda: [Snapshot()])
    (peer,) = (await door.get("/peers"))["peers"]
    assert (peer["score"], peer["connected_ms"], peer["validator_index"]) == (20.0, 1000.0, 0)
    assert (peer["height"], peer["inbound"], peer["address"]) == (7, True, "127.0.0.1:9")


async def test_a_foreign_page_gets_nothing(door: Door) -> None:
    wrong: Any
    for wrong in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        for path in ("/", "/dashboard/app.js", "/api/v1/consensus"):
            async with door.session.get(path, headers={**BROWSER, **wrong}) as response:
                assert response.status == 403
                assert response.content_type == "application/problem+json"
