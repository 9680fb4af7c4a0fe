"""What the engine lets through from one peer to another."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from chaind.consensus.core import Core, Propose, StatusMessage
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node import engine as engine_module
from chaind.node.bodies import Bodies
from chaind.node.engine import Engine
from chaind.node.spread import Spread
from chaind.primitives.hashes import sha256d
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind, bitmap

HEADER = bytes(80)
BLOCK = sha256d(HEADER)
VIEW = 9


def proof(view: int) -> Certificate:
    voters = bitmap(range(3))
    return Certificate(0, view, CertificateKind.NOTAR, BLOCK, voters, b"", (bytes(64),) * 3)


@pytest.mark.parametrize("is_held", [False, True])
def test_a_proposal_is_passed_on_with_checked_certificates_once_its_body_is_held(
    monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    """Whoever passes on a liar's words unread is blamed for them (`simulate --overlay`, seed 5)."""
    known, fresh = proof(7), proof(8)
    core, spread = (create_autospec(kind, instance=True) for kind in (Core, Spread))
    chain = Mock(final=SimpleNamespace(height=3, hash=BLOCK))
    core.wants_proposal.return_value = True
    core.wants_certificate.side_effect = lambda one: one == fresh
    core.step.return_value = ()
    core.status.return_value = StatusMessage(0, VIEW, 7, BLOCK)
    spread.completed.return_value = []
    chain.candidate.return_value = object() if is_held else None
    decoder: Any = SimpleNamespace(decode=lambda _: SimpleNamespace(epoch=0, view=VIEW))
    monkeypatch.setattr(engine_module, "commitment_decoder", decoder)
    engine = Engine(
        core=core,
        checker=Mock(),
        chain=chain,
        finality=Mock(),
        vote_log=Mock(),
        commit=Mock(),
        network=Mock(),
        clock=Mock(),
        timers=Mock(),
        has_work=lambda: False,
        spread=spread,
    )
    engine.bodies = create_autospec(Bodies, instance=True)
    peer = create_autospec(Peer, instance=True)
    engine.peer_up(peer)
    vote = Vote(0, VIEW, VoteKind.FIRST, BLOCK, 0, bytes(64))
    message = wire.Proposal(HEADER, b"", b"", (), 8, (known, fresh), vote)
    engine.on_proposal(peer, message)
    [passed, shown, source] = spread.received.call_args.args
    assert isinstance(passed, Propose)
    assert passed.justification == (fresh,)
    assert (shown, source) == (message, 1)
    assert spread.held.called is is_held
