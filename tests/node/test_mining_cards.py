"""A node whose own miner has a card, which the host's C compiler stands for."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest
from cuda_host import give_cards
from harness import address
from work_kit import RULES, WorkCluster

from chaind.miner.devices import CupyMissing, Device
from chaind.node.clock import SystemClock
from chaind.node.own_miner import Hardware, OwnMiner
from chaind.node.workers import SystemWorkers
from chaind.primitives.genesis import ProofOfWork

BITS = 0x1F7FFFFF  # 512 hashes make a block
MINER = {"enabled": True, "address": "carol", "device": "gpu", "device_indexes": (1,)}


class Mine(WorkCluster):
    """One node that mines with the second of two cards."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, final_depth=2)
        rules = msgspec.structs.replace(RULES, limit_bits=BITS)
        work = ProofOfWork(rules=rules, start_bits=BITS, final_depth=2)
        self.genesis = msgspec.structs.replace(self.genesis, work=work)
        self.seats[0].sections["miner"] = MINER

    @property
    def own(self) -> OwnMiner:
        mining = self[0].mining
        assert mining is not None
        assert mining.own is not None
        return mining.own


def command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def test_a_node_mines_with_a_card_and_starts_anew_when_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_cards(monkeypatch, tmp_path, 2)
    async with Mine(tmp_path) as mine:
        chain = mine[0].chain
        await mine.until(lambda: chain.head.height >= 2)
        [pid] = mine.own.pids()
        assert mine.own.threads == 1
        assert "card:1:100" in command(pid)
        os.kill(pid, signal.SIGKILL)
        await mine.until(lambda: mine.own.pids() not in ((), (pid,)))
        height = chain.head.height
        await mine.until(lambda: chain.head.height > height)
        outputs = [
            output.address
            for candidate in chain.executed()
            for output in candidate.body.block.coinbase.outputs
        ]
        assert set(outputs) == {address("carol")}
        [second] = mine.own.pids()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def own_miner(device: Device, workers: SystemWorkers, *, paced: bool = False) -> OwnMiner:
    return OwnMiner(
        work=None,  # type: ignore[arg-type] - nobody comes to ask
        payee=b"",
        hardware=Hardware(device=device, indexes=(1,), intensity=70, threads=3),
        rate=lambda _: 0.0,
        paced=paced,
        clock=SystemClock(),
        workers=workers,
    )


async def test_a_card_that_was_asked_for_and_cannot_be_had_is_the_nodes_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chaind.miner.devices.find_spec", lambda _: None)
    with pytest.raises(CupyMissing):
        await asyncio.wait_for(own_miner("gpu", SystemWorkers(1)).run(), 10)


@pytest.mark.parametrize(
    ("device", "paced", "asked"),
    [("auto", False, "auto"), ("auto", True, "cpu"), ("gpu", True, "gpu"), ("cpu", False, "cpu")],
)
async def test_a_pace_needs_no_card_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, device: Device, paced: bool, asked: Device
) -> None:
    told: list[dict[str, object]] = []

    def refuse(**options: object) -> None:
        told.append(options)
        raise CupyMissing

    monkeypatch.setattr("chaind.node.own_miner.start_crew", refuse)
    with pytest.raises(CupyMissing):
        await own_miner(device, SystemWorkers(1), paced=paced).run()
    del told[0]["tell"]
    assert told == [
        {
            "device": asked,
            "indexes": (1,),
            "intensity": 70,
            "threads": 3,
            "niceness": 19,
            "plain": paced,
        }
    ]
