"""A few schedules of twins; `twins.py` runs many. The control shows that they can break things."""

import pytest
from twins import FORK, Schedule, run


@pytest.mark.parametrize("nodes", [4, 7])
def test_f_twins_break_nothing(nodes: int) -> None:
    for seed in range(30):
        _, broken, _ = run(Schedule(seed, nodes, (nodes - 1) // 3))
        assert not broken, f"seed {seed}"


def test_what_a_restarted_node_said_may_be_heard_in_another_order() -> None:
    """FIRST and FINALIZE were cast and synced together; the crash came before they were sent."""
    _, broken, _ = run(Schedule(15_060, 4, 1))
    assert not broken


def test_one_pair_of_twins_more_forks() -> None:
    assert any(FORK in run(Schedule(seed, 4, 2))[1] for seed in range(60))


def test_one_pair_of_twins_more_among_seven_leaves_conflicting_certificates() -> None:
    """A fork takes hundreds of schedules there; what makes it possible does not."""
    assert any("conflicting certificate" in run(Schedule(seed, 7, 3))[1] for seed in range(90, 100))
