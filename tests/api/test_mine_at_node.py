"""`chaind mine` at a node's getblocktemplate: a real crew, a real node, and what comes between."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from api_kit import BOB, Door, free_port
from gbt_kit import basic
from test_mining import on_mined_chain

from chaind.api.app import ApiServer
from chaind.cli.mine_pool import NotHandedIn, refuse_ending
from chaind.miner.crew import Crew
from chaind.miner.gbt_client import NodeRefusal
from chaind.miner.gbt_mining import GbtMining
from chaind.miner.mining import Endpoint, LiveLine, Mining
from chaind.miner.node_rpc import NodeMute, NodeRpc, SecretRefused
from chaind.miner.scheme import SchemeMismatch
from chaind.miner.stratum_client import PoolClient
from chaind.miner.worker import Ready

PATIENCE_S = 30.0
STRATUM_PORT = free_port()


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew.start(threads=1, plain=True) as crew:
        while not any(isinstance(told.answer, Ready) for told in crew.answers(1.0)):
            continue
        yield crew


def mining_at(door: Door, crew: Crew, said: list[str], **changes: Any) -> GbtMining:
    def by_cookie() -> str:
        path = door.home / "rpc.cookie"
        return basic(*path.read_text().strip().split(":")) if path.exists() else ""

    given: dict[str, Any] = {
        "url": door.url,
        "address": door.show(BOB),
        "authorise": by_cookie,
        "tell": said.append,
        "agent": "test/1",
    }
    return GbtMining(crew=crew, **{**given, **changes})


async def height_of(door: Door, height: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while door.node.chain.head.height < height:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


@on_mined_chain
async def test_blocks_are_mined_and_a_node_that_starts_anew_is_found_again(
    door: Door, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.miner.gbt_mining.PAUSE_S", 0.05)
    said: list[str] = []
    mining = mining_at(door, crew, said)
    running = asyncio.create_task(mining.run())
    try:
        await height_of(door, 3)
        port = door.server.port
        await door.server.stop()
        height = door.node.chain.head.height
        config = door.node.config
        api = msgspec.structs.replace(config.api, api_port=port)
        door.node.config = msgspec.structs.replace(config, api=api)
        door.server = ApiServer(door.node)
        await door.server.start()
        await height_of(door, height + 3)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert sum("connected" in line for line in said) >= 2, said
    assert any("again in" in line for line in said)
    assert mining.counts.accepted >= 4, "answers to the last ones may be on their way"
    assert mining.counts.rejected == 0
    assert mining.counts.stale <= 3, "one block is handed in for each tip"
    coinbase = door.node.chain.executed()[-1].body.block.coinbase
    assert [door.node.genesis.addresses.show(out.address or b"") for out in coinbase.outputs] == [
        door.show(BOB)
    ]


@on_mined_chain
async def test_a_block_that_the_node_never_answers_to_is_counted(
    door: Door, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.miner.gbt_mining.PAUSE_S", 0.02)
    said: list[str] = []
    mining = mining_at(door, crew, said)
    call = NodeRpc.call

    async def deaf(rpc: NodeRpc, method: str, *words: Any, **options: Any) -> Any:
        if method == "submitblock":
            raise NodeMute(url=door.url, reason="it is switched off")
        return await call(rpc, method, *words, **options)

    monkeypatch.setattr(NodeRpc, "call", deaf)
    running = asyncio.create_task(mining.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not mining.counts.unsent:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert mining.counts.accepted == 0
    assert "not handed in 1 " in LiveLine(mining).text()
    with pytest.raises(NotHandedIn, match="gave no answer to: 1"):
        refuse_ending(mining, door.url)


@on_mined_chain
async def test_what_a_node_refuses_ends_it(door: Door, crew: Crew) -> None:
    said: list[str] = []
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"address": "chd1nobody"}, NodeRefusal, "refuses the address"),
        ({"authorise": lambda: basic("__cookie__", "wrong")}, SecretRefused, "status 401"),
        ({"authorise": lambda: ""}, SecretRefused, "status 401, this needs a name"),
        ({"url": door.url + "/nowhere"}, NodeRefusal, "status 404"),
    ]
    for changes, error, reason in cases:
        with pytest.raises(error, match=reason):
            await mining_at(door, crew, said, **changes).run()
    assert said == []


def test_a_refused_secret_ends_with_the_status_of_secrets() -> None:
    assert SecretRefused.exit_code == 77
    assert "--cookie-file NODE/rpc.cookie" in SecretRefused.advice


@on_mined_chain
@pytest.mark.parametrize("miner_settings", [{"stratum_port": STRATUM_PORT}])
async def test_a_scheme_that_does_not_fit_the_port_ends_it(door: Door, crew: Crew) -> None:
    said: list[str] = []
    with pytest.raises(SchemeMismatch, match="speaks Stratum, not HTTP"):
        await mining_at(door, crew, said, url=f"http://127.0.0.1:{STRATUM_PORT}").run()
    pool = Mining(
        crew=crew,
        endpoint=Endpoint("127.0.0.1", door.server.port),
        client=lambda: PoolClient("bob.rig", "x", "test/1"),
        tell=said.append,
    )
    with pytest.raises(SchemeMismatch, match="speaks HTTP, not Stratum"):
        await pool.run()
    assert said == []


async def test_a_chain_of_validators_has_no_work(door: Door, crew: Crew) -> None:
    with pytest.raises(NodeRefusal, match="made by its validators"):
        await mining_at(door, crew, []).run()


@on_mined_chain
async def test_the_command_mines(door: Door) -> None:
    cookie = door.home / "rpc.cookie"
    name, _, secret = cookie.read_text().strip().partition(":")
    words = ["-m", "chaind.cli.main", "mine", "--url", door.url, "--address"]
    words += [
        f"{door.show(BOB)}.rig",
        "--device",
        "cpu",
        "--json",
        "--seconds",
        "1",
        "--user",
        name,
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CHAIND_MINE_PASSWORD": secret},
    )
    output, errors = map(bytes.decode, await process.communicate())
    assert process.returncode == 0, errors
    assert json.loads(output)["accepted"] > 0
    assert door.node.chain.head.height > 0
    assert secret not in output + errors
