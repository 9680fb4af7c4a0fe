"""Small things that every consensus test needs: cores with fake keys, votes, certificates, names.

A block is named by a short text; its hash is that text padded to 32 bytes, so that failures can be
read. Signatures are 64 bytes that tell who said what: the core never looks at them.
"""

from collections.abc import Callable, Sequence

from chaind.consensus.core import (
    BlockRef,
    Build,
    CancelTimer,
    Certificates,
    Check,
    Deliver,
    Effect,
    Fetch,
    GetCertificates,
    Halt,
    Persist,
    Propose,
    Record,
    Report,
    Send,
    SetTimer,
    Start,
    StatusMessage,
    Timing,
    Votes,
)
from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind, bitmap

TIMING = Timing(delta_ms=100, block_budget_ms=50, empty_block_interval_ms=2000)
GENESIS = "genesis"
EPOCH = 1


def digest(name: str) -> bytes:
    """The hash of the block of that name."""
    return name.encode().ljust(32, b".")


def name_of(block: bytes | None) -> str:
    """The name of the block of that hash; ⊥ for none."""
    return "⊥" if block is None else block.rstrip(b".").decode()


def signer(me: int) -> Callable[[VoteKind, int, bytes | None], bytes]:
    """Deterministic stand-in for a key."""

    def sign(kind: VoteKind, view: int, block: bytes | None) -> bytes:
        said = b"%d:%d:%d:" % (me, kind, view) + (block or b"")
        return said[:64].ljust(64, b"\0")

    return sign


def vote(voter: int, kind: VoteKind, view: int, block: str | bytes | None = None) -> Vote:
    """A vote as its voter would sign it."""
    block_hash = digest(block) if isinstance(block, str) else block
    signature = signer(voter)(kind, view, block_hash)
    return Vote(EPOCH, view, kind, block_hash, voter, signature)


def certificate(
    kind: CertificateKind,
    view: int,
    block: str | None,
    primary: Sequence[int],
    secondary: Sequence[int] = (),
) -> Certificate:
    """A certificate of those voters."""
    return Certificate(
        EPOCH,
        view,
        kind,
        None if block is None else digest(block),
        bitmap(primary),
        bitmap(secondary),
        (b"s" * 64,) * (len(primary) + len(secondary)),
    )


def block(name: str, view: int, parent: str = GENESIS, parent_view: int = 0) -> BlockRef:
    """A block on a parent."""
    return BlockRef(digest(name), view, digest(parent), parent_view)


def make_core(
    n: int = 4,
    me: int | None = 0,
    *,
    final: str = GENESIS,
    final_view: int = 0,
    kind: type[Simplex] = Simplex,
    quorums: Quorums | None = None,
    timing: Timing = TIMING,
) -> Simplex:
    """A core that was not started. Validator v mod n leads view v."""
    return kind(
        epoch=EPOCH,
        quorums=Quorums([1] * n) if quorums is None else quorums,
        me=me,
        final_hash=digest(final),
        final_view=final_view,
        timing=timing,
        leader=lambda view: view % n,
        sign=signer(-1 if me is None else me),
    )


def start(core: Simplex, records: Sequence[Record] = ()) -> tuple[Effect, ...]:
    """Start a core on its log."""
    return core.step(Start(tuple(records)))


def show_vote(one: Vote) -> str:
    """`FIRST 3 a`; a NULLIFY names no block."""
    if one.kind is VoteKind.NULLIFY:
        return f"NULLIFY {one.view}"
    return f"{one.kind.name} {one.view} {name_of(one.block)}"


def show_certificate(one: Certificate) -> str:
    """`NOTAR 3 a`."""
    if one.kind is CertificateKind.NULL:
        return f"NULL {one.view}"
    return f"{one.kind.name} {one.view} {name_of(one.block)}"


def show_send(send: Send) -> str:
    """What is sent, to whom, and what it waits for."""
    match send.message:
        case Votes(votes):
            text = "say " + ", ".join(map(show_vote, votes))
        case Propose(block_ref, _, _):
            text = f"propose {block_ref.view} {name_of(block_ref.hash)}"
        case Certificates(certificates):
            text = "show " + ", ".join(map(show_certificate, certificates))
        case StatusMessage():
            text = "status"
        case GetCertificates(first, last):
            text = f"ask {first}-{last}"
    to = "" if send.to is None else f" to {send.to}"
    return text + to + ("" if send.after is None else f" @{send.after}")


def show(effect: Effect) -> str:
    """One line for one effect."""
    match effect:
        case Send():
            return show_send(effect)
        case Persist(records, bodies, seq):
            what = [show_vote(r) if isinstance(r, Vote) else show_certificate(r) for r in records]
            with_bodies = "".join(f" +{name_of(body)}" for body in bodies)
            return f"log{seq} " + ", ".join(what) + with_bodies
        case SetTimer(timer, delay_ms):
            return f"timer {timer.name} {delay_ms}"
        case CancelTimer(timer):
            return f"cancel {timer.name}"
        case Build(view, parent, parent_view):
            return f"build {view} on {name_of(parent)}({parent_view})"
        case Check(block_ref):
            return f"check {name_of(block_ref.hash)}"
        case Fetch(block_hash, sender):
            return f"fetch {name_of(block_hash)}" + ("" if sender is None else f" from {sender}")
        case Deliver(block_hash, proof):
            return f"deliver {name_of(block_hash)} by {proof.kind.name}"
        case Report(evidence):
            return f"report {evidence.first.voter}"
        case Halt():
            return "halt"
