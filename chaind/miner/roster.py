"""Who mines here, and how fast, by what was accepted: a table of names, bounded, that forgets.

Rates are means over the last minutes: hashes that accepted shares take on average, by time. Times
are monotonic seconds, unless a field says otherwise.
"""

import math
from collections import OrderedDict
from typing import NamedTuple

RATE_S = 300.0  # time constant of the mean
EXPIRY_S = 3_600.0  # without a share
WORKERS_MAX = 4_096


class MinerInfo(NamedTuple):
    """One name. `hashes_per_second` is a mean over minutes, of a name without a connection the last
    one before it left; `work` are the hashes of all its shares.

    `blocks` are those that were taken; `stale` shares came after the tip had changed, `rejected`
    ones break a rule. Without a connection it is forgotten at `expires_s`.
    """

    name: str
    hashes_per_second: float
    work: float
    accepted: int
    stale: int
    rejected: int
    blocks: int
    connections: int
    seen_s: float
    expires_s: float


class _Worker:
    __slots__ = (
        "accepted",
        "blocks",
        "connections",
        "first_s",
        "last_rate",
        "mean",
        "rejected",
        "seen_s",
        "stale",
        "work",
    )

    def __init__(self, now_s: float) -> None:
        self.accepted = self.stale = self.rejected = self.blocks = self.connections = 0
        self.work = 0.0
        self.mean = 0.0  # hashes, fading by RATE_S
        self.first_s = self.seen_s = now_s
        self.last_rate = 0.0  # when its last connection ended

    def is_over(self, now_s: float) -> bool:
        """Whether it is to be forgotten."""
        return not self.connections and self.seen_s <= now_s - EXPIRY_S

    def fade(self, now_s: float) -> float:
        """The sum of hashes, each weighed by its age, as of now."""
        return self.mean * math.exp2((self.seen_s - now_s) / RATE_S)

    def rate(self, now_s: float) -> float:
        """Hashes per second, as if it had been here all the time."""
        age_s = max(now_s - self.first_s, 1.0)
        weight_s = RATE_S * (1 - math.exp2(-age_s / RATE_S)) / math.log(2)  # of a steady rate's sum
        return self.fade(now_s) / weight_s


class Roster:
    """See the module's law."""

    def __init__(self) -> None:
        self._workers: OrderedDict[str, _Worker] = OrderedDict()  # heard of longest ago first

    def came(self, name: str, now_s: float) -> bool:
        """A connection more that works under this name; False where the table has no place for it.

        Then other names are connected in every place, and nothing is kept of this one.
        """
        worker = self._workers.get(name)
        if worker is None or worker.is_over(now_s):
            if worker is None and not self._make_room():
                return False
            worker = self._workers[name] = _Worker(now_s)
        worker.connections += 1
        self._workers.move_to_end(name)
        return True

    def left(self, name: str, now_s: float) -> None:
        """One less of those that `came` took."""
        worker = self._workers.get(name)
        if worker is not None and worker.connections:
            worker.connections -= 1
            worker.last_rate = worker.rate(now_s)

    def mined(self, name: str) -> None:
        """A block of its was taken."""
        worker = self._workers.get(name)
        if worker is not None:
            worker.blocks += 1

    def accepted(self, name: str, hashes: float, now_s: float) -> None:
        """A share."""
        worker = self._workers.get(name)
        if worker is None:
            return
        worker.mean = worker.fade(now_s) + hashes
        worker.seen_s = now_s
        worker.accepted += 1
        worker.work += hashes
        self._workers.move_to_end(name)

    def refused(self, name: str, *, stale: bool) -> None:
        """A share that did not count."""
        worker = self._workers.get(name)
        if worker is None:
            return
        worker.stale += stale
        worker.rejected += not stale
        self._workers.move_to_end(name)

    def all(self, now_s: float) -> list[MinerInfo]:
        """Names that are connected or were seen within the hour, the newest first."""
        for name in [name for name, worker in self._workers.items() if worker.is_over(now_s)]:
            del self._workers[name]
        return [self._info(name, worker, now_s) for name, worker in reversed(self._workers.items())]

    def connected(self, now_s: float) -> list[MinerInfo]:
        """Those of `all` that work just now."""
        return [worker for worker in self.all(now_s) if worker.connections]

    def _info(self, name: str, worker: _Worker, now_s: float) -> MinerInfo:
        return MinerInfo(
            name=name,
            hashes_per_second=worker.rate(now_s) if worker.connections else worker.last_rate,
            work=worker.work,
            accepted=worker.accepted,
            stale=worker.stale,
            rejected=worker.rejected,
            blocks=worker.blocks,
            connections=worker.connections,
            seen_s=worker.seen_s,
            expires_s=worker.seen_s + EXPIRY_S,
        )

    def _make_room(self) -> bool:
        """Forget one that is not connected, if the table is full; False where all of them are."""
        if len(self._workers) < WORKERS_MAX:
            return True
        gone = next((name for name, its in self._workers.items() if not its.connections), None)
        if gone is None:
            return False
        del self._workers[gone]
        return True
