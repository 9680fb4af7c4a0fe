"""One view at n = 4 with one Byzantine validator, every interleaving, through the real core.

(a) FINAL(b) or FAST(b) is never possible together with NULL or NOTAR(b′); (b) when all that honest
nodes say has arrived, the view has ended for all of them. With mistakes in the rules it is not so.
"""

from collections.abc import Callable

import pytest
import simplex_mutants as mutants
from simplex_explorer import Scene
from simplex_machine import Violation

from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex


@pytest.mark.parametrize("restarts", [False, True])
def test_a_view_with_an_honest_leader(restarts: bool) -> None:
    scene = Scene(byzantine_leader=False, restarts=restarts)
    assert scene.explore() > 500
    assert all(scene.seen[what] for what in ("decided", "null", "fallback"))


@pytest.mark.parametrize("restarts", [False, True])
def test_a_view_with_a_byzantine_leader(restarts: bool) -> None:
    scene = Scene(byzantine_leader=True, restarts=restarts)
    assert scene.explore() > 5000
    assert all(scene.seen[what] for what in ("decided", "null", "fallback", "both"))


def caught(
    *,
    restarts: bool = False,
    kind: type[Simplex] = Simplex,
    quorums: Callable[[int], Quorums] = lambda n: Quorums([1] * n),
) -> list[str]:
    """What the exploration says of a mutant under an honest and a Byzantine leader."""
    found = []
    for byzantine_leader in (False, True):
        scene = Scene(
            byzantine_leader=byzantine_leader,
            restarts=restarts,
            kind=kind,
            quorums=lambda: quorums(4),
        )
        try:
            scene.explore()
        except Violation as violation:
            found.append(str(violation))
    return found


def test_mutant_threshold_too_low() -> None:
    """T−1: one Byzantine FIRST against a block makes honest voters give up what may be final."""
    honest, byzantine = caught(quorums=mutants.threshold(-1))
    assert "may be final beside" in honest
    assert "may be final beside" in byzantine


def test_mutant_threshold_too_high() -> None:
    """T+1: a split vote never ends."""
    honest, byzantine = caught(quorums=mutants.threshold(+1))
    assert "never ends" in honest
    assert "never ends" in byzantine


def test_mutant_fast_quorum_too_low() -> None:
    """F−1: a fast block beside NULL."""
    honest, byzantine = caught(quorums=mutants.fast(-1))
    assert "may be final beside" in honest
    assert "may be final beside" in byzantine


def test_mutant_null_after_first() -> None:
    """⊥ after FIRST(b): a timer takes back what FAST or FINAL counts on."""
    honest, byzantine = caught(kind=mutants.NullifiesLate)
    assert "may be final beside" in honest
    assert "may be final beside" in byzantine


def test_mutant_finalize_after_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that does it convicts itself."""
    mutants.finalize_after_fallback(monkeypatch)
    honest, byzantine = caught()
    assert "accused" in honest
    assert "accused" in byzantine


def test_mutant_certificates_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart nothing ends the view any more. Without restarts nobody would notice."""
    mutants.log_no_certificates(monkeypatch)
    assert caught() == []
    honest, byzantine = caught(restarts=True)
    assert "never ends" in honest
    assert "never ends" in byzantine
