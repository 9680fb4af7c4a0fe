"""What one message carries stays within a frame, however many validators a chain has."""

import pytest
from simplex_kit import block, certificate, make_core, start

from chaind.consensus.bundles import BUNDLE_BYTES_MAX, BUNDLE_MAX
from chaind.consensus.core import (
    CandidateBuilt,
    Certificates,
    Effect,
    GetCertificates,
    Message,
    Propose,
    Send,
    StatusMessage,
    TimerFired,
    TimerId,
    WorkChanged,
)
from chaind.consensus.simplex import Simplex
from chaind.network import messages as wire
from chaind.network.frames import FRAME_BYTES_MAX
from chaind.primitives.block import COMMITMENT_BYTES_MAX
from chaind.primitives.coinbase import COINBASE_BYTES_MAX
from chaind.primitives.hashes import HASH_BYTES
from chaind.primitives.votes import (
    SIGNATURE_BYTES,
    VALIDATORS_MAX,
    Certificate,
    CertificateKind,
)

CROWD = 1_000  # validators: a certificate of two thirds of them has 44 kB
LEADER = 300  # of view 300


def nulls(number: int, voters: int) -> tuple[Certificate, ...]:
    """Views that failed, from 1."""
    return tuple(
        certificate(CertificateKind.NULL, view, None, (), range(voters))
        for view in range(1, number + 1)
    )


def stuck(validators: int, me: int) -> Simplex:
    """A core in view 300 after as many failed ones."""
    core = make_core(validators, me)
    start(core)
    core.step(Message(9, Certificates(nulls(299, 2 * validators // 3 + 1))))
    assert core.status().view == 300
    return core


def shown(effects: tuple[Effect, ...]) -> list[tuple[Certificate, ...]]:
    """The certificates of each message; all of them fit their frames."""
    found = []
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, Certificates):
            wire.encode_message(wire.Certificates(effect.message.certificates))
            found.append(effect.message.certificates)
    return found


@pytest.mark.parametrize(
    "question", [StatusMessage(1, 2, 0, block("genesis", 1).hash), GetCertificates(2, 299)]
)
def test_an_answer_fits_a_frame_and_helps(question: StatusMessage | GetCertificates) -> None:
    core = stuck(CROWD, LEADER)
    [answer] = shown(core.step(Message(9, question)))
    assert [one.view for one in answer] == list(range(2, 2 + len(answer)))
    assert len(answer) == BUNDLE_BYTES_MAX // len(answer[-1].encode())


def test_an_answer_of_a_small_network_is_bounded_by_count() -> None:
    core = stuck(4, 0)
    [answer] = shown(core.step(Message(9, GetCertificates(1, 299))))
    assert answer == nulls(299, 3)[:BUNDLE_MAX]


def test_what_is_repeated_after_a_restart_comes_in_messages_that_fit() -> None:
    core = make_core(CROWD, LEADER)
    chunks = shown(start(core, nulls(120, 667)))
    assert {one for chunk in chunks for one in chunk} == {*nulls(120, 667)}


def test_a_proposal_after_many_failed_views_fits_its_frame() -> None:
    core = stuck(CROWD, LEADER)
    core.step(WorkChanged(True))
    core.step(TimerFired(TimerId.VIEW))
    effects = core.step(CandidateBuilt(block("a", 300)))
    [proposal] = [
        effect.message
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, Propose)
    ]
    why = proposal.justification
    assert [one.view for one in why] == list(range(299, 299 - len(why), -1)), "the newest"
    assert len(why) == BUNDLE_BYTES_MAX // len(why[0].encode())


def test_the_largest_proposal_has_room_for_its_justification() -> None:
    vote_bytes, array_bytes = 128, 64
    ids = wire.IDS_MAX * (HASH_BYTES + 2)
    block_parts = wire.HEADER_BYTES + COINBASE_BYTES_MAX + COMMITMENT_BYTES_MAX + ids
    assert block_parts + BUNDLE_BYTES_MAX + vote_bytes + array_bytes <= FRAME_BYTES_MAX


def test_the_largest_certificate_fits_a_message() -> None:
    everyone = range(VALIDATORS_MAX)
    largest = certificate(CertificateKind.NOTAR, 2**53, "a", everyone[:-1], everyone[-1:])
    assert VALIDATORS_MAX * SIGNATURE_BYTES < len(largest.encode()) <= BUNDLE_BYTES_MAX
    assert BUNDLE_MAX <= wire.CERTIFICATES_MAX
