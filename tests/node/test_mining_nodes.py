"""Nodes of a chain of miners that mine themselves, and that serve miners over real sockets.

A miner written from the protocol's text mines twenty blocks and a thousand shares.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import WAIT_S, Cluster, address
from ports import free_ports
from stratum_kit import StratumClient
from work_kit import EASY, RULES, SUBSIDY, WorkCluster

from chaind.miner.crew import Crew
from chaind.miner.stratum import LINE_BYTES_MAX
from chaind.miner.vardiff import DIFFICULTY_MIN
from chaind.node.mining import Mining, NotMinable, PayeeUnknown
from chaind.node.mining_view import Mined, mined_by
from chaind.primitives.genesis import ProofOfWork

BLOCKS = 20
SHARES = 1_000
SHARE_BITS = 0x1E7FFF00  # 2^17 hashes make a block, and 2^12 the easiest share


class Mine(WorkCluster):
    """Nodes that serve miners on ports of their own."""

    def __init__(self, path: Path, *, bits: int = EASY, nodes: int = 1, **miner: Any) -> None:
        super().__init__(path, nodes=nodes, final_depth=2)
        rules = msgspec.structs.replace(RULES, limit_bits=bits)
        work = ProofOfWork(rules=rules, start_bits=bits, final_depth=2)
        self.genesis = msgspec.structs.replace(self.genesis, work=work)
        self.ports = free_ports(nodes)
        for seat, port in zip(self.seats, self.ports, strict=True):
            seat.sections["miner"] = {"stratum_port": port, "shares_per_minute": 60_000, **miner}

    def mining(self, at: int = 0) -> Mining:
        mining = self[at].mining
        assert mining is not None
        return mining

    @asynccontextmanager
    async def miner(self, name: str = "carol.rig", at: int = 0) -> AsyncIterator[StratumClient]:
        client = StratumClient(name)
        await client.join(self.ports[at])
        try:
            yield client
        finally:
            await client.leave()


async def test_a_miner_finds_blocks_through_a_node(tmp_path: Path) -> None:
    async with Mine(tmp_path) as mine, mine.miner() as client:
        await client.until(lambda: client.job)
        told: Counter[str] = Counter()
        for height in range(1, BLOCKS + 1):
            job, parent = client.job[:2]
            told[await client.send(client.search())] += 1
            await client.until(lambda parent=parent: client.job[1] != parent)
            assert mine[0].chain.head.height == height
        assert told == {"accepted": BLOCKS}
        stale = [client.name, job, "00000000", "0", "0"]
        assert await client.send(stale) == "21 job not found: the block below has changed"
        coins = mine[0].queries.coins(address("carol"), 100)
        assert [coin.amount for coin in coins] == [SUBSIDY] * BLOCKS
        [worker] = mine.mining().stratum.workers.all(0.0)  # type: ignore[union-attr]
        assert (worker.name, worker.blocks, worker.stale) == ("carol.rig", BLOCKS, 1)


async def test_a_miner_sends_shares_through_a_node(tmp_path: Path) -> None:
    """Nothing is refused, whatever work comes in between; what is stale came too late."""
    async with Mine(tmp_path, bits=SHARE_BITS) as mine, mine.miner() as client:
        assert await client.ask("mining.suggest_difficulty", DIFFICULTY_MIN) is True
        await client.until(lambda: client.job and client.difficulty == DIFFICULTY_MIN)
        told: Counter[str] = Counter()
        for number in range(SHARES):
            share = await asyncio.to_thread(client.search, number)
            told[await client.send(share)] += 1
        stale = told.pop("21 job not found: the block below has changed", 0)
        assert told == {"accepted": SHARES - stale}
        assert stale <= mine[0].chain.head.height


async def test_what_waits_is_in_the_next_work_and_the_last_still_counts(tmp_path: Path) -> None:
    async with Mine(tmp_path) as mine, mine.miner() as client:
        await client.until(lambda: client.job)
        before = client.job[0]
        payment = await mine.pay("alice", "bob", 5)
        await client.until(lambda: client.job[0] != before)
        assert client.job[-1] is False, "only the fees are others"
        share = client.search()
        known = await client.send([share[0], before, "", share[3], "0"])
        assert known == "20 extranonce2 is not 8 hex digits", "not stale"
        assert await client.send(share) == "accepted"
        await mine.until(lambda: mine[0].queries.transaction(payment.txid).status == "included")


async def test_nothing_is_mined_without_peers_where_there_should_be_some(tmp_path: Path) -> None:
    async with Mine(tmp_path, nodes=2) as mine:
        await mine.stop(1)
        await mine.until(lambda: not mine[0].network.peers())
        await mine.until(lambda: mine.mining().work.plan is None)
        async with mine.miner() as client:
            assert client.job == []
            await mine.start(1)
            await client.until(lambda: client.job)
            assert await client.send(client.search()) == "accepted"
            await mine.heads()
            assert mine[1].chain.head.height == 1


HOSTILE = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "a line without an end": b"x" * (LINE_BYTES_MAX + 1),
    "nobody": b'{"id":1,"method":"mining.authorize","params":["nobody","x"]}\n' * 300,
    "a name of control characters": b'{"id":1,"method":"mining.authorize",'
    b'"params":["carol.\\u001b[2J","x"]}\n' * 300,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_who_misbehaves_is_cut_and_others_mine_on(tmp_path: Path, name: str) -> None:
    async with Mine(tmp_path, connections_per_host_max=2) as mine, mine.miner() as client:
        await client.until(lambda: client.job)
        reader, writer = await asyncio.open_connection("127.0.0.1", mine.ports[0])
        writer.write(HOSTILE[name])
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionResetError):
                await reader.read()  # until it is cut
        writer.close()
        assert await client.send(client.search()) == "accepted"
        await mine.until(lambda: mine[0].chain.head.height == 1)


async def test_attribution_follows_the_chain_through_a_reorganisation(tmp_path: Path) -> None:
    async with Mine(tmp_path, nodes=2) as mine:
        mine.cut({0}, {1})
        await mine.mine(at=0, count=1, to="alice")
        await mine.mine(at=1, count=2, to="bob")
        node = mine[0]
        assert mined_by(node.chain, node.store, 1, 9) == [Mined(address("alice"), 1, SUBSIDY, 0, 0)]
        mine.cut()
        await mine.mine(at=1, count=1, to="carol")
        await mine.until(lambda: node.chain.head.height == 3)
        await mine.height(1)
        assert mined_by(node.chain, node.store, 1, 9) == [
            Mined(address("bob"), 2, 2 * SUBSIDY, 1, SUBSIDY),
            Mined(address("carol"), 1, SUBSIDY, 0, 0),
        ]
        assert mined_by(node.chain, node.store, 2, 3) == [Mined(address("bob"), 1, SUBSIDY, 0, 0)]


# The node's own miner.


async def test_a_node_mines_by_itself_and_leaves_no_process(tmp_path: Path) -> None:
    miner = {"enabled": True, "address": "carol", "pace_percent": 1_000, "threads": 2}
    async with Mine(tmp_path, bits=0x1F7FFFFF, **miner) as mine:
        await mine.until(lambda: mine[0].chain.head.height >= 4)
        own = mine.mining().own
        assert own is not None
        first, second = own.pids()
        assert os.getpriority(os.PRIO_PROCESS, first) == 19
        assert sum(own.rates()) > 0
        os.kill(second, signal.SIGKILL)
        await mine.until(lambda: own.pids() and second not in own.pids())
        height = mine[0].chain.head.height
        await mine.until(lambda: mine[0].chain.head.height > height)
        [(_, receiver)] = {
            (output.amount, output.address)
            for candidate in mine[0].chain.executed()
            for output in candidate.body.block.coinbase.outputs
        }
        assert receiver == address("carol")
        pids = own.pids()
    for pid in (first, second, *pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_settings_that_do_not_go_with_the_chain(tmp_path: Path) -> None:
    [port] = free_ports(1)
    mine = Mine(tmp_path / "mined", enabled=True, address="who.is.this")
    with pytest.raises(PayeeUnknown):
        await mine.start()
    voted = Cluster(tmp_path / "voted", sections={"miner": {"stratum_port": port}})
    with pytest.raises(NotMinable):
        await voted.start()


async def test_processes_that_cannot_be_started_cost_the_node_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Crew.start
    refusals = iter([OSError("no process can be had"), None])

    def start(**options: Any) -> Crew:
        error = next(refusals)
        if error is not None:
            raise error
        return begun(**options)

    monkeypatch.setattr(Crew, "start", start)
    monkeypatch.setattr("chaind.node.own_miner.PAUSE_S", 0.01)
    async with Mine(tmp_path, enabled=True, address="carol", pace_percent=100) as mine:
        await mine.until(lambda: mine[0].chain.head.height >= 1)
