"""The laws of agreement over an overlay: loss, silence, twins, crashes; and mutants."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from gossip_network import run_seed
from msgspec import structs
from simplex_world import Broken

from chaind.consensus.gossip import Gossip, _Proof
from chaind.consensus.quorums import QuorumMissing
from chaind.primitives.votes import BadCertificate, VoteBundle

SCHEDULES = 8
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
    for seed in range(100, 103):
        run_seed(seed, mode=mode)


def first_broken(seeds: int) -> str:
    """What the first schedule that breaks says; empty when none does."""
    for seed in range(seeds):
        try:
            run_seed(seed)
        except (Broken, BadCertificate, QuorumMissing) as broken:
            return str(broken)
    return ""


def test_mutant_a_duplicate_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One voter's FIRST and its second vote are one voter."""

    def enough(self: Gossip, proof: _Proof, _voters: int) -> bool:
        return sum(map(self._weigh, proof.held)) >= self._quorums.needed(proof.key[1])

    monkeypatch.setattr(Gossip, "_enough", enough)
    assert "are needed" in first_broken(30)


def test_mutant_a_bundle_forgets_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = _Proof.bundles

    def forgetful(self: _Proof, epoch: int, parts: Sequence[int]) -> Iterator[VoteBundle]:
        for one in bundles(self, epoch, parts):
            yield structs.replace(one, signatures=one.signatures[:-1])

    monkeypatch.setattr(_Proof, "bundles", forgetful)
    assert "as many signatures as voters" in first_broken(1)
