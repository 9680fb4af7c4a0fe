"""Deliberate mistakes in the protocol, each of which some test must catch."""

from collections.abc import Callable

import pytest

from chaind.consensus import rules
from chaind.consensus.core import Effect, Record, Send
from chaind.consensus.outbox import Outbox
from chaind.consensus.pace import Stage
from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.consensus.views import View
from chaind.primitives.votes import Certificate, VoteKind


def threshold(offset: int) -> Callable[[int], Quorums]:
    """Quorums with another T."""

    def quorums(n: int) -> Quorums:
        wrong = Quorums([1] * n)
        wrong.threshold += offset
        return wrong

    return quorums


def fast(offset: int) -> Callable[[int], Quorums]:
    """Quorums with another F."""

    def quorums(n: int) -> Quorums:
        wrong = Quorums([1] * n)
        wrong.fast += offset
        return wrong

    return quorums


class NullifiesLate(Simplex):
    """Says against the view when its timer runs out, although it said FIRST(b)."""

    def _speak(self) -> bool:
        if super()._speak():
            return True
        facts = self._facts
        me = facts.me
        if me is None or self._pace.stage is not Stage.EXPIRED:
            return False
        view = facts.chain.at(facts.view)
        first = view.tally.firsts.get(me)
        silent = me in view.tally.nullifies or me in view.tally.finalizes
        if first is None or first.block is None or silent:
            return False
        self._say(view, me, (VoteKind.NULLIFY, None))
        return True


def finalize_after_fallback(patch: pytest.MonkeyPatch) -> None:
    """Rule 6 without its clause on FALLBACK."""

    def final_vote(view: View, me: int, valid: Callable[[bytes], bool]) -> rules.Say | None:
        tally = view.tally
        first = tally.firsts.get(me)
        if me in tally.nullifies:
            return None
        for block in view.notars:
            fell_back = any(vote.block == block for vote in tally.fallbacks.get(me, ()))
            if (first is None or first.block == block or fell_back) and valid(block):
                return VoteKind.FINALIZE, block
        return None

    patch.setattr(rules, "final_vote", final_vote)


def speak_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Sends wait for nothing."""
    flush = Outbox.flush

    def hasty(self: Outbox) -> tuple[Effect, ...]:
        return tuple(
            Send(one.to, one.message, None) if isinstance(one, Send) else one for one in flush(self)
        )

    patch.setattr(Outbox, "flush", hasty)


def log_no_certificates(patch: pytest.MonkeyPatch) -> None:
    """Only votes and decisions are logged."""
    log = Outbox.log

    def forgetful(self: Outbox, record: Record, body: bytes | None = None) -> int:
        if isinstance(record, Certificate) and record.kind in (0, 1):
            return self.durable
        return log(self, record, body)

    patch.setattr(Outbox, "log", forgetful)
