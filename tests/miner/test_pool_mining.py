"""A real crew mines over a real socket for our server, through broken connections and new tips."""

import asyncio
from collections.abc import Iterator

import pytest
from stratum_kit import Blocks

from chaind.miner.crew import Crew
from chaind.miner.mining import Endpoint, LiveLine, Mining, show_rate
from chaind.miner.stratum_client import PoolClient, PoolRefusal
from chaind.miner.stratum_server import StratumServer
from chaind.miner.worker import Ready

BITS = 0x1F00FFFF  # 65,536 hashes make a block
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew.start(threads=1) as crew:
        ready = False
        while not ready:
            ready = any(isinstance(told.answer, Ready) for told in crew.answers(1.0))
        yield crew


def mining_for(port: int, crew: Crew, said: list[str], name: str = "chd1alice.rig") -> Mining:
    return Mining(
        crew=crew,
        endpoint=Endpoint("127.0.0.1", port),
        client=lambda: PoolClient(name, "x", "test/1"),
        tell=said.append,
    )


async def blocks_of(blocks: Blocks, server: StratumServer, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(blocks.found) < wanted:
            await blocks.changed.wait()
            blocks.changed.clear()
            server.renew()


async def test_blocks_are_mined_and_a_broken_connection_is_made_again(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.miner.mining.PAUSE_S", 0.05)
    blocks, said = Blocks(BITS), list[str]()
    server = StratumServer(blocks, monotonic_s=asyncio.get_running_loop().time)
    port = await server.start("127.0.0.1", 0)
    mining = mining_for(port, crew, said)
    running = asyncio.create_task(mining.run())
    try:
        await blocks_of(blocks, server, 5)
        await server.stop()
        server = StratumServer(blocks, monotonic_s=asyncio.get_running_loop().time)
        await server.start("127.0.0.1", port)
        await blocks_of(blocks, server, 10)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await server.stop()
    assert sum("connected" in line for line in said) == 2
    assert any("again in" in line for line in said)
    assert mining.counts.accepted >= 8, "answers to the last ones may be on their way"
    assert mining.counts.rejected == 0
    assert "accepted" in LiveLine(mining).text()


async def test_an_address_that_the_pool_refuses_ends_it(crew: Crew) -> None:
    blocks, said = Blocks(BITS), list[str]()
    server = StratumServer(blocks, monotonic_s=asyncio.get_running_loop().time)
    port = await server.start("127.0.0.1", 0)
    try:
        with pytest.raises(PoolRefusal, match="WORKER: nobody pays nobody"):
            async with asyncio.timeout(PATIENCE_S):
                await mining_for(port, crew, said, "nobody").run()
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("rate", "text"), [(12.0, "12.00 H/s"), (3.25e7, "32.50 MH/s"), (5e12, "5000.00 GH/s")]
)
def test_rates_have_units(rate: float, text: str) -> None:
    assert show_rate(rate) == text
