"""Persist, then speak: the effects of one step, and what they wait for.

Everything that carries an own signature waits for all records logged so far; what merely passes on
others' words goes at once.
"""

from chaind.consensus.bundles import BUNDLE_MAX, first_bundle
from chaind.consensus.core import (
    Certificates,
    CoreMessage,
    Effect,
    Persist,
    Record,
    Send,
    Votes,
)
from chaind.primitives.votes import Certificate, Vote, bitmap_indices


class Outbox:
    """Collects the effects of a step; `flush` ends it."""

    __slots__ = ("_bodies", "_effects", "_me", "_records", "_sends", "_votes", "durable", "seq")

    def __init__(self, me: int | None) -> None:
        self._me = me
        self.seq = 0  # of the newest Persist
        self.durable = 0  # of the newest Persisted
        self._records: list[Record] = []
        self._bodies: list[bytes] = []
        self._votes: list[Vote] = []
        self._sends: list[tuple[int | None, CoreMessage, bool]] = []
        self._effects: list[Effect] = []

    def log(self, record: Record, body: bytes | None = None) -> int:
        """Have a record, and the body it speaks for, synced; the seq to wait for."""
        self._records.append(record)
        if body is not None and body not in self._bodies:
            self._bodies.append(body)
        return self.seq + 1

    def say(self, vote: Vote) -> None:
        """Send an own vote to all; the votes of a step leave as one bundle."""
        self._votes.append(vote)

    def send(self, to: int | None, message: CoreMessage, *, own: bool) -> None:
        """Send; `own`: it may carry an own signature."""
        self._sends.append((to, message, own))

    def send_certificates(self, to: int | None, certificates: tuple[Certificate, ...]) -> None:
        """Send certificates in messages of bounded size."""
        while certificates:
            chunk = first_bundle(certificates)
            self.send(to, Certificates(chunk), own=any(map(self._signed, chunk)))
            certificates = certificates[len(chunk) :]

    def send_votes(self, to: int | None, votes: list[Vote]) -> None:
        """Send own votes in messages of bounded size."""
        for start in range(0, len(votes), BUNDLE_MAX):
            self.send(to, Votes(tuple(votes[start : start + BUNDLE_MAX])), own=True)

    def act(self, effect: Effect) -> None:
        """Any other effect."""
        self._effects.append(effect)

    def flush(self) -> tuple[Effect, ...]:
        """The effects of the step: what to sync, what to send, what to do."""
        done: list[Effect] = []
        if self._records:
            self.seq += 1
            done.append(Persist(tuple(self._records), tuple(self._bodies), self.seq))
            self._records, self._bodies = [], []
        after = self.seq if self.seq > self.durable else None
        if self._votes:
            done.append(Send(None, Votes(tuple(self._votes)), after))
            self._votes = []
        if self._sends:
            done.extend(Send(to, what, after if own else None) for to, what, own in self._sends)
            self._sends = []
        if self._effects:
            done.extend(self._effects)
            self._effects = []
        return tuple(done)

    def _signed(self, certificate: Certificate) -> bool:
        me = self._me
        return me is not None and (
            me in bitmap_indices(certificate.primary) or me in bitmap_indices(certificate.secondary)
        )
