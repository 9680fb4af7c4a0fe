"""The links between nodes of a local network, which a test may cut: both ways, or one way.

Law: a cut link behaves as one whose packets are lost behaves to a program. Bytes under way are not
dropped but held up, for TCP sends them again until they arrive; who connects waits; a close is not
heard of. When the link heals, what was held up arrives, or, with `reset`, the connections that were
cut are gone, as after a time-out or the restart of a firewall.

Each node listens at a loopback address of its own, 127.0.0.2 and so on. Its port at 127.0.0.1 is a
door here, and that is the address that others hear of. Who comes to a door is told by the process
that owns the other end of the connection, so that a learned address leads over the right link too.
"""

import asyncio
import os
import re
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from local_network import LocalNetwork, NodeProcess

T = TypeVar("T")
PIECE_BYTES = 1 << 16
DOOR = "127.0.0.1"
Link = tuple[int, int]  # from node, to node


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work: Callable[[], T]) -> T:
        """What a plain function gives there, between two turns."""

        async def turn() -> T:
            return work()

        return self.spawn(turn()).result()

    def close(self) -> None:
        """End every task, then the thread."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.spawn(end()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Wire:
    """One connection between two nodes, in two halves. `made_by` dialled."""

    def __init__(self, made_by: int, at: int, inner: asyncio.StreamWriter) -> None:
        self.made_by = made_by
        self.at = at
        self.ends = [inner]

    def reset(self) -> None:
        """Both nodes hear that it is gone."""
        for end in self.ends:
            end.transport.abort()


class Links:
    """Doors and cuts of a network. `start` comes before the nodes."""

    def __init__(self, network: LocalNetwork, background: Background) -> None:
        self._nodes = network.nodes
        self._background = background
        self._gates: dict[Link, asyncio.Event] = {}
        self._wires: set[Wire] = set()
        self._cut: set[Link] = set()
        self._doors: list[asyncio.Server] = []
        for number, node in enumerate(network.nodes):
            node.extra = {**node.extra, "CHAIND_NETWORK_HOST": _host(number)}

    def start(self) -> None:
        """Open the doors."""
        self._background.spawn(self._open_doors()).result()

    def close(self) -> None:
        """Nobody gets through any more."""

        def shut() -> None:
            for door in self._doors:
                door.close()
            for wire in self._wires:
                wire.reset()

        self._background.do(shut)

    def cut(self, links: Iterable[Link]) -> None:
        """Hold up what goes over these from now on."""
        chosen = set(links)
        self._cut |= chosen
        self._background.do(lambda: [self._gates[link].clear() for link in chosen])

    def heal(self, *, reset: bool = False) -> None:
        """Let everything through again; with `reset`, what was cut has broken instead."""

        def open_all() -> None:
            if reset:
                for wire in [one for one in self._wires if self._is_cut(one)]:
                    wire.reset()
            for gate in self._gates.values():
                gate.set()

        self._background.do(open_all)
        self._cut.clear()

    def _is_cut(self, wire: Wire) -> bool:
        return (wire.made_by, wire.at) in self._cut or (wire.at, wire.made_by) in self._cut

    async def _open_doors(self) -> None:
        numbers = range(len(self._nodes))
        for one in numbers:
            for other in numbers:
                self._gates[one, other] = asyncio.Event()
                self._gates[one, other].set()
        for number, node in enumerate(self._nodes):

            async def enter(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: int = number
            ) -> None:
                with suppress(OSError):  # either node may end at any time
                    await self._enter(reader, writer, at)
                writer.transport.abort()

            self._doors.append(await asyncio.start_server(enter, DOOR, node.p2p_port))

    async def _enter(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: int
    ) -> None:
        """Somebody has come to the door of node `at`: lead the connection there."""
        caller = owner_of(self._nodes, writer.get_extra_info("peername")[1])
        if caller is None:  # it has ended already
            return
        wire = Wire(caller, at, writer)
        self._wires.add(wire)
        try:
            await self._gates[caller, at].wait()
            await self._gates[at, caller].wait()
            port = self._nodes[at].p2p_port
            answers, target = await asyncio.open_connection(_host(at), port)
            wire.ends.append(target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry((caller, at), reader, wire))
                group.create_task(self._carry((at, caller), answers, wire))
        except* OSError:
            wire.reset()
        finally:
            self._wires.discard(wire)

    async def _carry(self, link: Link, reader: asyncio.StreamReader, wire: Wire) -> None:
        """Bytes of one direction, until that end closes; its close is the last thing that goes."""
        target = wire.ends[1 if link[0] == wire.made_by else 0]
        try:
            while data := await reader.read(PIECE_BYTES):
                await self._gates[link].wait()
                target.write(data)
                await target.drain()
        finally:
            await self._gates[link].wait()
            target.close()


def _host(number: int) -> str:
    """Where a node listens itself."""
    return f"127.0.0.{number + 2}"


def owner_of(nodes: list[NodeProcess], port: int) -> int | None:
    """The node whose process has the socket at this local port; None where none has it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
    for number, node in enumerate(nodes):
        process = node.process
        if process is not None and not inodes.isdisjoint(_sockets(process.pid)):
            return number
    return None


def _sockets(pid: int) -> set[str]:
    """Names of the sockets of a process, as the system shows them."""
    found = set()
    with suppress(OSError):  # it may end, and close what it has, meanwhile
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                name = os.readlink(entry.path)
                if re.fullmatch(r"socket:\[\d+\]", name):
                    found.add(name)
    return found


def both_ways(inside: Iterable[int], everyone: Iterable[int]) -> list[Link]:
    """Both directions between some nodes and all others of a list."""
    chosen = set(inside)
    others = set(everyone) - chosen
    return [pair for one in chosen for other in others for pair in ((one, other), (other, one))]
