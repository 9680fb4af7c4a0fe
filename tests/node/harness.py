"""Whole nodes in one process on loopback: real consensus, network, LevelDB and logs.

A `Cluster` has seats; a node sits in a seat until it is stopped or crashes, and can be started
there again. `crash` is a power cut: what no fsync had reached is gone. A node that ends by itself
fails whoever waits for anything in its cluster.

    async with Cluster(tmp_path, validators=4, full=1) as cluster:
        payment = await cluster[0].payments.transfer(order("alice", "bob", 5, key="k"))
        assert cluster.balances("bob") == ...
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from types import TracebackType
from typing import cast

import msgspec
from ports import free_ports
from power import PowerFiles, PowerStore

from chaind.cli.chains import development_genesis
from chaind.network.noise import KeyPair
from chaind.node.clock import SystemClock
from chaind.node.config import Config
from chaind.node.intake import Submission
from chaind.node.node import Node
from chaind.node.parts import Identity
from chaind.node.payments import TransferOrder
from chaind.node.queries import TransactionInfo
from chaind.node.recovery import open_disk
from chaind.node.vote_guard import vote_log_intact
from chaind.node.workers import SystemWorkers
from chaind.primitives.address import key_address
from chaind.primitives.amounts import parse_amount
from chaind.primitives.genesis import (
    Allocation,
    ConsensusParameters,
    Genesis,
    ProofOfWork,
    Validator,
)
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import Lease, Transaction
from chaind.storage.errors import DiskFailed
from chaind.wallet.builder import build_payment
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    FIXED_NAMES,
    development_key,
    seed_from_mnemonic,
)

WAIT_S = 20.0  # far beyond what anything here takes; only a failing test waits that long
LOOK_S = 0.02  # for what no event tells: peers, health
UNIT = 10**8
FUNDED = parse_amount("1000000")  # of every named account at the start
QUICK = ConsensusParameters(delta_ms=60, block_budget_ms=20, empty_block_interval_ms=250)

Secret = str | SecretKey  # a named account, or anybody


def secret(who: Secret) -> SecretKey:
    """The key of a named account."""
    return _named(who) if isinstance(who, str) else who


@cache
def _named(who: str) -> SecretKey:
    """Two thousand rounds of PBKDF2 are for once."""
    return development_key(FIXED_NAMES.index(who))


def address(who: Secret) -> bytes:
    """The address of a named account, or of a key."""
    return key_address(secret(who).public)


def validator_key(index: int) -> SecretKey:
    """The key of a validator."""
    return SecretKey(sha256(f"validator {index}".encode()))


def order(
    source: str | int, target: str | int, units: int, *, key: str | None = None, memo: bytes = b""
) -> TransferOrder:
    """What the payments API takes, in the native asset."""
    return TransferOrder(source, target, units, "", memo, key)


class WallClock(SystemClock):
    """The machine's clocks, the one on the wall set wrong by `set_ms`."""

    def __init__(self) -> None:
        self.set_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.set_ms


class Seat:
    """One node's place: secrets, directory, port, and the node that runs there now."""

    def __init__(self, cluster: "Cluster", index: int, key: SecretKey | None, port: int) -> None:
        self.cluster = cluster
        self.index = index
        self.port = port
        self.directory = cluster.path / f"node{index}"
        self.identity = Identity(KeyPair.generate(), key)
        self.calls: Sequence[int] | None = None  # seats that it dials; None: all others
        self.sections: dict[str, dict[str, object]] = {}  # of the configuration, over the defaults
        self.custody = True  # whether it keeps the keys of named accounts
        self.node: Node | None = None
        self.ended: asyncio.Task[None] | None = None
        self.clock = WallClock()
        self._workers: SystemWorkers | None = None
        self._files = PowerFiles()
        self._database: PowerStore | None = None

    @property
    def config(self) -> Config:
        """What `chaind.toml` would say."""
        cluster = self.cluster
        calls = self.calls if self.calls is not None else range(len(cluster.seats))
        peers = [f"127.0.0.1:{cluster.seats[i].port}" for i in calls if i != self.index]
        sections: dict[str, dict[str, object]] = {
            "node": {"home": str(self.directory), "name": f"node{self.index}"},
            "network": {"p2p_port": self.port, "peers": peers},
        }
        for name, settings in (*cluster.sections.items(), *self.sections.items()):
            sections[name] = {**sections.get(name, {}), **settings}
        return msgspec.convert(sections, Config)

    async def start(self) -> Node:
        """Open the directory and run a node on it; returns once it listens."""
        assert self.node is None, "already running"
        directory = self.directory / "chain"
        directory.mkdir(parents=True, exist_ok=True)
        self._files = PowerFiles()
        sizes = {"cache_bytes": 4 << 20, "write_buffer_bytes": 2 << 20}
        database = self._database = cast(PowerStore, PowerStore.open(directory / "db", **sizes))
        self._workers = SystemWorkers(2)
        marks = {"key_mark": self.directory / "voted", "log_mark": directory / "votes.id"}
        secrets = self.identity._replace(may_vote=vote_log_intact(self._files, **marks))
        node = self.node = Node(
            config=self.config,
            genesis=self.cluster.genesis,
            identity=secrets,
            disk=open_disk(self._files, directory, database, self.cluster.genesis),
            clock=self.clock,
            workers=self._workers,
            rng=Random(self.index),
            custody_seed=seed_from_mnemonic(DEVELOPMENT_MNEMONIC) if self.custody else None,
        )
        if not self.cluster.exchange:
            node.network._exchange._interval_ms = None
        node.events.subscribe(self.cluster.heard)
        listening = asyncio.Event()
        self.ended = asyncio.create_task(node.run(listening.set), name=f"node{self.index}")
        self.ended.add_done_callback(lambda _: listening.set())
        await listening.wait()
        if self.ended.done():
            self.ended.result()
        return node

    async def stop(self) -> None:
        """An orderly end."""
        assert self.node is not None
        self.node.stop()
        await self._over()

    async def crash(self) -> None:
        """A power cut."""
        assert self.node is not None
        assert self.ended is not None
        assert self._database is not None
        self.cut_power()
        self.hang_up()
        self.ended.cancel()
        with suppress(
            asyncio.CancelledError, ExceptionGroup, DiskFailed
        ):  # how it fell is the cut's doing
            await self.ended
        self.ended = None
        self._database.close()
        await self._over()
        self._files.cut()

    def cut_power(self) -> None:
        """The disk writes nothing any more; the node will find out."""
        assert self._database is not None
        self._files.powered = self._database.powered = False

    def hang_up(self) -> None:
        """Close its sockets without a word."""
        assert self.node is not None
        network = self.node.network
        if network._server is not None:
            network._server.close()
        for connection in list(network._connections):
            connection.abort()

    def wipe(self) -> None:
        """Lose the chain with all its logs, not the keys."""
        assert self.node is None
        shutil.rmtree(self.directory / "chain")

    async def _over(self) -> None:
        try:
            if self.ended is not None:
                await self.ended
        finally:
            assert self._workers is not None
            await self._workers.close()
            self.node = self.ended = None


class Cluster:
    """See the module. `sections` are settings of all seats, `parameters` of the genesis."""

    def __init__(
        self,
        path: Path,
        *,
        validators: int = 1,
        full: int = 0,
        sections: dict[str, dict[str, object]] | None = None,
        parameters: dict[str, int] | None = None,
        consensus: ConsensusParameters = QUICK,
        exchange: bool = True,
        coins: Sequence[tuple[Secret, str]] = (),
        work: ProofOfWork | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        self.path = path
        self.sections = sections or {}
        self.exchange = exchange
        self.clock = SystemClock()
        keys = [validator_key(index) for index in range(validators)]
        ports = free_ports(validators + full)
        seats = [*keys, *[None] * full]
        self.seats = [Seat(self, index, key, ports[index]) for index, key in enumerate(seats)]
        self.genesis = make_genesis(
            keys, self.clock.now_ms(), parameters or {}, consensus, coins, work
        )
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Cluster":
        try:
            for seat in self.seats:
                await seat.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __getitem__(self, index: int) -> Node:
        """The running node of a seat."""
        node = self.seats[index].node
        assert node is not None, f"node {index} does not run"
        return node

    @property
    def nodes(self) -> list[Node]:
        """All running nodes."""
        return [seat.node for seat in self.seats if seat.node is not None]

    async def stop(self, *indices: int) -> None:
        """Stop these seats' nodes at the same time; all of them by default."""
        seats = [self.seats[index] for index in indices] if indices else self.seats
        running = [seat.stop() for seat in seats if seat.node is not None]
        results = await asyncio.gather(*running, return_exceptions=True)
        failed = [error for error in results if isinstance(error, Exception)]
        if failed:
            raise ExceptionGroup("nodes that ended badly", failed)

    async def start(self, *indices: int) -> None:
        """Start nodes in these seats; in all free ones by default."""
        for seat in [self.seats[index] for index in indices] if indices else self.seats:
            if seat.node is None:
                await seat.start()

    def add_seat(self, calls: Sequence[int]) -> Seat:
        """A full node's place, whose node will dial only these seats."""
        [port] = free_ports(1)
        seat = Seat(self, len(self.seats), None, port)
        seat.calls = calls
        self.seats.append(seat)
        return seat

    def heard(self, _event: object) -> None:
        """Something happened at a node: whoever waits looks again."""
        self._news.set()

    async def until(self, condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        """Return once `condition` holds. It is looked at after every event of any node."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._news.clear()
                self.check()
                if condition():
                    return
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._news.wait()
                except TimeoutError:
                    continue

    def check(self) -> None:
        """Raise what ended a node that nobody stopped."""
        for seat in self.seats:
            if seat.node is not None and seat.ended is not None and seat.ended.done():
                seat.ended.result()
                raise AssertionError(f"node {seat.index} ended by itself")

    async def connected(self, count: int | None = None) -> None:
        """Wait until every node has `count` peers (default: all others)."""
        wanted = len(self.nodes) - 1 if count is None else count
        await self.until(lambda: all(len(node.network.peers()) >= wanted for node in self.nodes))

    async def height(self, height: int, nodes: Sequence[Node] | None = None) -> None:
        """Wait until these nodes (default: all) have made this height final."""
        wanted = nodes or self.nodes
        await self.until(lambda: all(node.chain.final.height >= height for node in wanted))

    async def agree(self) -> int:
        """Wait until all nodes have the tip of the highest, and compare hashes; the height."""
        top = max(node.chain.final.height for node in self.nodes)
        await self.height(top)
        hashes = {info.hash for node in self.nodes if (info := node.queries.block(top))}
        assert len(hashes) == 1, f"nodes disagree on block {top}"
        return top

    async def final(self, txid: bytes, nodes: Sequence[Node] | None = None) -> None:
        """Wait until a transaction is final at these nodes (default: all)."""
        wanted = nodes or self.nodes
        await self.until(lambda: all(node.queries.is_final(txid) for node in wanted))

    async def ended(self, txid: bytes, at: int) -> TransactionInfo:
        """Wait until a node says that a transaction will never apply; what it says."""
        node = self[at]
        ends = ("rejected", "expired")
        await self.until(lambda: node.queries.transaction(txid).status in ends)
        return node.queries.transaction(txid)

    def balances(self, who: Secret) -> list[int]:
        """The native account balance of somebody, as each running node tells it."""
        return [node.queries.balance(address(who)).native for node in self.nodes]

    def payment(
        self,
        source: Secret,
        target: Secret,
        units: int,
        *,
        valid_ms: int = 60_000,
        lease: Lease | None = None,
        memo: bytes = b"",
    ) -> Transaction:
        """A signed payment that is valid for so long from now on."""
        return build_payment(
            key=secret(source),
            target=address(target),
            asset="",
            units=units,
            memo=memo,
            lease=lease,
            valid_until_ms=self.clock.now_ms() + valid_ms,
            salt=os.urandom(8),
            chain_prefix=self.genesis.chain_prefix,
            parameters=self.genesis.parameters,
        )

    async def submit(self, *transactions: Transaction, at: int = 0) -> list[Submission]:
        """Hand transactions to a node as a client does."""
        raws = [transaction.raw for transaction in transactions]
        return await self[at].intake.submit(raws, local=True)

    async def pay(self, source: Secret, target: Secret, units: int, *, at: int = 0) -> Transaction:
        """A payment that a node has accepted."""
        transaction = self.payment(source, target, units)
        [result] = await self.submit(transaction, at=at)
        if result.error is not None:
            raise result.error
        return transaction


def make_genesis(
    keys: Sequence[SecretKey],
    time_ms: int,
    parameters: dict[str, int],
    consensus: ConsensusParameters,
    coins: Sequence[tuple[Secret, str]],
    work: ProofOfWork | msgspec.UnsetType = msgspec.UNSET,
) -> Genesis:
    """A development chain; `coins` are (owner, amount) and number the genesis coins from 0.

    With `work` it is mined, and `keys` are none.
    """
    validators = [Validator(public_key=key.public.hex()) for key in keys]
    genesis = development_genesis(validators, time_ms=time_ms, work=work)
    show = genesis.addresses.show
    given = [
        Allocation(address=show(address(who)), amount=amount, coin=True) for who, amount in coins
    ]
    genesis = msgspec.structs.replace(
        genesis,
        consensus=consensus,
        allocations=(*given, *genesis.allocations),  # coin outpoints are numbered from 0
        parameters=msgspec.structs.replace(genesis.parameters, **parameters),
    )
    genesis.check()
    return genesis
