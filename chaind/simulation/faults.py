"""What goes wrong, when, and for how long: a plan drawn from the seed before anything happens.

A plan is a list of faults, so that a failing one can be shrunk by leaving some out. At most f
validators are down at a time, save in a blackout, which takes most of them or all.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

FIRST_S = 3.0  # nodes have met by then
MINUTE_S = 60.0
FAULTS_MIN = 12  # in a minute; a plan that comes out calmer is drawn again


class Fault(NamedTuple):
    """One fault. `targets` are machine indices, `size` is what its kind says."""

    number: int
    at_s: float
    kind: str
    targets: tuple[int, ...]
    for_s: float
    size: float

    def __str__(self) -> str:
        who = ",".join(map(str, self.targets))
        when = f"{self.at_s:.2f} s, for {self.for_s:.2f} s"
        return f"{self.number}: {self.kind} [{who}] ×{self.size:.3g} at {when}"


class _Kind(NamedTuple):
    group: str
    weight: int
    for_s: tuple[float, float]
    size: tuple[float, float]
    targets: Callable[[Random, int], Sequence[int]]


def _one(rng: Random, nodes: int) -> Sequence[int]:
    return (rng.randrange(nodes),)


def _two(rng: Random, nodes: int) -> Sequence[int]:
    return rng.sample(range(nodes), 2) if nodes > 1 else (0,)


def _all(_rng: Random, nodes: int) -> Sequence[int]:
    return range(nodes)


def _last(_rng: Random, nodes: int) -> Sequence[int]:
    return (nodes - 1,)


def _most(rng: Random, nodes: int) -> Sequence[int]:
    return sorted(rng.sample(range(nodes), rng.randint(min(2, nodes), nodes)))


def _some(rng: Random, nodes: int) -> Sequence[int]:
    return sorted(rng.sample(range(nodes), rng.randint(1, max(1, nodes - 1))))


# for_s is drawn evenly, size by its logarithm. Sizes: seconds, factors or chances as the kind has.
KINDS: dict[str, _Kind] = {
    "power cut": _Kind("crash", 4, (0.2, 8), (1, 1), _one),
    "cut while writing": _Kind("crash", 4, (0.2, 4), (1, 40), _one),
    "kill": _Kind("crash", 3, (0.2, 6), (1, 1), _one),
    "restart": _Kind("crash", 2, (0.1, 2), (1, 1), _one),
    "blackout": _Kind("crash", 3, (0.2, 3), (1, 1), _most),
    "pause": _Kind("pause", 4, (0.1, 6), (1, 1), _one),
    "partition": _Kind("partition", 3, (0.3, 8), (1, 1), _some),
    "one way": _Kind("partition", 3, (0.3, 6), (1, 1), _two),
    "deaf": _Kind("partition", 2, (0.3, 6), (1, 1), _one),
    "mute": _Kind("partition", 2, (0.3, 6), (1, 1), _one),
    "reset": _Kind("network", 2, (0, 0), (1, 1), _two),
    "lossy links": _Kind("network", 2, (0.5, 6), (0.01, 0.4), _all),
    "slow links": _Kind("network", 2, (0.5, 6), (2, 30), _some),
    "narrow links": _Kind("network", 1, (0.5, 6), (20_000, 400_000), _some),
    "messages lost": _Kind("messages", 3, (0.5, 6), (0.01, 0.5), _all),
    "messages twice": _Kind("messages", 2, (0.5, 6), (0.02, 0.5), _all),
    "messages late": _Kind("messages", 3, (0.5, 6), (0.02, 0.5), _all),
    "clock": _Kind("clock", 3, (0.5, 15), (20, 20_000), _one),
    "read error": _Kind("disk", 1, (0.1, 3), (1, 1), _one),
    "write error": _Kind("disk", 2, (0.1, 3), (1, 1), _one),
    "sync error": _Kind("disk", 2, (0.1, 3), (1, 1), _one),
    "disk full": _Kind("disk", 2, (0.1, 4), (1, 1), _one),
    "disk lost": _Kind("disk", 5, (0.1, 5), (1, 1), _last),  # of a full node, and only there
    "slow disk": _Kind("disk", 2, (0.5, 6), (10, 400), _one),
    "slow processor": _Kind("pause", 1, (0.5, 4), (1e-4, 5e-3), _one),
}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS.values()))


def plan(
    rng: Random, *, nodes: int, until_s: float, groups: Sequence[str], gap_s: float
) -> list[Fault]:
    """Faults between the start and `until_s`, in order; none are still there at its end.

    There is one every `gap_s` seconds in the mean.
    """
    least = FAULTS_MIN if groups and until_s > MINUTE_S else 0
    while len(faults := _draw(rng, nodes, until_s, groups, gap_s)) < least:
        pass
    return faults


def _draw(
    rng: Random, nodes: int, until_s: float, groups: Sequence[str], gap_s: float
) -> list[Fault]:
    kinds = [name for name, kind in KINDS.items() if kind.group in groups]
    weights = [KINDS[name].weight for name in kinds]
    faults: list[Fault] = []
    at_s = FIRST_S
    while kinds and (at_s := at_s + rng.expovariate(1 / gap_s)) < until_s - 1:
        [name] = rng.choices(kinds, weights)
        kind = KINDS[name]
        low, high = kind.size
        size = low * (high / low) ** rng.random()
        for_s = min(rng.uniform(*kind.for_s), until_s - at_s)
        targets = tuple(kind.targets(rng, nodes))
        faults.append(Fault(len(faults), at_s, name, targets, for_s, size))
    return faults
