"""Whole nodes that pass votes on, few as they are: the same laws under faults and liars."""

import pytest

from chaind.network.messages import Bundles
from chaind.network.peer import Peer
from chaind.node.engine import Engine
from chaind.simulation.faults import Fault
from chaind.simulation.options import Options
from chaind.simulation.simulation import Simulation


def lossy(nodes: int) -> tuple[Fault, ...]:
    """Half of what is sent is late, again and again."""
    targets = tuple(range(nodes))
    return tuple(Fault(n, 1 + n * 0.6, "lossy links", targets, 0.3, 0.5) for n in range(8))


CRASHES = tuple(Fault(20 + n, 1.3 + n, "power cut", (n,), 0.5, 1) for n in range(4))


@pytest.mark.parametrize(
    "options",
    [
        Options(5, nodes=7, seconds=6.0, overlay=True, adversary="none", plan=lossy(7) + CRASHES),
        Options(1, nodes=7, seconds=4.0, overlay=True, adversary="equivocating leader", plan=()),
        Options(2, nodes=4, seconds=4.0, overlay=True, adversary="vote withholder", plan=lossy(4)),
    ],
    ids=lambda one: f"{one.nodes}-{one.adversary}",
)
def test_nodes_agree_over_the_overlay(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    carried, on_bundles = 0, Engine.on_bundles

    def counted(self: Engine, peer: Peer, message: Bundles) -> None:
        nonlocal carried
        carried += 1
        on_bundles(self, peer, message)

    monkeypatch.setattr(Engine, "on_bundles", counted)
    outcome = Simulation(options).run()
    assert outcome.violation is None
    assert carried > 100
