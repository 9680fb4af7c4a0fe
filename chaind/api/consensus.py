"""How the validators agree, view by view, and the block that is being filled: for people to watch.

Votes are shown as this node counted them. Who came after a view was decided is not among its
voters, so a missing one was later than the quorum, not necessarily silent.
"""

from chaind.api.answers import Answer
from chaind.api.forms import maybe
from chaind.node.node import Node
from chaind.node.view_log import ViewRecord
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import CertificateKind, VoteKind, voters_of

VIEWS_SHOWN = 24
_OUTCOMES = {
    None: "open",
    CertificateKind.NULL: "nullified",
    CertificateKind.NOTAR: "notarized",
    CertificateKind.FINAL: "final",
    CertificateKind.FAST: "fast",
}


class ViewForm(Answer, frozen=True, kw_only=True):
    """One view: who leads it, whose votes of each kind counted, how it ended.

    `outcome` is open, nullified (no block), notarized (certified, final with a later block), final
    (two rounds of votes) or fast (one). A FIRST vote for no block stands under `nullify`.
    """

    view: int
    leader: int
    outcome: str
    height: int | None
    block_hash: str | None
    first: list[int]
    fallback: list[int]
    nullify: list[int]
    finalize: list[int]


class VoterForm(Answer, frozen=True, kw_only=True):
    """A validator over the last `window` ended views: in how many its votes counted, how many it
    led, how many of those ended without a block. `evidence` counts proofs of misbehaviour that
    this node has seen since it started."""

    index: int
    name: str
    weight: int
    voted: int
    led: int
    missed: int
    evidence: int


class NextBlockForm(Answer, frozen=True, kw_only=True):
    """What waits for the next block. `leader` is whose turn it is, null on a chain of miners;
    `oldest_ms` when the oldest waiting transaction came."""

    height: int
    leader: int | None
    transactions: int
    bytes: int
    bytes_max: int
    oldest_ms: int | None


class ConsensusAnswer(Answer, frozen=True, kw_only=True):
    """`quorum` and `fast` are weights of `weight` in all; `views` are the newest, newest first.

    On a chain of miners nobody votes: all of it is 0 or empty but the next block.
    """

    view: int
    weight: int
    quorum: int
    fast: int
    views: list[ViewForm]
    window: int
    validators: list[VoterForm]
    next_block: NextBlockForm


def consensus_answer(node: Node) -> ConsensusAnswer:
    """What this node sees of the agreement now."""
    records = node.engine.views.newest()
    ended = [record for record in records if record.kind is not None]
    quorums = node.quorums
    return ConsensusAnswer(
        view=node.engine.view,
        weight=0 if quorums is None else quorums.total,
        quorum=0 if quorums is None else quorums.quorum,
        fast=0 if quorums is None else quorums.fast,
        views=[_view_form(node, record) for record in records[:VIEWS_SHOWN]],
        window=len(ended),
        validators=_voter_forms(node, ended),
        next_block=_next_block(node),
    )


def _view_form(node: Node, record: ViewRecord) -> ViewForm:
    def voters(kind: VoteKind) -> list[int]:
        return voters_of(record.voters.get(kind, 0))

    return ViewForm(
        view=record.view,
        leader=node.leader(record.view),
        outcome=_OUTCOMES[record.kind],
        height=None if record.block is None else node.queries.height_of(record.block),
        block_hash=maybe(display_hash, record.block),
        first=voters(VoteKind.FIRST),
        fallback=voters(VoteKind.FALLBACK),
        nullify=voters(VoteKind.NULLIFY),
        finalize=voters(VoteKind.FINALIZE),
    )


def _voter_forms(node: Node, ended: list[ViewRecord]) -> list[VoterForm]:
    validators = node.genesis.validators
    voted, led, missed = ([0] * len(validators) for _ in range(3))
    for record in ended:
        for voter in voters_of(record.heard()):
            voted[voter] += 1
        leader = node.leader(record.view)
        led[leader] += 1
        missed[leader] += record.kind is CertificateKind.NULL
    return [
        VoterForm(
            index=index,
            name=validator.name,
            weight=validator.weight,
            voted=voted[index],
            led=led[index],
            missed=missed[index],
            evidence=node.engine.views.evidence.get(index, 0),
        )
        for index, validator in enumerate(validators)
    ]


def _next_block(node: Node) -> NextBlockForm:
    oldest = next(node.pool.entries(), None)
    return NextBlockForm(
        height=(node.chain.final if node.quorums else node.chain.head).height + 1,
        leader=node.leader(node.engine.view) if node.quorums else None,
        transactions=len(node.pool),
        bytes=node.pool.bytes_total,
        bytes_max=node.genesis.parameters.block_bytes_max,
        oldest_ms=maybe(lambda entry: entry.received_ms, oldest),
    )
