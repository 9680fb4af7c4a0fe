"""The seam between a consensus core and its shell: events in, effects out.

A core is one object with one method, `step`. It decides what is true to say; the shell does
everything else: it checks signatures before `Message`, finds and executes bodies, keeps time,
syncs, sends. What the shell owes:

* effects of one step run in the order given; `after=seq` means "not before the records of
  `Persist(seq)` and of every earlier one, and the bodies that they name, are durable".
  `Persisted(seq)` is then due. Records become durable in order: a crash loses a suffix only;
* votes and certificates reach the core with their signatures checked. Those that the core does not
  want (`wants_*`) are dropped from a message before the check, never passed on unchecked. The
  vote inside a wanted proposal is always checked: it is all that a proposal has for a signature;
* every `Check` and `Fetch` is answered by a `CheckedBlock`, as soon as the body is held with all
  its ancestors. A block in doubt is `UNTIMELY` now and `OK` by another `CheckedBlock` later;
* a `BlockRef` is read off the header, so that `hash` binds `parent_hash` and `view`;
* setting a timer replaces the one of the same id; a timer that was replaced does not fire.

Peers are opaque handles of the shell. Hashes are 32 raw bytes, times milliseconds.
"""

from enum import IntEnum
from typing import Protocol

from msgspec import Struct

from chaind.primitives.votes import Certificate, Vote

Record = Vote | Certificate  # what a core logs; `records.py` has the bytes


class BlockRef(Struct, frozen=True, array_like=True, gc=False):
    """What a core knows of a block. `parent_view` is where its parent was certified: a hint."""

    hash: bytes
    view: int
    parent_hash: bytes
    parent_view: int


class Verdict(IntEnum):
    """What execution says of a block."""

    OK = 0
    UNTIMELY = 1  # valid, but not yet to be voted FIRST for (clock drift, not yet buried)
    NEVER = 2  # permanently invalid


class TimerId(IntEnum):
    """The timers of a core."""

    VIEW = 0
    WORK = 1
    RETRANSMIT = 2


class Timing(Struct, frozen=True, kw_only=True):
    """What the whole network assumes about time. `delta_ms` bounds one message delay (Δ)."""

    delta_ms: int
    block_budget_ms: int
    empty_block_interval_ms: int


# Messages between cores.


class Propose(Struct, frozen=True, gc=False):
    """A block, why it may follow, and its leader's FIRST vote, the only signature."""

    block: BlockRef
    justification: tuple[Certificate, ...]
    vote: Vote


class Votes(Struct, frozen=True, gc=False):
    """BUNDLE: any votes."""

    votes: tuple[Vote, ...]


class Certificates(Struct, frozen=True, gc=False):
    """CERT: any certificates."""

    certificates: tuple[Certificate, ...]


class StatusMessage(Struct, frozen=True, gc=False):
    """STATUS: where the sender stands."""

    epoch: int
    view: int
    final_view: int
    final_hash: bytes


class GetCertificates(Struct, frozen=True, gc=False):
    """Asks for the certificates of views within [from_view, to_view]."""

    from_view: int
    to_view: int


CoreMessage = Propose | Votes | Certificates | StatusMessage | GetCertificates


# Events.


class Start(Struct, frozen=True, gc=False):
    """First event: the log so far, in order. Records below the last final view may be missing."""

    records: tuple[Record, ...]


class Message(Struct, frozen=True, gc=False):
    """A peer's message, its signatures checked."""

    sender: int
    message: CoreMessage


class TimerFired(Struct, frozen=True, gc=False):
    """The timer ran out."""

    timer: TimerId


class CandidateBuilt(Struct, frozen=True, gc=False):
    """Answer to `Build`: a block that is held and checked."""

    block: BlockRef


class CheckedBlock(Struct, frozen=True, gc=False):
    """Answer to `Check` and `Fetch`: the body is held, this is what execution says."""

    block_hash: bytes
    verdict: Verdict


class Persisted(Struct, frozen=True, gc=False):
    """Everything up to `Persist(seq)` is durable."""

    seq: int


class WorkChanged(Struct, frozen=True, gc=False):
    """Whether a selectable transaction waits; sent on change only."""

    has_work: bool


Event = Start | Message | TimerFired | CandidateBuilt | CheckedBlock | Persisted | WorkChanged


# Effects.


class Persist(Struct, frozen=True, gc=False):
    """Append the records, sync them together with the bodies of these blocks."""

    records: tuple[Record, ...]
    bodies: tuple[bytes, ...]
    seq: int


class Send(Struct, frozen=True, gc=False):
    """Send to one peer, or to all (None), once `after` is durable."""

    to: int | None
    message: CoreMessage
    after: int | None


class SetTimer(Struct, frozen=True, gc=False):
    """(Re)start a timer."""

    timer: TimerId
    delay_ms: int


class CancelTimer(Struct, frozen=True, gc=False):
    """Stop a timer."""

    timer: TimerId


class Build(Struct, frozen=True, gc=False):
    """Build a block for `view` on a parent that was checked; a later Build replaces it.

    The answer is `CandidateBuilt` with this view, parent and parent view, or nothing.
    """

    view: int
    parent_hash: bytes
    parent_view: int


class Check(Struct, frozen=True, gc=False):
    """Complete and execute the body of a proposed block, after missing ancestors if there are."""

    block: BlockRef


class Fetch(Struct, frozen=True, gc=False):
    """Get a block known by its hash alone, with any missing ancestors, and execute it.

    `sender` is a peer that should have it; None: anyone, this disk first.
    """

    block_hash: bytes
    sender: int | None


class Deliver(Struct, frozen=True, gc=False):
    """The block and its ancestors are final. The certificate is durable, the body checked."""

    block_hash: bytes
    certificate: Certificate


class Evidence(Struct, frozen=True, array_like=True, gc=False):
    """Two votes of one voter in one view that no honest voter signs both of."""

    first: Vote
    second: Vote


class Report(Struct, frozen=True, gc=False):
    """Proof of misbehaviour, once per voter and view."""

    evidence: Evidence


class Halt(Struct, frozen=True, gc=False):
    """This node contradicts the network, or the network itself: stop, and say why."""

    reason: str


Effect = Persist | Send | SetTimer | CancelTimer | Build | Check | Fetch | Deliver | Report | Halt


class Core(Protocol):
    """What every consensus algorithm offers its shell."""

    def step(self, event: Event) -> tuple[Effect, ...]:
        """Take one event in; what to do about it, in order."""

    def status(self) -> StatusMessage:
        """Where this node stands; to be sent to every peer that connects."""

    def wants_vote(self, vote: Vote) -> bool:
        """Whether the vote says anything new; ask before checking its signature."""

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether the certificate proves anything new."""

    def wants_proposal(self, proposal: Propose) -> bool:
        """Whether the proposal is its leader's, and new."""
