"""The tap of an honest node: faults befall what comes in, checks see what goes out."""

from collections.abc import Iterable, Sequence
from random import Random

from chaind.network.messages import Message
from chaind.network.peer import Peer
from chaind.simulation.checks import Checks
from chaind.simulation.nemesis import MessageFaults
from chaind.simulation.program import Program

LATE_S = 0.4  # at most, for a message that others overtake


class HonestTap:
    """See the module. `program` is set once the program is made, which needs its tap first."""

    def __init__(self, faults: MessageFaults, checks: Checks, rng: Random) -> None:
        self.program: Program | None = None
        self._faults = faults
        self._checks = checks
        self._rng = rng

    def incoming(self, _peer: Peer, message: Message) -> Sequence[float]:
        """See `Tap`."""
        assert self.program is not None
        self._checks.hears(self.program, message)
        faults, rng = self._faults, self._rng
        if faults.lost and rng.random() < faults.lost:
            return ()
        first = 0.0
        if faults.late and rng.random() < faults.late:
            first = rng.uniform(0.001, LATE_S)
        if faults.twice and rng.random() < faults.twice:
            return (first, rng.uniform(0.001, LATE_S))
        return (first,)

    def outgoing(self, message: Message, peers: Sequence[Peer]) -> Iterable[tuple[Peer, Message]]:
        """See `Tap`."""
        assert self.program is not None
        self._checks.says(self.program, message)
        return [(peer, message) for peer in peers]
