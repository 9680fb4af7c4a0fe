"""The program on a machine: the node as the daemon starts it, on virtual files and sockets.

Law: everything above files, sockets, clock and dice is the node's own. Between its router and its
connections stands a tap, which sees every message, loses some where a fault says so, and is where
an adversary lies.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from chaind.network.connection import Connection
from chaind.network.manager import Network, NetworkConfig
from chaind.network.messages import Message
from chaind.network.noise import KeyPair
from chaind.network.peer import Peer
from chaind.node.config import Config, CustodySection, MempoolSection, NetworkSection, NodeSection
from chaind.node.node import Node
from chaind.node.parts import Identity
from chaind.node.recovery import Disk, stored_votes
from chaind.node.repair import open_and_heal
from chaind.node.vote_guard import says_all
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.simulation.loop import Process
from chaind.simulation.machine import Machine, MachineWorkers
from chaind.storage.log import SegmentMaking

PORT = 9080


class Tap(Protocol):
    """What stands between a node and its connections."""

    program: "Program | None"  # set once the program is made, which needs its tap first

    def incoming(self, peer: Peer, message: Message) -> Sequence[float]:
        """After how many seconds to deliver the message, once for each; empty: it is lost."""

    def outgoing(self, message: Message, peers: Sequence[Peer]) -> Iterable[tuple[Peer, Message]]:
        """What is sent instead, to whom."""


class TappedNetwork(Network):
    """The node's network with a tap in it. `TappedNetwork.with_tap` makes them."""

    tap: Tap

    @classmethod
    def with_tap(cls, tap: Tap) -> Callable[..., "TappedNetwork"]:
        """What `Node` takes for `Network`."""

        def make(config: NetworkConfig, **parts: Any) -> "TappedNetwork":
            network = cls(config, **parts)
            network.tap = tap
            return network

        return make

    def received(self, connection: Connection, message: Message) -> None:
        """See `connection.Owner`."""
        peer = self._peers.get(connection)
        delays = (0.0,) if peer is None else self.tap.incoming(peer, message)
        for delay_s in delays:
            if delay_s:
                connection._loop.call_later(delay_s, self._late, connection, message)
            else:
                super().received(connection, message)

    def _late(self, connection: Connection, message: Message) -> None:
        try:
            super().received(connection, message)
        except Exception as error:
            self.crashed(error)
            raise

    def send(self, peer: Peer, message: Message) -> None:
        """See `Network`."""
        for target, said in self.tap.outgoing(message, (peer,)):
            super().send(target, said)

    def broadcast(
        self,
        message: Message,
        *,
        except_: Peer | None = None,
        only: Iterable[Peer] | None = None,
    ) -> None:
        """See `Network`."""
        wanted = self.peers() if only is None else list(only)
        peers = [peer for peer in wanted if peer is not except_]
        for target, said in self.tap.outgoing(message, peers):
            super().send(target, said)


class Setup(NamedTuple):
    """What differs from run to run, so that small bounds are met as well as large ones."""

    segment_bytes: int
    pool_transactions: int


class Unreachable(Exception):
    """The connection to a node was refused, or ended before its answer."""


class Program:
    """A node on a machine: `boot` starts it and `node` is it, while it runs."""

    def __init__(
        self,
        *,
        machine: Machine,
        genesis: Genesis,
        key: SecretKey | None,
        peers: Sequence[str],
        tap: Tap,
        rng: Random,
        custody_seed: bytes,
        verify: Callable[[bytes, bytes, bytes], bool],
        setup: "Setup",
    ) -> None:
        self.machine = machine
        self.genesis = genesis
        self.key = key
        self.peers = tuple(f"{host}:{PORT}" for host in peers if host != machine.host)
        self.tap = tap
        self.rng = rng
        self.setup = setup
        self.node: Node | None = None
        self.node_key = KeyPair(rng.randbytes(32))
        machine.on_end = self._gone
        self.callers: dict[Any, None] = {}  # futures of clients that wait for an answer
        self._custody_seed = custody_seed
        self._verify = verify

    def boot(
        self, ready: Callable[[Node], None], over: Callable[[BaseException | None], None]
    ) -> None:
        """Start the node; `ready` when it serves, `over` when it has ended by itself."""
        process = self.machine.start()
        task = process.spawn(self._main(process, ready), "main")

        def done(finished: Any) -> None:
            if process.alive:
                error = None if finished.cancelled() else finished.exception()
                self.machine.ended()
                over(error)

        task.add_done_callback(done)

    async def _main(self, process: Process, ready: Callable[[Node], None]) -> None:
        machine, rng = self.machine, Random(self.rng.getrandbits(64))  # noqa: S311
        files = machine.disk
        home = Path(f"/{machine.name}/chain")
        disk = open_and_heal(
            files,
            home,
            self.genesis,
            files.open_store,
            votes=self.key is not None,
            making=SegmentMaking(rng.randbytes, self.setup.segment_bytes),
        )
        node = Node(
            config=self._config(),
            genesis=self.genesis,
            identity=Identity(self.node_key, self.key, may_vote=self._may_vote(disk)),
            disk=disk,
            clock=machine.clock,
            workers=MachineWorkers(machine, rng),
            rng=Random(rng.getrandbits(64)),  # noqa: S311 — chance that must repeat
            custody_seed=self._custody_seed,
            entropy=rng.randbytes,
            network=TappedNetwork.with_tap(self.tap),
            verify=self._verify,
        )

        def started() -> None:
            if process.alive:
                self.node = node
                ready(node)

        await node.run(started)

    def _gone(self, _how: str) -> None:
        self.node = None
        callers, self.callers = self.callers, {}
        for caller in callers:
            if not caller.done():
                caller.set_exception(Unreachable())

    def _may_vote(self, disk: Disk) -> bool:
        """As the daemon asks it, beside the ids of log and key, which a crash cannot part."""
        if self.key is None:
            return True
        voters = [validator.key for validator in self.genesis.validators]
        records = (record for _, record in stored_votes(disk.votes))
        voter = voters.index(self.key.public)
        return says_all(records, voter=voter, final_view=disk.store.tip.view)

    def _config(self) -> Config:
        machine = self.machine
        return msgspec.structs.replace(
            Config(),
            node=NodeSection(home=f"/{machine.name}", name=machine.name),
            network=NetworkSection(host=machine.host, p2p_port=PORT, peers=self.peers),
            custody=CustodySection(enabled=True),
            mempool=MempoolSection(transactions_max=self.setup.pool_transactions),
        )
