"""What the HTTP door itself costs per transfer: the real server before a node that takes anything.

    python benchmarks/door.py

The server is a process of its own; its intake answers at once, so that what is left is HTTP,
guards, parsing, framing and the answer. Its CPU is read from /proc.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import click
import msgspec
import uvloop
from common import Table, cpu_s, output_options
from prometheus_client import CollectorRegistry

from chaind.api.answers import JSON_MEDIA, MSGPACK_MEDIA, NDJSON_MEDIA
from chaind.api.app import ApiServer
from chaind.cli.chains import development_genesis
from chaind.cli.load_orders import Orders, Plan
from chaind.node.clock import SystemClock
from chaind.node.config import ApiSection, Config, NodeSection
from chaind.node.events import Events
from chaind.node.intake import Submission
from chaind.primitives.genesis import Genesis, Validator
from chaind.primitives.keys import SecretKey

CONNECTIONS = 8
BATCH = 500
SERVE = "--serve"
PATH = "/api/v1/transactions"


class Case(NamedTuple):
    """One way to send so many `transfers` a request."""

    name: str
    media: str
    body: bytes
    transfers: int


class Taker:
    """An intake that takes anything."""

    def __init__(self) -> None:
        self._taken = Submission(bytes(32), None, known=False)

    async def submit(self, raws: Sequence[bytes], *, local: bool) -> list[Submission]:
        """One acceptance each."""
        assert local
        return [self._taken] * len(raws)


def make_genesis() -> Genesis:
    """Some development chain."""
    validator = Validator(public_key=SecretKey(b"\x07" * 32).public.hex(), name="v")
    return development_genesis([validator], time_ms=1_700_000_000_000)


async def serve(home: str) -> None:
    """The server's life: print the port, serve until the input ends."""
    section = ApiSection(api_port=0, requests_per_second=10_000_000, requests_burst=10_000_000)
    node: Any = SimpleNamespace(  # what the routes of this benchmark use of a node
        genesis=make_genesis(),
        ended=False,
        config=Config(node=NodeSection(home=home), api=section),
        clock=SystemClock(),
        metrics=CollectorRegistry(),
        events=Events(),
        intake=Taker(),
    )
    server = ApiServer(node)
    await server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


def cases(batch: int) -> list[Case]:
    """The five forms of the door."""
    genesis_json = make_genesis().to_json()
    plan = Plan(genesis_json, 10, batch, 0.0, batch, msgpack=True, single=False, seed=0)
    stream = Orders(plan).batch(0).body
    array = Orders(plan._replace(msgpack=False)).batch(0).body
    items = msgspec.json.decode(array)
    lines = b"\n".join(map(msgspec.json.encode, items))
    single = plan._replace(total=1, batch_size=1)
    return [
        Case("single, JSON", JSON_MEDIA, msgspec.json.encode(items[0]), 1),
        Case("single, MessagePack", MSGPACK_MEDIA, Orders(single).batch(0).body, 1),
        Case(f"batch of {batch}, JSON array", JSON_MEDIA, array, batch),
        Case(f"batch of {batch}, NDJSON", NDJSON_MEDIA, lines, batch),
        Case(f"batch of {batch}, MessagePack", MSGPACK_MEDIA, stream, batch),
    ]


async def post_for(port: int, case: Case, seconds: float) -> int:
    """Post without pause; the number of transfers that were accepted."""
    url = f"http://127.0.0.1:{port}{PATH}"
    end_s = time.monotonic() + seconds
    accepted = 0

    async def lane(session: aiohttp.ClientSession) -> None:
        nonlocal accepted
        while time.monotonic() < end_s:
            headers = {"Content-Type": case.media}
            async with session.post(url, data=case.body, headers=headers) as answer:
                await answer.read()
                if answer.status != 202:
                    raise RuntimeError(f"{case.name}: status {answer.status}")
            accepted += case.transfers

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(lane(session))
    return accepted


def measure(port: int, pid: int, case: Case, seconds: float) -> tuple[float, float]:
    """(µs of server CPU per transfer, transfers per second)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(post_for(port, case, seconds / 10))
        before_s, begun_s = cpu_s(str(pid)), time.monotonic()
        count = runner.run(post_for(port, case, seconds))
        return (cpu_s(str(pid)) - before_s) * 1e6 / count, count / (time.monotonic() - begun_s)


@click.command()
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Of each form.")
@click.option("--batch", type=int, default=BATCH, show_default=True)
@output_options
def main(seconds: float, batch: int, as_json: bool, record: bool) -> None:
    """CPU of the HTTP door per transfer."""
    table = Table("door", "The HTTP door: server CPU per transfer")
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as home:
        process = subprocess.Popen(
            [sys.executable, __file__, SERVE, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            for case in cases(batch):
                cost_us, rate = measure(port, process.pid, case, seconds)
                table.add(case.name, cost_us, "µs CPU/transfer")
                table.add(f"{case.name}: rate, client on the same cores", rate, "transfers/s")
        finally:
            process.communicate()
    table.note(f"{CONNECTIONS} connections kept alive; the intake behind the door does nothing.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(serve(sys.argv[2]))
    else:
        main()
