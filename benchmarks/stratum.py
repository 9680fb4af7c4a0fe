"""What serving miners costs a node, and how steady one core's shares are.

    python benchmarks/stratum.py --record                 500 idle and 50 active connections
    python benchmarks/stratum.py --core --record          one core of this machine, ten minutes

The first makes a chain with a block every two seconds, so that every miner is told of a new tip as
often. The second mines on a chain whose blocks are out of reach, so that vardiff alone decides.
"""

import asyncio
import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import Any

import click
from common import RealNode, Table, free_place, output_options

from chaind.cli.chains import create_mined_chain
from chaind.cli.layout import HOST
from chaind.cli.processes import CHAIND
from chaind.cli.status import fetch
from chaind.node.home import Home

SHARES_PER_MINUTE = 15
FLOOR = 2.0**-20  # the lowest difficulty: some 4,096 hashes, which hashlib does in milliseconds
OUT_OF_REACH = 0x1C00FFFF  # 2^40 hashes
ADDRESS = "bob"
LINE_BYTES_MAX = 1 << 17
JOIN_S = 0.002  # between two connections
SETTLE_S = 5.0  # before anything is measured
WARM_UP_S = 120.0  # in which vardiff finds the rate

MANY = {"CHAIND_MINER_CONNECTIONS_PER_HOST_MAX": "10000", "CHAIND_CUSTODY_ENABLED": "true"}
PACED = {
    "CHAIND_MINER_ENABLED": "true",
    "CHAIND_MINER_ADDRESS": "alice",
    "CHAIND_MINER_PACE_PERCENT": "100",
}


@contextmanager
def serving(settings: dict[str, str], start_bits: int | None = None) -> Iterator[RealNode]:
    """A node of a new chain of miners, which serves them."""
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as directory:
        home = Home(Path(directory) / "mined")
        create_mined_chain([home])
        if start_bits is not None:
            document = json.loads(home.genesis.read_bytes())
            document["work"]["start_bits"] = start_bits
            home.genesis.write_text(json.dumps(document))
        place = free_place(home.path, mined=True)
        node = RealNode(place, [place], settings)
        try:
            node.start()
            node.await_ready()
            yield node
        finally:
            node.stop()


class Miner:
    """One connection. An active one sends shares at random times, as many as are due."""

    def __init__(self, name: str, tips: dict[str, list[float]]) -> None:
        self.name = name
        self.tips = tips  # when each tip was told, by its hash
        self.job: list[Any] = []
        self.difficulty = 1.0
        self.extranonce1 = ""
        self.answers = {"accepted": 0, "stale": 0, "rejected": 0}
        self.numbers = count(3)

    async def join(self, port: int) -> None:
        """Subscribe, authorise, and ask for the lowest difficulty."""
        self.reader, self.writer = await asyncio.open_connection(HOST, port, limit=LINE_BYTES_MAX)
        self._send(1, "mining.subscribe", [])
        self.extranonce1 = json.loads(await self.reader.readline())["result"][1]
        self._send(2, "mining.authorize", [self.name, "x"])
        self._send(2, "mining.suggest_difficulty", [FLOOR])

    def _send(self, number: int, method: str, params: list[Any]) -> None:
        line = {"id": number, "method": method, "params": params}
        self.writer.write(json.dumps(line).encode() + b"\n")

    async def read(self) -> None:
        """Take up work, and count what came of shares, until the connection ends."""
        while line := await self.reader.readline():
            told = json.loads(line)
            match told.get("method"), told.get("params"):
                case "mining.notify", job:
                    self.tips.setdefault(job[1], []).append(time.monotonic())
                    self.job = job
                case "mining.set_difficulty", [difficulty]:
                    self.difficulty = difficulty
                case _ if told["id"] > 2:
                    code = 0 if told["error"] is None else told["error"][0]
                    self.answers[{0: "accepted", 21: "stale"}.get(code, "rejected")] += 1

    async def mine(self, dice: Random) -> None:
        """Send shares until cancelled."""
        for number in count():
            await asyncio.sleep(dice.expovariate(SHARES_PER_MINUTE / 60))
            if self.job:
                self._send(next(self.numbers), "mining.submit", self._search(number))

    def _search(self, number: int) -> list[Any]:
        job, parent, head, tail, branch, version, bits, now, _ = self.job
        extranonce2 = number.to_bytes(4, "big").hex()
        root = _twice(bytes.fromhex(head + self.extranonce1 + extranonce2 + tail))
        for sibling in branch:
            root = _twice(root + bytes.fromhex(sibling))
        words = b"".join(bytes.fromhex(parent[at : at + 8])[::-1] for at in range(0, 64, 8))
        ends = [bytes.fromhex(text)[::-1] for text in (version, now, bits)]
        start = ends[0] + words + root + ends[1] + ends[2]
        target = (0xFFFF << 208) / self.difficulty
        for nonce in count():
            if int.from_bytes(_twice(start + struct.pack("<I", nonce)), "little") <= target:
                return [self.name, job, extranonce2, now, f"{nonce:08x}"]
        raise AssertionError


def _twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


async def crowd(node: RealNode, idle: int, active: int, seconds: float, table: Table) -> None:
    """Connect so many miners, and see what they cost while time passes."""
    tips: dict[str, list[float]] = {}
    miners = [Miner(f"{ADDRESS}.{index}", tips) for index in range(idle + active)]
    tasks = []
    for index, miner in enumerate(miners):
        await miner.join(node.place.stratum_port)
        tasks.append(asyncio.create_task(miner.read()))
        if index < active:
            tasks.append(asyncio.create_task(miner.mine(Random(index))))
        await asyncio.sleep(JOIN_S)
    await asyncio.sleep(SETTLE_S)
    tips.clear()
    before, before_height = node.cpu(), node.status("head_height")
    await asyncio.sleep(seconds)
    use, blocks = node.cpu().since(before), node.status("head_height") - before_height
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    for miner in miners:
        miner.writer.close()
    everybody = len(miners)
    heard = [times for times in tips.values() if len(times) >= everybody]
    spreads = sorted(times[everybody - 1] - times[0] for times in heard)
    percent = 100 * (use.loop_s + use.threads_s) / seconds
    table.add(f"{idle} idle and {active} active connections", percent, "% of a core", "≤ 50")
    table.add("blocks in that time", f"{blocks}", "")
    if spreads:
        told = "a new tip, from the first miner told to the last"
        table.add(f"{told}, median", 1_000 * spreads[len(spreads) // 2], "ms")
        table.add(f"{told}, longest", 1_000 * spreads[-1], "ms", "≤ 50")
    for what in ("accepted", "stale", "rejected"):
        table.add(f"shares {what}", f"{sum(miner.answers[what] for miner in miners)}", "")
    table.add("resident", node.resident_mib(), "MiB")


def core(node: RealNode, minutes: int, table: Table) -> None:
    """Mine with one core, and count its shares minute by minute."""
    url = f"stratum+tcp://{HOST}:{node.place.stratum_port}"
    words = ["mine", "--url", url, "--address", f"{ADDRESS}.core", "--threads", "1"]
    miner = subprocess.Popen(
        [*CHAIND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(WARM_UP_S)
        counts = [accepted(node)]
        for _ in range(minutes):
            time.sleep(60)
            counts.append(accepted(node))
        [worker] = fetch(node.url, "/api/v1/mining/workers")["workers"]
    finally:
        miner.terminate()
        miner.wait()
    each = [after - before for before, after in pairwise(counts)]
    table.add("shares a minute, mean", sum(each) / minutes, "", "10 to 20")
    table.add("in one minute, least", f"{min(each)}", "")
    table.add("in one minute, most", f"{max(each)}", "")
    table.add("rate that the shares tell", worker["hashes_per_second"] / 1e6, "MH/s")
    by_minute = ", ".join(map(str, each))
    table.note(f"{minutes} minutes after {WARM_UP_S:.0f} s; by the minute: {by_minute}")


def accepted(node: RealNode) -> int:
    """Shares that were taken so far."""
    shares: Any = fetch(node.url, "/api/v1/mining")["stratum"]
    return int(shares["accepted"])


@click.command()
@click.option("--core", "one_core", is_flag=True, help="Measure one core's shares instead.")
@click.option("--minutes", type=int, default=10, show_default=True, help="With --core.")
@click.option("--idle", type=int, default=500, show_default=True)
@click.option("--active", type=int, default=50, show_default=True)
@click.option("--seconds", type=float, default=60.0, show_default=True)
@output_options
def main(
    one_core: bool,
    minutes: int,
    idle: int,
    active: int,
    seconds: float,
    as_json: bool,
    record: bool,
) -> None:
    """Miners at a node's Stratum port."""
    if one_core:
        table = Table("vardiff", "Shares of one core")
        with serving(MANY, OUT_OF_REACH) as node:
            core(node, minutes, table)
    else:
        table = Table("stratum", "Miners at the door")
        with serving({**MANY, **PACED}) as node:
            asyncio.run(crowd(node, idle, active, seconds, table))
        table.note(
            f"over {seconds:.0f} s; {SHARES_PER_MINUTE} shares a minute of each active miner"
        )
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
