"""Fifteen shares a minute, from a thousand hashes a second to ten thousand million."""

from random import Random

import pytest

from chaind.miner.jobs import share_hashes
from chaind.miner.vardiff import START, Vardiff

JOB_S = 40.0  # a new difficulty takes effect with the next job


class Miner:
    """Finds shares at random, at a rate, on virtual time, of the difficulty of its last job."""

    def __init__(self, rate: float, seed: int, *, job_s: float = 1.0) -> None:
        self.random = Random(seed)
        self.rate = rate
        self.now_s = 0.0
        self.vardiff = Vardiff(0.0)
        self.difficulty = self.vardiff.difficulty
        self.next_job_s = self.job_s = job_s
        self.shares: list[float] = []
        self.changes = 0

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            wait_s = self.random.expovariate(self.rate / share_hashes(self.difficulty))
            job_in_s = min(self.next_job_s, end_s) - self.now_s
            if wait_s < job_in_s:
                self.now_s += wait_s
                self.shares.append(self.now_s)
                self.changes += self.vardiff.share(self.difficulty, self.now_s)
                continue
            self.now_s += job_in_s
            self.changes += self.vardiff.judge(self.now_s)
            if self.now_s >= self.next_job_s:
                self.difficulty = self.vardiff.difficulty
                self.next_job_s += self.job_s

    def per_minute(self, seconds: float) -> float:
        return 60 * sum(at > self.now_s - seconds for at in self.shares) / seconds


RATES = [10.0**exponent for exponent in range(3, 11)]


@pytest.mark.parametrize("rate", RATES, ids="{:.0e}".format)
def test_between_ten_and_twenty_shares_a_minute(rate: float) -> None:
    for seed in range(5):
        miner = Miner(rate, seed)
        miner.run(600)
        for _ in range(6):
            miner.run(600)
            assert 10 < miner.per_minute(600) < 20


@pytest.mark.parametrize("rate", RATES, ids="{:.0e}".format)
def test_a_start_floods_nobody_and_starves_nobody(rate: float) -> None:
    """It is right within minutes; a job is a second long, as where changes are sent at once."""
    miner = Miner(rate, 1)
    miner.run(300)
    assert len(miner.shares) < 600 + 2 * rate / share_hashes(START)
    miner.run(120)
    assert 5 < miner.per_minute(120) < 30


def test_a_miner_that_changes_its_rate_is_followed() -> None:
    miner = Miner(1e6, 2)
    miner.run(900)
    for rate in (1e9, 1e5, 3e7):
        miner.rate = rate
        miner.run(900)
        miner.run(600)
        assert 10 < miner.per_minute(600) < 20


def test_a_miner_for_whom_blocks_are_easy_is_held_to_ten_a_second() -> None:
    """Its shares are of the block's difficulty, or of the quick one once that is harder."""
    block = 2.0**-18
    for rate in (1e7, 1e10):
        miner = Miner(rate, 4)
        miner.difficulty = block
        for _ in range(60):
            miner.run(1)
            miner.difficulty = min(miner.vardiff.difficulty, max(block, miner.vardiff.quick))
        assert 300 < miner.per_minute(30) < 1_200
        assert len(miner.shares) < 3 * rate / share_hashes(block) + 2_000


def test_another_number_of_shares_may_be_wished_for() -> None:
    miner = Miner(1e6, 3)
    miner.vardiff = Vardiff(0.0, shares_per_minute=300)
    miner.run(600)
    miner.run(600)
    assert 200 < miner.per_minute(600) < 400


def test_a_steady_miner_is_left_alone() -> None:
    """Chance alone is no reason for a change: each costs the miner a job."""
    changes = 0
    for seed in range(5):
        miner = Miner(38e6, seed, job_s=JOB_S)
        miner.run(1_200)
        miner.changes = 0
        miner.run(3_600)
        changes += miner.changes
    assert changes <= 15, "two an hour come by chance"


def test_what_the_miner_suggests_is_taken_within_bounds() -> None:
    vardiff = Vardiff(0.0, floor=0.001)
    assert vardiff.suggest(64.0, 0.0)
    assert vardiff.difficulty == 64.0
    assert vardiff.suggest(1e-30, 0.0)
    assert vardiff.difficulty == 0.001
    assert not vardiff.suggest(0.0005, 0.0)
