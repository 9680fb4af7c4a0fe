"""`submit`: the one door for transactions, from clients and from peers.

Cheap to dear: form → signatures (a batch, by processes when it is large) → the state that clients
go by (`Chain.tip`) → the pool → for a client's transaction the journal. A client is answered after
the journal's fsync. A refusal here comes before the journal, so it never contradicts an acceptance.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec

from chaind.ledger.checks import Checked, check_transaction, judge_signature, signature_checks
from chaind.ledger.errors import REFUSALS, AlreadyApplied, BadSignature
from chaind.ledger.execute import Context, check_on_state
from chaind.ledger.keys import decode_units
from chaind.mempool.pool import Dropped, Pool
from chaind.node.chain import Chain
from chaind.node.clock import Clock, Workers
from chaind.node.durable import GroupCommit
from chaind.node.events import DroppedEvent, Events, PendingEvent
from chaind.node.tracker import Tracker
from chaind.primitives.errors import ChaindError, TooMany
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import verify_packed
from chaind.primitives.transaction import Transaction

INLINE_SIGNATURES_MAX = 4  # up to so many, asking a process takes longer than the checks
VERIFIED_REMEMBERED_MAX = 100_000  # wtxids; 10 MiB, five seconds of 20,000/s
REFUSED_REMEMBERED_MAX = 20_000  # wtxids with a broken form or signature; 2 MiB


class Submission(msgspec.Struct, frozen=True):
    """What became of one submitted transaction: accepted (`known` if it was here) or an error."""

    txid: bytes | None
    error: ChaindError | None
    known: bool


class Verifier:
    """Signature checks in batches: a few on the loop, many by the workers, each once.

    A transaction may come twice, by gossip and in a block that had to be fetched. What was verified
    is remembered by wtxid, which covers the signatures; a txid does not.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._verified: OrderedDict[bytes, None] = OrderedDict()  # wtxids, oldest first

    async def verify(self, batch: Sequence[Checked]) -> list[BadSignature | None]:
        """The error of each transaction, None where all its signatures verify."""
        known = self._verified
        checks = [
            () if checked.transaction.wtxid in known else signature_checks(checked)
            for checked in batch
        ]
        flat = [check for some in checks for check in some]
        if len(flat) <= INLINE_SIGNATURES_MAX:
            verdicts = verify_packed(b"".join(flat))
        else:
            verdicts = await self._workers.verify(flat)
        errors: list[BadSignature | None] = [None] * len(batch)
        if 0 in verdicts:
            left = iter(verdicts)
            errors = [_judge(some, islice(left, len(some))) for some in checks]
        self._remember(batch, errors)
        return errors

    def _remember(self, batch: Sequence[Checked], errors: Sequence[BadSignature | None]) -> None:
        verified = self._verified
        for checked, error in zip(batch, errors, strict=True):
            if error is None:
                verified[checked.transaction.wtxid] = None
        while len(verified) > VERIFIED_REMEMBERED_MAX:
            verified.popitem(last=False)


def _judge(checks: Sequence[bytes], verdicts: Iterable[int]) -> BadSignature | None:
    """The error of the first that does not verify."""
    found = None
    for check, verdict in zip(checks, verdicts, strict=True):
        try:
            judge_signature(check, verdict)
        except BadSignature as error:
            found = found or error
    return found


class Intake:
    """See the module's law. `relay` is told of every transaction that enters the pool."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: Chain,
        pool: Pool,
        tracker: Tracker,
        commit: GroupCommit,
        verifier: Verifier,
        events: Events,
        clock: Clock,
        is_final: Callable[[bytes], bool],
        on_accepted: Callable[[Sequence[Checked], str | None], None],
    ) -> None:
        self._genesis = genesis
        self._prefix = genesis.chain_prefix
        self._chain = chain
        self._pool = pool
        self._tracker = tracker
        self._commit = commit
        self._verifier = verifier
        self._events = events
        self._clock = clock
        self._is_final = is_final
        self._on_accepted = on_accepted
        self._state = chain.tip_state
        self._dropped: list[Dropped] = []  # driven out and not yet told
        self._refused: OrderedDict[bytes, ChaindError] = OrderedDict()  # oldest first
        self.accepted_total = 0
        self.refused_total = 0

    async def submit(
        self, raws: Sequence[bytes], *, local: bool, source: str | None = None
    ) -> list[Submission]:
        """Take transactions in order; `source` names the peer they came from.

        For `local` ones the result comes after they are durable. Never raises for a bad
        transaction: each has its own error. `LogBacklog` refuses all of them, before any is taken.
        """
        formed = [self._check_form(raw) for raw in raws]
        fresh = [item for item in formed if isinstance(item, Checked)]
        errors = iter(await self._verifier.verify(fresh))
        if local:  # from here to the journal nothing else runs
            self._tracker.check_room(raws)
        accepted: list[Checked] = []
        done: list[Submission] = []
        context, now_ms = self._chain.tip_context(), self._clock.now_ms()
        for item in formed:
            if not isinstance(item, Checked):
                done.append(item)
            elif (bad := next(errors)) is not None:
                self._remember_refusal(item.transaction.wtxid, bad)
                done.append(Submission(item.txid, bad, known=False))
            else:
                result = self._admit(item, context, now_ms)
                done.append(result)
                if result.error is None and not result.known:
                    accepted.append(item)
        self._tell(accepted)
        if local:
            await self._journal(accepted, done)
        if accepted:
            self._on_accepted(accepted, source)
        self.accepted_total += len(accepted)
        self.refused_total += sum(result.error is not None for result in done)
        return done

    def restore(self, checked: Checked) -> ChaindError | None:
        """Put a transaction back into the pool that was in it before; why not, where it cannot."""
        try:
            self._enter(checked, self._chain.tip_context(), self._clock.now_ms())
        except (*REFUSALS, TooMany) as error:
            return error
        self._tell((checked,))
        return None

    def check_form(self, raw: bytes) -> Checked:
        """Decode and check what needs no state and no signature. Raises the broken rule."""
        transaction = Transaction.decode(raw)
        return check_transaction(transaction, self._genesis.parameters, self._prefix)

    def _check_form(self, raw: bytes) -> Checked | Submission:
        try:
            transaction = Transaction.decode(raw)
            wtxid = transaction.wtxid
            if self._pool.has_wtxid(wtxid):
                return Submission(transaction.txid, None, known=True)
            if wtxid in self._refused:
                return Submission(transaction.txid, self._refused[wtxid], known=False)
            return check_transaction(transaction, self._genesis.parameters, self._prefix)
        except REFUSALS as error:
            return Submission(None, error, known=False)

    def _admit(self, checked: Checked, context: Context, now_ms: int) -> Submission:
        """State and pool checks, ending in the pool."""
        txid = checked.txid
        if self._pool.get(txid) is not None:
            return Submission(txid, None, known=True)
        try:
            self._enter(checked, context, now_ms)
        except AlreadyApplied:
            return Submission(txid, None, known=True)
        except (*REFUSALS, TooMany) as error:
            # Its coin may be gone or its time over because it applied; and what was accepted once,
            # and has left the pool since, may still apply.
            if (
                self._is_final(txid)
                or self._tracker.get(txid) is not None
                or self._chain.find(txid) is not None
            ):
                return Submission(txid, None, known=True)
            return Submission(txid, error, known=False)
        return Submission(txid, None, known=False)

    def _enter(self, checked: Checked, context: Context, now_ms: int) -> None:
        """Into the pool, or raise the rule that the state or the pool knows against it."""
        receipt = check_on_state(self._state, checked, context)
        dropped = self._pool.add(receipt, now_ms, self._units)
        if dropped:
            self._dropped += dropped

    def _units(self, row: bytes) -> int:
        return decode_units(self._state.get(row))

    def _tell(self, entered: Sequence[Checked]) -> None:
        """What came into the pool, and what it drove out."""
        if entered:
            self._events.publish(PendingEvent(tuple(entered)))
        dropped, self._dropped = self._dropped, []
        for item in dropped:
            txid = item.entry.checked.txid
            self._events.publish(DroppedEvent(txid, item.reason, item.by, ended=False))

    async def _journal(self, accepted: Sequence[Checked], results: Sequence[Submission]) -> None:
        """Make what was accepted durable, also what a peer had brought before."""
        brought = [
            entry.checked
            for result in results
            if result.known
            and result.txid is not None
            and (entry := self._pool.get(result.txid)) is not None
        ]
        self._tracker.accept((*accepted, *brought))
        await self._commit.durable()

    def _remember_refusal(self, wtxid: bytes, error: ChaindError) -> None:
        if len(self._refused) >= REFUSED_REMEMBERED_MAX:
            self._refused.popitem(last=False)
        self._refused[wtxid] = error.with_traceback(None)  # which would keep its whole batch
