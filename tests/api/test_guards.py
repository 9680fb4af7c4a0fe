"""Who may ask: the safety rules of a local API, each broken once."""

import asyncio
import stat
from typing import Any

import aiohttp
import pytest
import yarl
from api_kit import Door

from chaind.api import bodies
from chaind.api.app import ApiPortBusy, ApiServer
from chaind.api.guards import (
    CLIENTS_MAX,
    Buckets,
    TokenFileInvalid,
    client_of,
    host_name,
    is_loopback,
    read_token,
)
from chaind.api.problems import RateLimited
from chaind.api.routes import ROUTES
from chaind.node.config import ApiSection

TRANSFER = {"from": "alice", "to": "bob", "amount": "1"}


async def refusal(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and code of a problem document, whose form is checked."""
    assert response.content_type == "application/problem+json"
    problem = await response.json(content_type=None)
    assert problem["status"] == response.status
    assert {"title", "detail", "code", "type"} <= problem.keys()
    return response.status, problem["code"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil", "", "[::2]"]
)
async def test_foreign_host_is_refused(door: Door, host: str) -> None:
    async with door.session.get("/status", headers={"Host": host}) as response:
        assert await refusal(response) == (403, "host-not-allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8080"])
async def test_own_hosts_are_served(door: Door, host: str) -> None:
    await door.get("/status", headers={"Host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another port is another origin
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_foreign_pages_are_refused_on_every_door(door: Door, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/status"), ("POST", "/transfer"), ("GET", "/ws"), ("GET", "/no")):
        async with door.session.request(method, path, headers=headers) as response:
            assert await refusal(response) == (403, "origin-not-allowed")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await door.session.ws_connect("/ws", headers=headers)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "host-not-allowed"),
        ({"Origin": "https://evil.example"}, "origin-not-allowed"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin-not-allowed"),
    ],
)
async def test_every_route_of_the_table_refuses_strangers(
    door: Door, headers: dict[str, str], code: str
) -> None:
    """Whatever a stranger's page sends with it, the token included."""
    for route in ROUTES:
        for path in (route.path, *route.aliases):
            async with door.session.request(
                route.method, yarl.URL(path), json={}, headers={**headers, **door.token}
            ) as response:
                assert await refusal(response) == (403, code), path


async def test_own_pages_are_served(door: Door) -> None:
    headers = {"Origin": door.url, "Sec-Fetch-Site": "same-origin"}
    await door.get("/status", headers=headers)
    async with door.session.ws_connect("/ws", headers=headers):
        pass
    # A link from the dashboard of the node on the next port.
    await door.get("/status", headers={"Sec-Fetch-Site": "same-site"})
    async with door.session.post(
        "/transfer", json=TRANSFER, headers={"Sec-Fetch-Site": "same-site"}
    ) as response:
        assert await refusal(response) == (403, "origin-not-allowed")


@pytest.mark.parametrize("path", ["/transfer", "/faucet", "/add_transaction"])
@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_mutations_need_their_media_type(door: Door, path: str, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    async with door.session.post(
        path, data=b"{}", headers=headers, skip_auto_headers=["Content-Type"]
    ) as response:
        assert await refusal(response) == (415, "media-type-unsupported")


async def test_compressed_bodies_are_refused(door: Door) -> None:
    async with door.session.post("/transfer", json=TRANSFER, compress="gzip") as response:
        assert await refusal(response) == (415, "media-type-unsupported")


@pytest.mark.parametrize("api_settings", [{"body_bytes_max": 2_000, "batch_bytes_max": 4_000}])
async def test_bodies_are_bounded(door: Door) -> None:
    async def chunks() -> Any:  # no Content-Length
        for _ in range(10):
            yield b" " * 1_000

    json_headers = {"Content-Type": "application/json"}
    for path, size in (("/transfer", 2_001), ("/add_transaction", 4_001)):
        async with door.session.post(path, data=b" " * size, headers=json_headers) as response:
            assert await refusal(response) == (413, "body-too-large")
        async with door.session.post(path, data=chunks(), headers=json_headers) as response:
            assert await refusal(response) == (413, "body-too-large")
    async with door.session.post(  # the batch door takes a batch's length, but not of one object
        "/add_transaction", data=b'["' + b"a" * 3_000 + b'"]', headers=json_headers
    ) as response:
        assert await refusal(response) == (413, "body-too-large")
    async with door.session.post(
        "/add_transaction", data=b" " * 3_000, headers={"Content-Type": "application/x-ndjson"}
    ) as response:
        assert response.status == 200


async def test_slow_bodies_are_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S_MAX", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    writer.write(
        b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"from"'
    )
    answer = await asyncio.wait_for(reader.read(), 5)  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body-too-slow" in answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("api_settings", [{"requests_per_second": 1, "requests_burst": 3}])
async def test_rate_is_bounded_per_client(door: Door) -> None:
    for _ in range(3):
        await door.get("/status")
    async with door.session.get("/status") as response:
        assert await refusal(response) == (429, "rate-limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 2


def test_buckets_fill_again_and_are_bounded() -> None:
    now_ms = 0.0
    buckets = Buckets(10, 2, lambda: now_ms)
    for _ in range(2):
        buckets.take("a")
    with pytest.raises(RateLimited):
        buckets.take("a")
    buckets.take("b")  # another client has its own
    now_ms = 100.0  # a tenth of a second is one token
    buckets.take("a")
    with pytest.raises(RateLimited):
        buckets.take("a")
    for number in range(CLIENTS_MAX):
        buckets.take(str(number))
    assert len(buckets._buckets) == CLIENTS_MAX


def test_one_ipv6_client_has_one_bucket() -> None:
    first = client_of("2001:db8:1:2:3:4:5:6")
    assert client_of("2001:db8:1:2:ffff::1") == first
    assert client_of("2001:db8:1:3::1") != first


def test_names_of_hosts() -> None:
    assert host_name("[::1]:8080") == "::1"
    assert host_name("Name:1") == "name"
    assert [is_loopback(host) for host in ("127.0.0.9", "::1", "localhost", "0.0.0.0", "x")] == [
        True, True, True, False, False
    ]  # fmt: skip


async def test_token_is_random_private_and_ends_with_the_node(door: Door) -> None:
    path = door.home / "api.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 40
    await door.server.stop()
    assert not path.exists()


async def test_changing_the_node_needs_the_token(door: Door) -> None:
    body = {"peer": "127.0.0.1:9"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        async with door.session.post("/addpeer", json=body, headers=headers) as response:
            assert await refusal(response) == (401, "token-needed")
            assert response.headers["WWW-Authenticate"] == "Bearer"
    answer = await door.post("/addpeer", body, 202, headers=door.token)
    assert answer == {"status": "dialling", "peer": "127.0.0.1:9"}


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
async def test_a_proxy_ends_the_open_door_of_development(door: Door, header: str) -> None:
    async with door.session.post("/transfer", json=TRANSFER, headers={header: "x"}) as response:
        assert await refusal(response) == (401, "token-needed")
    await door.post("/transfer", TRANSFER, 202, headers={header: "x", **door.token})


@pytest.mark.parametrize("genesis_changes", [{"dev": False}])
async def test_keys_are_not_spent_without_the_token_off_development(door: Door) -> None:
    for path in ("/transfer", "/faucet"):
        async with door.session.post(path, json=TRANSFER) as response:
            assert await refusal(response) == (401, "token-needed")
    await door.post("/transfer", TRANSFER, 202, headers=door.token)


@pytest.mark.parametrize("api_settings", [{"host": "0.0.0.0"}])
async def test_keys_are_not_spent_without_the_token_off_loopback(door: Door) -> None:
    await door.get("/status")
    async with door.session.post("/transfer", json=TRANSFER) as response:
        assert await refusal(response) == (401, "token-needed")


async def test_configured_token(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-that-somebody-wrote\n")
    assert read_token(path) == "a-token-that-somebody-wrote"
    for text in ("short", "with space in the middle", "x" * 2_000, ""):
        path.write_text(text)
        with pytest.raises(TokenFileInvalid):
            read_token(path)


async def test_unknown_routes_and_methods_are_problems(door: Door) -> None:
    async with door.session.get("/nothing/here") as response:
        assert await refusal(response) == (404, "route-unknown")
    async with door.session.delete("/transfer") as response:
        assert await refusal(response) == (405, "method-not-allowed")
        assert response.headers["Allow"] == "POST"
    async with door.session.head("/status") as response:
        assert response.status == 200


async def test_a_fault_of_the_node_is_not_explained(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret path /home/someone")

    monkeypatch.setattr(door.node.vitals, "status", broken)
    async with door.session.get("/status") as response:
        assert await refusal(response) == (500, "internal-error")
        assert "secret" not in await response.text()


async def test_a_node_that_has_ended_says_so(door: Door) -> None:
    """Its API outlives it for a moment, with the database closed."""
    door.node.stop()
    await asyncio.wait_for(asyncio.shield(door.running), 10)
    for path in ("/status", "/health/live", "/balance/alice"):
        async with door.session.get(path) as response:
            assert await refusal(response) == (503, "node-stopping")
            assert response.headers["Retry-After"]


async def test_what_finds_the_files_closed_meanwhile_says_so(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object, **__: object) -> None:
        door.node.ended = True
        raise RuntimeError("Database is closed")

    monkeypatch.setattr(door.node.payments, "transfer", late)
    body = {"from": "alice", "to": "bob", "amount": "1"}
    assert (await door.post("/transfer", body, 503))["code"] == "node-stopping"


async def test_a_taken_port_is_said_at_start(door: Door) -> None:
    door.node.config = type(door.node.config)(
        node=door.node.config.node, api=ApiSection(api_port=door.server.port)
    )
    await door.server.stop()
    blocker = await asyncio.start_server(lambda *_: None, "127.0.0.1", door.server.port)
    try:
        second = ApiServer(door.node)
        with pytest.raises(ApiPortBusy):
            await second.start()
        await second.stop()
    finally:
        blocker.close()
        await blocker.wait_closed()


NASTY = [
    "%00",
    "%ff",
    "..%2f..",
    "%F0%9F%98%80",
    "-1",
    "1e9",
    "²",
    "0x10",
    "null",
    "{who}",
    "%7B%7D",
    "1%20",
    "'",
    "chd1",
    "CHD1QQQ",
    "9" * 15,
    "9" * 30,
    "a" * 2_000,
    "0" * 64,
    "f" * 65,
]


@pytest.mark.parametrize("text", NASTY)
async def test_strange_paths_and_queries_are_nobodys_500(door: Door, text: str) -> None:
    for path in ("/balance", "/utxos", "/transactions", "/transaction", "/block", "/api/v1/blocks"):
        for query in ("", f"?cursor={text}", f"?limit={text}"):
            url = yarl.URL(f"{path}/{text}{query}", encoded=True)
            async with door.session.get(url) as response:
                assert response.status < 500, (path, query, await response.text())
    for query in ("cursor", "limit", "start", "end"):
        for path in ("/blockchain", "/blocks/range", "/blockchain/headers", "/pending"):
            url = yarl.URL(f"{path}?{query}={text}", encoded=True)
            async with door.session.get(url) as response:
                assert response.status < 500, (path, query, await response.text())


VALUES: list[Any] = [
    None, True, -1, 0, 2**63, 10**400, 1.5, "", "\u0000", "é" * 300, [], {}, [[]], {"raw": None}
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
async def test_strange_fields_are_nobodys_500(door: Door, value: Any) -> None:
    doors = {
        "/transfer": ["from", "to", "amount", "from_id", "to_id", "asset", "memo"],
        "/faucet": ["to", "amount"],
        "/add_transaction": ["raw", "inputs", "witnesses"],
        "/addpeer": ["peer", "host", "port"],
    }
    for path, fields in doors.items():
        for body in (value, *({**TRANSFER, field: value} for field in fields)):
            if path == "/faucet" and isinstance(body, dict):
                body = {key: body[key] for key in body if key in ("to", "amount")}
            async with door.session.post(path, json=body, headers=door.token) as response:
                assert response.status < 500, (path, body, await response.text())
