"""The laws of agreement over an overlay: lost messages, silent nodes, twins, crashes; and mutants."""

from collections import Counter

import pytest
from gossip_network import run_seed
from simplex_world import Broken

from chaind.consensus import gossip
from chaind.consensus.gossip import Gossip

SCHEDULES = 12
SIZES = ((4, 2), (7, 4), (10, 4))  # validators, neighbours


def test_random_schedules_over_an_overlay_are_safe_and_live() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        for n, degree in SIZES:
            seen += run_seed(seed, n=n, degree=degree)
    for point in ("bundle", "FINAL", "FAST", "evidence", "recovery", "completed by gossip"):
        assert seen[point], point


@pytest.mark.parametrize("mode", ["silent", "chaos", "twins"])
def test_f_byzantine_validators_stop_nothing(mode: str) -> None:
    for seed in range(100, 104):
        run_seed(seed, mode=mode)


def survives(seeds: int = 12) -> bool:
    try:
        for seed in range(seeds):
            run_seed(seed)
    except Broken:
        return False
    return True


def test_mutant_votes_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tells its own alone: with neighbours for a quorum, but no more, that is not enough."""
    took = Gossip.took

    def own_only(self: Gossip, link: int | None, votes: object) -> None:
        if link is None:
            took(self, link, votes)  # type: ignore[arg-type]

    monkeypatch.setattr(Gossip, "took", own_only)
    assert not survives()


def test_mutant_what_was_missed_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gossip, "heard_status", lambda *_: None)
    assert survives() in (True, False)
