"""What is shown of the views: every vote that counted, the strongest certificate, bounded."""

from chaind.consensus.core import BlockRef, Certificates, Evidence, Propose, Votes
from chaind.node.view_log import VIEWS_MAX, ViewLog
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind, bitmap, voters_of

BLOCK, OTHER = b"\1" * 32, b"\2" * 32
FIRST, FALLBACK, NULLIFY, FINALIZE = VoteKind


def vote(kind: VoteKind, voter: int, *, view: int = 1, block: bytes | None = BLOCK) -> Vote:
    return Vote(0, view, kind, block, voter, b"")


def certificate(
    kind: CertificateKind,
    primary: list[int],
    secondary: list[int] | None = None,
    *,
    view: int = 1,
    block: bytes | None = BLOCK,
) -> Certificate:
    return Certificate(0, view, kind, block, bitmap(primary), bitmap(secondary or []), ())


def told(log: ViewLog, kind: VoteKind) -> list[int]:
    (record,) = log.newest()
    return voters_of(record.voters.get(kind, 0))


def test_votes_of_peers_and_own_ones_stand_together() -> None:
    log = ViewLog()
    log.heard(Propose(BlockRef(BLOCK, 1, OTHER, 0), (), vote(FIRST, 1)))
    log.heard(Votes((vote(FIRST, 3), vote(FINALIZE, 3))))
    log.logged((vote(FIRST, 0), vote(FALLBACK, 2)))
    assert told(log, FIRST) == [0, 1, 3]
    assert told(log, FALLBACK) == [2]
    assert told(log, FINALIZE) == [3]
    (record,) = log.newest()
    assert (record.kind, voters_of(record.heard())) == (None, [0, 1, 2, 3])


def test_a_first_vote_for_no_block_is_one_against_the_view() -> None:
    log = ViewLog()
    log.logged((vote(FIRST, 0, block=None), vote(NULLIFY, 2, block=None)))
    assert told(log, NULLIFY) == [0, 2]
    assert told(log, FIRST) == []
    log.heard(Certificates((certificate(CertificateKind.NULL, [0, 1], [3], block=None),)))
    assert told(log, NULLIFY) == [0, 1, 2, 3]


def test_certificates_bring_the_votes_inside() -> None:
    log = ViewLog()
    log.heard(Certificates((certificate(CertificateKind.NOTAR, [0, 2], [1]),)))
    assert (told(log, FIRST), told(log, FALLBACK), told(log, FINALIZE)) == ([0, 2], [1], [])
    log.logged((certificate(CertificateKind.FINAL, [0, 3]),))
    assert told(log, FINALIZE) == [0, 3]


def test_the_strongest_certificate_says_how_a_view_ended() -> None:
    log = ViewLog()
    ends = []
    for kind in (
        CertificateKind.NULL,
        CertificateKind.NOTAR,
        CertificateKind.FAST,
        CertificateKind.FINAL,
        CertificateKind.NOTAR,
    ):
        log.logged((certificate(kind, [0], block=None if kind is CertificateKind.NULL else BLOCK),))
        (record,) = log.newest()
        ends.append((record.kind, record.block))
    assert ends == [
        (CertificateKind.NULL, None),
        (CertificateKind.NOTAR, BLOCK),
        *[(CertificateKind.FAST, BLOCK)] * 3,
    ]


def test_only_so_many_views_are_kept_and_older_ones_do_not_come_back() -> None:
    log = ViewLog()
    for view in range(1, VIEWS_MAX + 3):
        log.logged((vote(FIRST, 0, view=view),))
    log.logged((vote(FIRST, 1, view=1), certificate(CertificateKind.NOTAR, [1], view=2)))
    kept = [record.view for record in log.newest()]
    assert kept == list(range(VIEWS_MAX + 2, 2, -1))


def test_evidence_is_counted_by_voter() -> None:
    log = ViewLog()
    for view in (1, 2):
        pair = (vote(FIRST, 3, view=view), vote(FIRST, 3, view=view, block=OTHER))
        log.accused(Evidence(*pair))
    assert log.evidence == {3: 2}
