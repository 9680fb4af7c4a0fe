"""Random schedules: safety after every event, liveness after GST, from one seed each.

`CHAIND_TEST_SCHEDULES=6000` runs that many; a failure names its seed, and
`CHAIND_TEST_SEED=1234` runs that one alone.
"""

import os
from collections import Counter

import pytest
import simplex_mutants as mutants
from simplex_network import Broken, run_seed

SCHEDULES = int(os.environ.get("CHAIND_TEST_SCHEDULES", "250"))
SEED = os.environ.get("CHAIND_TEST_SEED")
SOMETIMES = ("FAST", "FINAL", "fallback", "nullify", "bottom", "jump", "recovery", "evidence")


def test_random_schedules_are_safe_and_live() -> None:
    """Every point of interest must be reached, or the schedules show nothing."""
    seen: Counter[str] = Counter()
    for seed in range(SCHEDULES) if SEED is None else [int(SEED)]:
        seen += run_seed(seed)
    if SEED is None:
        assert [point for point in SOMETIMES if not seen[point]] == []


def first_broken(seeds: int) -> str:
    """What the first schedule that breaks says; empty when none does."""
    for seed in range(seeds):
        try:
            run_seed(seed)
        except Broken as broken:
            return str(broken)
    return ""


def test_mutant_speaks_before_it_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.speak_before_durable(monkeypatch)
    assert "before it was durable" in first_broken(5)


def test_mutant_finalizes_after_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.finalize_after_fallback(monkeypatch)
    assert first_broken(100)
