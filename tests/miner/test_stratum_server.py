"""Miners over real sockets: blocks come out, news reach all, and who misbehaves is cut alone."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import uvloop
from stratum_kit import Blocks, StratumClient

from chaind.miner import stratum_server as server_module
from chaind.miner.stratum import LINE_BYTES_MAX
from chaind.miner.stratum_server import StratumBusy, StratumServer


class Desk:
    """A server over `blocks` on a free port, and clients that leave at the end."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.now_s = 0.0
        self.server = StratumServer(self.blocks, monotonic_s=lambda: self.now_s, per_host_max=20)
        self.port = 0
        self.clients: list[StratumClient] = []

    async def join(self, name: str = "chd1alice.rig") -> StratumClient:
        client = StratumClient(name)
        self.clients.append(client)
        await client.join(self.port)
        await client.until(lambda: client.job)
        return client


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    desk.port = await desk.server.start("127.0.0.1", 0)
    yield desk
    await desk.server.stop()
    for client in desk.clients:
        await client.leave()


async def lines_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_miner_finds_twenty_blocks(desk: Desk) -> None:
    client = await desk.join()
    while len(desk.blocks.found) < 20:
        parent = client.job[1]
        assert await client.ask("mining.submit", *client.search()) is True
        if desk.blocks.changed.is_set():
            desk.blocks.changed.clear()
            desk.server.renew()
            await client.until(lambda parent=parent: client.job[1] != parent)
    [worker] = desk.server.workers.all(desk.now_s)
    assert (worker.name, worker.connections) == ("chd1alice.rig", 1)
    assert worker.accepted >= 20


async def test_every_miner_searches_elsewhere_and_hears_of_a_new_tip(desk: Desk) -> None:
    clients = [await desk.join(f"chd1alice.{number}") for number in range(10)]
    assert len({client.extranonce1 for client in clients}) == 10
    assert desk.server.connected == 10
    jobs = [client.job[0] for client in clients]
    desk.blocks.parent = b"\1" * 32
    desk.server.renew()
    for client, job in zip(clients, jobs, strict=True):
        await client.until(lambda client=client, job=job: client.job[0] != job)
        stale = await client.ask("mining.submit", client.name, job, "00000000", "0", "0")
        assert stale[0] == 21
        wrong = await client.ask("mining.submit", client.name, client.job[0], "", "0", "0")
        assert wrong[0] == 20
    told = {one.name: (one.stale, one.rejected) for one in desk.server.workers.all(desk.now_s)}
    assert told == {f"chd1alice.{number}": (1, 1) for number in range(10)}


async def test_work_comes_when_there_is_some(desk: Desk) -> None:
    desk.blocks.closed = True
    client = StratumClient("chd1bob")
    desk.clients.append(client)
    await client.join(desk.port)
    desk.server.renew()
    assert client.job == []
    desk.blocks.closed = False
    desk.server.renew()
    await client.until(lambda: client.job)


async def test_a_difficulty_that_changes_is_told_with_new_work(desk: Desk) -> None:
    desk.blocks.bits = 0x1D00FFFF
    client = await desk.join()
    job = client.job[0]
    assert await client.ask("mining.suggest_difficulty", 0.5) is True
    await client.until(lambda: client.job[0] != job)
    assert client.difficulty == 0.5


FLOODS = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "a line without an end": b"x" * (LINE_BYTES_MAX + 1),
    "a deep nest": b"[" * 10_000 + b"\n",
}


@pytest.mark.parametrize("name", FLOODS)
async def test_who_breaks_the_protocol_is_cut_alone(desk: Desk, name: str) -> None:
    client = await desk.join()
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(FLOODS[name])
    assert await lines_of(reader) == b""
    writer.close()
    assert await client.ask("mining.submit", *client.search()) is True


async def test_a_flood_of_requests_keeps_nobody_waiting(desk: Desk) -> None:
    client = await desk.join()
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n' * 2_000)
    assert await client.ask("mining.submit", *client.search()) is True
    writer.write_eof()
    told = await lines_of(reader)
    assert told.count(b"\n") <= 2_000
    writer.close()


async def test_who_floods_is_served_slowly_and_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that are answered are work of the node's loop, also those that are in order."""
    monkeypatch.setattr(server_module, "LINES_BURST", 50)
    monkeypatch.setattr(server_module, "LINES_PER_S", 1_000.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    begun_s = asyncio.get_running_loop().time()
    writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n' * 200)
    async with asyncio.timeout(20):
        for _ in range(200):
            assert b"mining.notify" in await reader.readline()
    assert asyncio.get_running_loop().time() - begun_s >= (200 - 50 - 1) / 1_000
    writer.close()


async def test_a_miner_that_does_not_read_is_cut(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "UNSENT_BYTES_MAX", 1 << 12)
    desk.clients.append(client := StratumClient("chd1deaf"))
    await client.join(desk.port)
    assert client.reading is not None
    client.reading.cancel()
    async with asyncio.timeout(20):
        while desk.server.connected:
            desk.server.renew()
            await asyncio.sleep(0)
    client.reading = None


async def test_who_does_not_join_is_cut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "JOIN_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    assert await lines_of(reader) == b""
    writer.close()
    assert desk.server.connected == 0


def test_who_is_gone_again_before_it_is_accepted_costs_nothing() -> None:
    """The node's event loop then knows no address of it, and keeps what a callback left open."""

    async def visits() -> int:
        desk, complaints = Desk(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
        port = await desk.server.start("127.0.0.1", 0)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as visitor:
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client = StratumClient("chd1alice")
        await client.join(port)
        await client.leave()
        await desk.server.stop()
        return len(complaints)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(visits()) == 0


async def test_places_are_bounded_by_host(desk: Desk) -> None:
    clients = [await desk.join() for _ in range(20)]
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    assert await lines_of(reader) == b""
    writer.close()
    desk.clients.remove(clients[0])
    await clients[0].leave()
    async with asyncio.timeout(20):
        while desk.server.connected == 20:
            await asyncio.to_thread(lambda: None)  # the loop hears of the end
    await desk.join()


async def test_a_port_that_is_taken(desk: Desk) -> None:
    other = StratumServer(desk.blocks, monotonic_s=lambda: 0.0)
    with pytest.raises(StratumBusy) as caught:
        await other.start("127.0.0.1", desk.port)
    assert caught.value.values["port"] == desk.port
