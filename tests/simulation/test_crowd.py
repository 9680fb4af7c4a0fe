"""Cores and gossip by the hundred: everyone agrees, at the price that the design allows."""

import pytest

from chaind.consensus.core import Certificates, Votes
from chaind.consensus.gossip import Gossip
from chaind.network import messages as wire
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteBundle, VoteKind
from chaind.simulation.costs import FRAME_BYTES, Sent, size_of
from chaind.simulation.crowd import Crowd, Scene, Totals

HASH = bytes(range(32))
LAN = Scene(nodes=70, silent=0, blocks=3, far_ms=(0.4, 0.6), delta_ms=100)


def checked(scene: Scene) -> Totals:
    totals = Crowd(scene).run()
    assert totals.blocks >= scene.blocks
    assert len(totals.latencies_ms) == scene.blocks * (scene.nodes - scene.silent)
    return totals


def test_seventy_validators_agree_over_the_overlay() -> None:
    totals = checked(LAN)
    assert totals.views == totals.blocks + 1
    assert 12 < totals.messages < 400
    assert totals.latencies_ms[-1] < LAN.delta_ms
    assert totals.kinds.keys() == {"Bundle", "Propose"}  # nobody is stuck, nothing is repeated
    assert totals.signatures < 3 * LAN.nodes


def test_a_silent_third_costs_views_but_no_agreement() -> None:
    checked(LAN._replace(silent=23, far_ms=(20.0, 100.0), delta_ms=500, seed=3))


def test_few_validators_talk_to_everyone() -> None:
    crowd = Crowd(LAN._replace(nodes=16))
    assert crowd.graph is None
    totals = crowd.run()
    assert totals.duplicates == 0
    assert "Bundle" not in totals.kinds


def test_the_same_seed_is_the_same_run() -> None:
    scene = LAN._replace(nodes=13, overlay=True, degree=4)
    assert Crowd(scene).run() == Crowd(scene).run()
    assert Crowd(scene).run() != Crowd(scene._replace(seed=1)).run()


def test_mutant_votes_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody has a quorum of neighbours, and only what is repeated gets anywhere."""
    took = Gossip.took

    def own_only(self: Gossip, link: int | None, votes: tuple[Vote, ...]) -> None:
        if link is None:
            took(self, link, votes)

    monkeypatch.setattr(Gossip, "took", own_only)
    assert Crowd(LAN._replace(limit_ms=5_000.0)).run().blocks == 0


VOTE = Vote(0, 300, VoteKind.FIRST, HASH, 700, bytes(64))
PROOF = Certificate(
    0, 300, CertificateKind.NOTAR, HASH, b"\xff" * 80, b"\xff" * 5, (bytes(64),) * 680
)
BUNDLE = VoteBundle(0, 300, VoteKind.FIRST, HASH, b"\xff" * 80, (bytes(64),) * 640)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ((BUNDLE, BUNDLE), wire.Bundles((BUNDLE, BUNDLE))),
        (Votes((VOTE,) * 9), wire.Votes((VOTE,) * 9)),
        (Certificates((PROOF,)), wire.Certificates((PROOF,))),
    ],
)
def test_charged_bytes_are_near_those_of_the_wire(sent: Sent, message: wire.Message) -> None:
    size = len(wire.encode_message(message))
    assert 0.98 * size <= size_of(sent, 0) + FRAME_BYTES <= 1.1 * size + FRAME_BYTES
