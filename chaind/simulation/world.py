"""What all parts of a simulation share: time, wires, machines, the trace, and what was seen.

`fail` ends it: the first violation counts, and everything after it is its consequence.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, MutableMapping
from random import Random
from typing import Any

import structlog

from chaind.simulation.loop import Process, VirtualLoop, current_process
from chaind.simulation.machine import Machine
from chaind.simulation.trace import Trace
from chaind.simulation.wire import LinkState, Wires


class Violation(Exception):
    """An invariant does not hold."""


class World:
    """See the module. `rng` is the root of all chance; parts take theirs from `dice`."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311 — chance that must repeat
        self.loop = VirtualLoop(self._on_failure)  # type: ignore[abstract]
        self.trace = Trace(self.loop.time)
        self.wires = Wires(self.loop, self.dice(), self._heard)
        self.loop.sockets = self.wires
        self.machines: list[Machine] = []
        self.points: Counter[str] = Counter()
        self.violation: str | None = None
        self._failed: asyncio.Future[None] | None = None
        self.excuses: Callable[[Process, BaseException | None], bool] = _never
        self.hear_log: Callable[[Process, str, MutableMapping[str, Any]], None] = _nothing

    def dice(self) -> Random:
        """Chance of its own for a part, so that parts do not move each other's."""
        return Random(self.rng.getrandbits(64))  # noqa: S311

    def add_machine(self) -> Machine:
        """One more, not yet linked."""
        machine = Machine(len(self.machines), self.loop, self.wires, self.dice())
        self.machines.append(machine)
        return machine

    def link_all(self, make: Callable[[], LinkState]) -> None:
        """Links between all pairs of machines, both ways."""
        for one in self.machines:
            for other in self.machines:
                if one is not other:
                    self.wires.links[one.host, other.host] = make()

    def point(self, name: str) -> None:
        """Something worth reaching was reached."""
        self.points[name] += 1

    def fail(self, reason: str) -> None:
        """An invariant does not hold."""
        if self.violation is None:
            self.violation = reason
            self.trace.note("world", f"VIOLATION {reason}")
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(Violation(reason))

    def run(self, work: Any) -> None:
        """Let things happen until `work` is done or an invariant is broken."""
        structlog.configure(
            processors=[self._capture],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            cache_logger_on_first_use=False,
        )
        try:
            self.loop.run_until_complete(self._until_failed(work))
        finally:
            self._clear()
            structlog.reset_defaults()

    def _clear(self) -> None:
        """End every program and let it unwind, so that nothing of it is left."""
        self.hear_log = _nothing
        for machine in self.machines:
            if machine.process is not None:
                machine.kill()
        self.loop.drain()

    async def _until_failed(self, work: Any) -> None:
        self._failed = self.loop.create_future()
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._failed), return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            task.cancel()
            self._failed.result()
        task.result()

    def _heard(self, kind: str, source: str, target: str, data: bytes) -> None:
        self.trace.bytes(kind, source, target, data)

    def _capture(
        self, _logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A line of some node's log."""
        process = current_process()
        if process is not None and process.alive:
            name = str(event.pop("event"))
            about = " ".join(f"{key}={value}" for key, value in event.items())
            self.trace.note(process.name, f"{method} {name} {about}")
            self.hear_log(process, name, event)
        raise structlog.DropEvent

    def _on_failure(
        self, process: Process | None, error: BaseException | None, message: str
    ) -> None:
        if process is not None and (not process.alive or self.excuses(process, error)):
            return
        who = "world" if process is None else process.name
        self.fail(f"{who}: {message}: {error!r}")


def _never(_process: Process, _error: BaseException | None) -> bool:
    return False


def _nothing(_process: Process, _name: str, _event: MutableMapping[str, Any]) -> None:
    pass
