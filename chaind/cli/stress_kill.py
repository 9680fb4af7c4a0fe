"""SIGKILL for one node at a time of a devnet in the background, and its restart.

Law: the next one dies only when all are ready again, so that a quorum always lives. The work of a
run is let through in as many shares as there are kills, one share before each: no kill hits an
idle network, and the work never runs out before the kills do.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import aiohttp
import msgspec

from chaind.cli.layout import Place, places
from chaind.cli.processes import ProcessMark, mark, wait_until
from chaind.cli.supervise import READY_POLL_S, READY_S_MAX, Child, NodeDied, Record, start_nodes
from chaind.primitives.errors import LocalFault

INSTANT_S = 0.3  # a kill comes at random within so long after its share of work was let through
DEATH_S_MAX = 10.0  # for the system to end a process that it was told to kill
ANSWER_S_MAX = 5.0


class NoDevnet(LocalFault):
    """There is no network to kill nodes of."""

    code = "no-devnet"
    text = "no devnet runs whole in the background in {home}: {why}"
    advice = "Start one: `chaind devnet --detach`, with the same --home."
    exit_code = 69  # EX_UNAVAILABLE


class NotBack(LocalFault):
    """A node that was killed and started again does not become ready."""

    code = "not-back"
    text = "not all nodes of {home} were ready {bound_s:.0f} s after {name} was started again"
    advice = "See the log in that node's home."
    exit_code = 1


class Gate:
    """Lets `units` pieces of work through in `steps` shares; all at once where there are none."""

    def __init__(self, units: int, steps: int) -> None:
        self._units, self._steps = units, steps
        self._open = 0 if steps else units
        self._moved = asyncio.Event()

    def advance(self, step: int) -> None:
        """Let the shares up to `step` through."""
        self._open = -(-self._units * step // self._steps)
        self._moved.set()

    async def turn(self, number: int) -> None:
        """Wait until piece `number` may begin."""
        while number >= self._open:
            self._moved.clear()
            await self._moved.wait()


def running_devnet(home: Path) -> list[Place]:
    """The nodes of a devnet in the background, all of which run. Raises `NoDevnet`."""
    record = Record.read(home)
    if not record.nodes:
        raise NoDevnet(home=home, why="none was started there")
    if record.supervisor is not None and record.supervisor.alive():
        raise NoDevnet(home=home, why="it runs in a foreground, which ends with its terminal")
    nodes = places(home, len(record.nodes), record.base_port)
    dead = [node.name for node, each in zip(nodes, record.nodes, strict=True) if not each.alive()]
    if dead:
        raise NoDevnet(home=home, why=f"{', '.join(dead)} is down")
    return nodes


class Killer:
    """See the module's law. `kills` is how often; `done` how often so far."""

    def __init__(
        self, home: Path, kills: int, dice: Random, gate: Gate, session: aiohttp.ClientSession
    ) -> None:
        self._home = home
        self._nodes: Sequence[Place] = running_devnet(home)
        self._kills = kills
        self._dice = dice
        self._gate = gate
        self._session = session
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.done = 0

    async def run(self) -> None:
        """Kill and start again. Raises `NodeDied` or `NotBack`."""
        for number in range(self._kills):
            self._gate.advance(number + 1)
            await asyncio.sleep(self._dice.random() * INSTANT_S)
            index = self._dice.randrange(len(self._nodes))
            await asyncio.to_thread(self._kill, index)
            child = await asyncio.to_thread(self._start, index)
            await self._await_ready(child)
            self.done += 1

    def _kill(self, index: int) -> None:
        victim = Record.read(self._home).nodes[index]
        _end(victim, self._children.get(self._nodes[index].name))

    def _start(self, index: int) -> Child:
        """Start a node again as the devnet did, and note it where `devnet --stop` finds it."""
        node = self._nodes[index]
        children: list[Child] = []
        start_nodes([node], self._nodes, children)
        self._children[node.name] = children[0].process
        record = Record.read(self._home)
        marks = list(record.nodes)
        marks[index] = children[0].mark
        msgspec.structs.replace(record, nodes=tuple(marks)).write(self._home)
        return children[0]

    async def _await_ready(self, child: Child) -> None:
        deadline_s = time.monotonic() + READY_S_MAX
        waiting = list(self._nodes)
        while waiting:
            if how := child.ended():
                raise NodeDied(name=child.node.name, how=how, log=child.log, tail=child.tail())
            if time.monotonic() > deadline_s:
                raise NotBack(home=self._home, bound_s=READY_S_MAX, name=child.node.name)
            if await self._ready(waiting[0]):
                waiting.pop(0)
            else:
                await asyncio.sleep(READY_POLL_S)

    async def _ready(self, node: Place) -> bool:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        try:
            async with self._session.get(f"{node.url}/health/ready", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


def _end(victim: ProcessMark, child: subprocess.Popen[bytes] | None) -> None:
    """SIGKILL, and wait for the end; a child of ours is reaped."""
    victim.send(signal.SIGKILL)
    if child is not None:
        child.wait(DEATH_S_MAX)
    gone = wait_until(lambda: mark(victim.pid) != victim, DEATH_S_MAX)
    assert gone, f"process {victim.pid} outlives SIGKILL"
