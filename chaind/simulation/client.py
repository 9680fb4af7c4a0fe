"""What clients were told, and the one way in which they ask: over a connection that can break.

Law: an answer binds. Final stays final at its height, a refusal for ever stays one, and a node that
has accepted a transaction knows it whenever it is asked again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from chaind.node.node import Node
from chaind.node.queries import TransactionInfo, TransactionUnknown
from chaind.primitives.errors import ChaindError, NotReady
from chaind.simulation.checks import Checks
from chaind.simulation.loop import Process
from chaind.simulation.program import Program, Unreachable
from chaind.simulation.world import World

T = TypeVar("T")
HOP_S = (0.0005, 0.01)  # between client and node, one way
ANSWER_S_MAX = 35.0  # above the node's own bound on waiting for finality
PATIENCE_S = 6.0  # then a client asks elsewhere


class Accepted:
    """A transaction that some nodes have taken: which, and until when it is valid."""

    __slots__ = ("machines", "valid_until_ms")

    def __init__(self, valid_until_ms: int | None) -> None:
        self.machines: set[str] = set()
        self.valid_until_ms = valid_until_ms


class Promises:
    """Every answer of every honest node, held against what is final."""

    def __init__(self, world: World, checks: Checks, enough: int) -> None:
        self._world = world
        self._checks = checks
        self.accepted: dict[bytes, Accepted] = {}
        self.ended: dict[bytes, str] = {}  # told as rejected or expired, and by whom
        self.leases: dict[bytes, bytes] = {}  # idempotency key → the transaction told as its own
        self.operations = 0
        self.enough = asyncio.Event()  # so many operations have ended
        self._enough = enough
        if not enough:
            self.enough.set()
        self.answers = 0
        self.refusals = 0
        self.unreachable = 0
        self.under_way: dict[asyncio.Task[Any], tuple[float, Process]] = {}  # since when, at whom

    def ended_one(self) -> None:
        """An operation of a client has come to its end."""
        self.operations += 1
        if self.operations >= self._enough:
            self.enough.set()

    def took(self, program: Program, txid: bytes, valid_until_ms: int | None) -> None:
        """A node has answered that it accepts."""
        entry = self.accepted.setdefault(txid, Accepted(valid_until_ms))
        entry.machines.add(program.machine.name)

    def void(self, program: Program) -> None:
        """A node has lost its disk: it can know nothing of what it accepted."""
        for entry in self.accepted.values():
            entry.machines.discard(program.machine.name)

    def told(self, program: Program, info: TransactionInfo) -> None:
        """A node has said where a transaction is."""
        txid, name = info.txid, program.machine.name
        height = self._checks.final_txids.get(txid)
        if info.status == "final":
            if height is None or height != info.height:
                self._world.fail(
                    f"{name} tells {txid.hex()} as final at {info.height}, it is at {height}"
                )
            if txid in self.ended:
                self._world.fail(f"{txid.hex()} is final, {self.ended[txid]}")
        elif info.status in ("rejected", "expired"):
            self._world.point(f"told {info.status}")
            self.ended.setdefault(txid, f"{name} told it as {info.status}")
            if height is not None:
                self._world.fail(f"{name} tells {txid.hex()} as {info.status}, final at {height}")

    def unknown(self, program: Program, txid: bytes) -> None:
        """A node does not know a transaction."""
        entry = self.accepted.get(txid)
        if entry is not None and program.machine.name in entry.machines:
            self._world.fail(
                f"{program.machine.name} does not know {txid.hex()}, which it has accepted"
            )

    def paid(self, key: bytes, txid: bytes) -> None:
        """A payment with this idempotency key was told as final."""
        if self.leases.setdefault(key, txid) != txid:
            self._world.fail(f"key {key!r} paid twice: {self.leases[key].hex()}, {txid.hex()}")

    def all_in_the_end(self) -> None:
        """Nothing that was told as lost has become final after all; nobody waits for ever."""
        now_s = self._world.loop.time()
        for since_s, process in self.under_way.values():
            if process.alive and now_s - since_s > ANSWER_S_MAX:
                self._world.fail(f"{process.name} has not answered since {since_s:.1f} s")
        for txid, told in self.ended.items():
            if txid in self._checks.final_txids:
                self._world.fail(f"{txid.hex()} is final, {told}")


class Connection:
    """How one client reaches nodes."""

    def __init__(self, world: World, promises: Promises, rng: Random) -> None:
        self._world = world
        self._promises = promises
        self._rng = rng

    async def ask(
        self,
        program: Program,
        make: Callable[[Node], Coroutine[Any, Any, T]],
        patience_s: float = PATIENCE_S,
    ) -> T:
        """What a node answers. Raises the errors of its API, `Unreachable` or `TimeoutError`."""
        await asyncio.sleep(self._rng.uniform(*HOP_S))
        process, node = program.machine.process, program.node
        if process is None or node is None:
            self._promises.unreachable += 1
            raise Unreachable
        caller: asyncio.Future[T] = self._world.loop.create_future()
        program.callers[caller] = None
        task = process.spawn(make(node), "api")
        self._promises.under_way[task] = (self._world.loop.time(), process)

        def done(finished: "asyncio.Task[T]") -> None:
            program.callers.pop(caller, None)
            self._promises.under_way.pop(task, None)
            if caller.done() or not process.alive:
                if not finished.cancelled():
                    finished.exception()
            elif finished.cancelled():
                caller.set_exception(Unreachable())
            elif (error := finished.exception()) is not None:
                if not isinstance(error, ChaindError):
                    self._world.fail(f"{program.machine.name} answers with {error!r}")
                caller.set_exception(error)
            else:
                caller.set_result(finished.result())

        task.add_done_callback(done)
        try:
            async with asyncio.timeout(patience_s):
                answer = await caller
        except Unreachable:
            self._promises.unreachable += 1
            raise
        except ChaindError:
            self._promises.refusals += 1
            raise
        self._promises.answers += 1
        await asyncio.sleep(self._rng.uniform(*HOP_S))
        return answer

    async def status(self, program: Program, txid: bytes, wait_ms: float) -> TransactionInfo | None:
        """Where a transaction is, once it has ended or the wait is over; None where unknown."""
        try:
            info = await self.ask(program, lambda node: node.wait_final(txid, wait_ms))
        except TransactionUnknown:
            self._promises.unknown(program, txid)
            return None
        except NotReady:  # its disk could not be read: it says so, and promises nothing
            self._world.point("node not ready to answer")
            raise Unreachable from None
        self._promises.told(program, info)
        return info
