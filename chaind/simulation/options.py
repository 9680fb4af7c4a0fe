"""What one run is asked to be, and what came of it."""

from typing import NamedTuple

from chaind.simulation.faults import GROUPS, Fault


class Options(NamedTuple):
    """What one run is asked to be. `skip` leaves out faults of the plan by number.

    `adversary` is one of the mode's kinds, "none", or "any": the seed decides.
    So it does on the faults, unless there is a `plan`. `seconds` of faults are as many as
    the mode has where None. `liars` is how many nodes lie; None: f, as many as must not matter.
    `overlay` has votes passed on as in a large network. `traders` trade beside the other clients.
    """

    seed: int
    nodes: int = 4
    groups: tuple[str, ...] = GROUPS
    seconds: float | None = None
    skip: frozenset[int] = frozenset()
    adversary: str = "any"
    plan: tuple[Fault, ...] | None = None
    liars: int | None = None
    overlay: bool = False
    mode: str = "bft"
    traders: int = 3


class Outcome(NamedTuple):
    """What came of it. `violation` is None where all held."""

    options: Options
    violation: str | None
    trace_hash: str
    counts: dict[str, float]
    points: dict[str, int]
    trace: list[str]
    faults: list[Fault]
