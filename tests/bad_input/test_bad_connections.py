"""What is wrong below HTTP's requests: slow clients, too many of them, too much of everything."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import msgpack
import pytest
import pytest_asyncio
from hostile_world import ALICE, World

from chaind.api import bodies, connections, transactions
from chaind.api.bodies import BODY_ROOM, BodyRoom
from chaind.primitives.transaction import KeyWitness

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
MIB = 1 << 20
SOON_S = 5.0  # for the node to hang up on its own
PAUSE_S = 1.5  # of this process's work between two answers, the test's own within it included
HASH = b"\x5a" * 32
JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def unchanged(world: World) -> AsyncIterator[None]:
    """The whole module changes nothing, and holds nothing."""
    before = world.standing()
    yield
    assert world.standing() == before
    assert room(world).held_bytes == 0


def room(world: World) -> BodyRoom:
    """Where bodies are counted."""
    assert world.server._runner is not None
    return world.server._runner.app[BODY_ROOM]


class Socket:
    """A client byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next whole answer: status, headers, body."""
        async with asyncio.timeout(SOON_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["Content-Length"]))
        assert headers["Server"] == "chaind"
        return int(first.split()[1]), headers, body

    async def end(self) -> bytes:
        """All until the node hangs up, politely or not."""
        got = b""
        async with asyncio.timeout(SOON_S):
            with suppress(ConnectionError):
                while part := await self.reader.read(1 << 16):
                    got += part
        return got


@asynccontextmanager
async def socket(world: World, limit: int = 1 << 16) -> AsyncIterator[Socket]:
    """One connection."""
    port = world.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Socket(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest_asyncio.fixture(loop_scope="module")
async def quick(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Patience of a tenth of a second."""
    monkeypatch.setattr(connections, "HEAD_S_MAX", 0.1)
    monkeypatch.setattr(connections, "STALLED_S_MAX", 0.1)
    monkeypatch.setattr(connections, "SWEEP_S", 0.02)
    world.server._connections.stop()
    world.server._connections.sweep()


def problem_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """Status and code of an answer that must be a problem document."""
    status, headers, body = answer
    assert headers["Content-Type"].startswith("application/problem+json")
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    return status, problem["code"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("said", [b"", b"G", HEAD, HEAD + b"X-Slow: y"])
async def test_a_head_that_does_not_come_ends_the_connection(world: World, said: bytes) -> None:
    async with socket(world) as client:
        client.write(said)
        assert await client.end() == b""


@pytest.mark.usefixtures("quick")
async def test_a_head_that_drips_ends_the_connection(world: World) -> None:
    async with socket(world) as client:
        started = time.monotonic()
        client.write(HEAD + b"X: ")
        ended = asyncio.create_task(client.end())
        while not ended.done():
            client.write(b"a")
            await asyncio.wait([ended], timeout=0.02)
        assert await ended == b""
        assert time.monotonic() - started < 2


@pytest.mark.usefixtures("quick")
async def test_who_has_introduced_himself_may_rest(world: World) -> None:
    """Between requests the time of keep-alive holds, and a WebSocket may be silent."""
    async with socket(world) as client, world.session.ws_connect("/ws") as channel:
        client.write(HEAD + b"\r\n")
        assert (await client.answer())[0] == 200
        await asyncio.sleep(0.3)  # three times the patience with strangers
        client.write(HEAD + b"\r\n")
        assert (await client.answer())[0] == 200
        await channel.send_json({"method": "unsubscribe", "channels": []})
        assert (await channel.receive_json())["type"] == "unsubscribed"


@pytest.mark.usefixtures("quick")
async def test_who_does_not_read_his_answers_is_left(world: World) -> None:
    """Pipelined questions with long answers, none of which is read."""
    async with socket(world, limit=1) as client:
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        before = len(world.server._connections)
        client.write(ask * 1_000)
        await world.until(lambda: len(world.server._connections) >= before)
        await world.until(lambda: len(world.server._connections) < before)


async def test_a_body_that_drips_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S_MAX", 0.1)
    monkeypatch.setattr(transactions, "BATCH_S_MAX", 0.1)
    for path, media in (("/transfer", JSON), ("/add_transaction", JSON), ("/faucet", JSON),
                        ("/add_transaction", NDJSON), ("/add_transaction", MSGPACK)):  # fmt: skip
        async with socket(world) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n"
            client.write(head.encode() + b"Content-Length: 5000\r\n\r\n")
            answer = asyncio.create_task(client.answer())
            while not answer.done():
                client.write(b" ")
                await asyncio.wait([answer], timeout=0.02)
            assert problem_of(await answer) == (408, "body-too-slow"), (path, media)


async def test_connections_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", len(world.server._connections) + 3)
    async with socket(world) as one, socket(world), socket(world):
        one.write(HEAD + b"\r\n")
        assert (await one.answer())[0] == 200
        async with socket(world) as fourth:
            answer = await fourth.answer()
            assert problem_of(answer) == (429, "too-many-connections")
            assert int(answer[1]["Retry-After"]) >= 1
            assert await fourth.end() == b""
        one.write(HEAD + b"\r\n")
        assert (await one.answer())[0] == 200
    await world.until(lambda: len(world.server._connections) < connections.CONNECTIONS_MAX)
    async with socket(world) as again:
        again.write(HEAD + b"\r\n")
        assert (await again.answer())[0] == 200


async def test_connections_of_one_client_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = world.server._connections._by_client["127.0.0.1"]
    monkeypatch.setattr(connections, "CLIENT_CONNECTIONS_MAX", taken + 1)
    async with socket(world) as one:
        one.write(HEAD + b"\r\n")
        assert (await one.answer())[0] == 200
        async with socket(world) as second:
            status, _, body = await second.answer()
            assert status == 429
            assert "from this address" in json.loads(body)["detail"]
    await world.until(lambda: world.server._connections._by_client["127.0.0.1"] == taken)


NO_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "chaind": b"chaind12345678" + bytes(50) + b"\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "version 9": b"GET /status HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n",
    "no colon": HEAD + b"nothing\r\n\r\n",
    "a header with a control character": HEAD + b"X: a\x01b\r\n\r\n",
    "a folded header": HEAD + b"X: a\r\n b\r\n\r\n",
    "two lengths": b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "length and chunks": b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /transfer HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: -1\r\n\r\n",
    "a signed length": b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n1",
}


@pytest.mark.parametrize("name", NO_HTTP)
async def test_what_is_no_http_is_a_problem_and_the_end(world: World, name: str) -> None:
    async with socket(world) as client:
        client.write(NO_HTTP[name])
        assert problem_of(await client.answer()) == (400, "http-malformed")
        assert await client.end() == b""


async def test_broken_chunks_are_a_problem(world: World) -> None:
    async with socket(world) as client:
        client.write(
            b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
        )
        status, code = problem_of(await client.answer())
        assert (status, code) in ((400, "body-malformed"), (400, "http-malformed"))
        await client.end()


async def test_a_client_that_goes_in_the_middle_is_forgotten(world: World) -> None:
    before = len(world.server._connections)
    for said in (
        b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
        b'Content-Type: application/json\r\n\r\n{"from"',
        HEAD,
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81",
    ):
        async with socket(world) as client:
            client.write(said)
            await client.writer.drain()
    await world.until(lambda: len(world.server._connections) <= before)
    assert room(world).held_bytes == 0


FRAMES = {
    "a reserved bit": b"\xf1\x80\0\0\0\0",
    "an unknown opcode": b"\x83\x80\0\0\0\0",
    "a long ping": b"\x89\xfe\x00\x80\0\0\0\0" + bytes(128),
    "a cut ping": b"\x09\x80\0\0\0\0",
    "a continuation of nothing": b"\x80\x80\0\0\0\0",
    "no utf-8": b"\x81\x82\0\0\0\0\xff\xfe",
    "a terabyte": b"\x81\xff\x00\x00\x01\x00\x00\x00\x00\x00\0\0\0\0",
    "a wrong close": b"\x88\x81\0\0\0\0\x07",
}


@pytest.mark.parametrize("name", FRAMES)
async def test_broken_websocket_frames_end_the_websocket(world: World, name: str) -> None:
    async with socket(world) as client:
        client.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), SOON_S)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"Server: chaind\r\n" in head
        client.write(FRAMES[name])
        closing = await client.end()
        assert closing == b"" or closing[0] == 0x88


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


LARGE: dict[str, tuple[str, str, bytes, int, str]] = {
    "spaces to pay": ("/transfer", JSON, b" " * (10 * MIB), 413, "body-too-large"),
    "a transaction": ("/add_transaction", JSON, b'{"raw":"%s"}' % (b"00" * (5 * MIB)), 400,
                      "undecodable"),
    "a list of strings": ("/add_transaction", JSON, b"[" + b'"",' * (3 * MIB) + b'""]', 413,
                          "body-too-large"),
    "a list of nothings": ("/add_transaction", JSON, b"[" + b'{"raw":""},' * MIB + b'{"raw":""}]',
                           413, "batch-too-long"),
    "one line": ("/add_transaction", NDJSON, b"a" * (10 * MIB), 400, "body-malformed"),
    "lines of nothing": ("/add_transaction", NDJSON, b"1\n" * (5 * MIB), 200, "batch-unreadable"),
    "line feeds": ("/add_transaction", NDJSON, b"\n" * (10 * MIB), 200, ""),
    "lines beyond": ("/add_transaction", NDJSON, b"\n" * (17 * MIB), 413, "body-too-large"),
    "integers": ("/add_transaction", MSGPACK, b"\x01" * (10 * MIB), 200, "batch-unreadable"),
    "one binary": ("/add_transaction", MSGPACK, b"\xc6\x00\xa0\x00\x00" + bytes(10 * MIB), 400,
                   "body-malformed"),
    "deep arrays": ("/add_transaction", MSGPACK, b"\x91" * (10 * MIB), 400, "body-malformed"),
}  # fmt: skip


def _last(answer: bytes, media: str) -> str:
    """The code of a problem, or of the last result of a batch."""
    if not answer:
        return ""
    if media == MSGPACK and answer[:1] != b"{":
        unpacker = msgpack.Unpacker()
        unpacker.feed(answer)
        found = list(unpacker)[-1]
    else:
        found = json.loads(answer.splitlines()[-1])
    return str(found.get("problem", found)["code"])


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", LARGE)
async def test_ten_megabytes(world: World, name: str, chunked: bool) -> None:
    """Refused early, without holding up anybody else."""
    path, media, body, status, code = LARGE[name]
    data = _pieces(body) if chunked else io.BytesIO(body)
    async with others_are_served(world):
        got, answer = await post(world, path, data, media)
    assert got == status, answer[-300:]
    assert _last(answer, media) == code
    assert len(answer) < MIB
    assert room(world).held_bytes == 0


async def test_a_large_batch_of_what_was_refused_before(world: World) -> None:
    """Nothing of it has to be waited for, and yet the others have their turns."""
    forged = world.witnessed(world.pay(), KeyWitness(ALICE.public, ALICE.sign(HASH))).raw
    body = io.BytesIO(msgpack.packb(forged) * 50_000)
    async with others_are_served(world):
        _, answer = await post(world, "/add_transaction", body, MSGPACK)
    assert _last(answer, MSGPACK) == "bad-signature"


async def post(world: World, path: str, data: object, media: str) -> tuple[int, bytes]:
    """Status and body of the answer to a POST."""
    headers = {"Content-Type": media}
    async with world.session.post(path, data=data, headers=headers) as response:
        return response.status, await response.read()


@asynccontextmanager
async def others_are_served(world: World) -> AsyncIterator[None]:
    """While something goes on, another client's questions are answered without a pause.

    A pause is counted in what this process works in it: the machine may have more to do.
    """
    latest, began = 0.0, time.process_time()

    async def ask() -> None:
        nonlocal latest, began
        while True:
            began = time.process_time()
            async with world.session.get("/health/live") as response:
                assert response.status == 200
            latest = max(latest, time.process_time() - began)

    asking = asyncio.create_task(ask())
    yield
    asking.cancel()
    assert max(latest, time.process_time() - began) < PAUSE_S


async def test_bodies_share_a_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many send, what is held of them together is bounded, and given back."""
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", 3 * (MIB + 2))  # three of four fit, exactly
    release = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"[" + b" " * MIB
        await release.wait()
        yield b"]"

    async def send() -> tuple[int, str]:
        headers = {"Content-Type": JSON}
        async with world.session.post("/add_transaction", data=slow(), headers=headers) as response:
            return response.status, await response.text()

    sent = [asyncio.create_task(send()) for _ in range(4)]
    done, waiting = await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
    release.set()
    answers = [task.result() for task in done]
    assert [status for status, _ in answers] == [429] * len(answers)
    assert json.loads(answers[0][1])["code"] == "bodies-full"
    late = [(await task)[0] for task in waiting]
    assert set(late) == {200}
    await world.until(lambda: room(world).held_bytes == 0)


async def test_a_batch_is_bounded_by_its_items(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "SLICE_ITEMS", 50)
    monkeypatch.setattr(transactions, "ITEMS_MAX", 100)
    poor = world.pay(units=10**15).raw

    def bodies_of(count: int) -> Iterable[tuple[str, bytes]]:
        yield NDJSON, b"\n".join([b'"%s"' % poor.hex().encode()] * count)
        yield MSGPACK, msgpack.packb(poor) * count

    for media, body in bodies_of(250):
        _, answer = await post(world, "/add_transaction", body, media)
        assert _last(answer, media) == "batch-too-long"
    for media, body in bodies_of(100):
        _, answer = await post(world, "/add_transaction", body, media)
        assert _last(answer, media) == "insufficient-funds"


async def test_every_answer_names_the_server_without_a_version(world: World) -> None:
    for method, path in (("GET", "/status"), ("GET", "/nothing"), ("PUT", "/transfer"),
                         ("GET", "/metrics"), ("GET", "/health/live"), ("HEAD", "/")):  # fmt: skip
        async with world.session.request(method, path) as response:
            assert response.headers.getall("Server") == ["chaind"]
