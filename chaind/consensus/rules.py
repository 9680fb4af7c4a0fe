"""Rules 3 to 6 of Epidemic Simplex: what an honest voter says in a view, given what it knows.

Pure functions of one view. Rules 3, 4 and 5 speak in the current view only; rule 6 in any
view above the last decided one, once that view has ended.
"""

from collections.abc import Callable

from chaind.consensus.core import BlockRef, Verdict
from chaind.consensus.views import View
from chaind.primitives.votes import VoteKind

Say = tuple[VoteKind, bytes | None]


def first_vote(
    view: View,
    leader: int,
    expired: bool,
    justified: Callable[[BlockRef], bool],
    verdict: Callable[[bytes], Verdict | None],
) -> Say | None:
    """Rule 3, First vote, for a voter whose FIRST is unset and who finalised nothing here."""
    said = view.tally.firsts.get(leader)
    if expired or (said is not None and said.block is None):
        return VoteKind.FIRST, None
    for block in view.proposals.values():
        found = verdict(block.hash)
        if found is None or not justified(block):
            continue
        if found is Verdict.OK:
            return VoteKind.FIRST, block.hash
        if found is Verdict.NEVER:
            return VoteKind.FIRST, None
    return None


def second_vote(
    view: View, me: int, own: bytes | None, valid: Callable[[bytes], bool]
) -> Say | None:
    """Rules 4 and 5, for a voter whose FIRST was for `own` (⊥: None)."""
    tally = view.tally
    threshold = tally.quorums.threshold
    # Rule 4, Fallback.
    for block, weight in tally.first_weight.items():
        if weight < threshold or block is None or block == own or not valid(block):
            continue
        if all(vote.block != block for vote in tally.fallbacks.get(me, ())):
            return VoteKind.FALLBACK, block
    # Rule 5, Contradiction.
    if own is not None and me not in tally.nullifies:
        against = tally.firsts_weight - tally.first_weight[own]
        if against >= threshold:
            return VoteKind.NULLIFY, None
    return None


def final_vote(view: View, me: int, valid: Callable[[bytes], bool]) -> Say | None:
    """Rule 6, Finalize."""
    tally = view.tally
    first = tally.firsts.get(me)
    if me in tally.nullifies or me in tally.fallbacks:
        return None
    for block in view.notars:
        if (first is None or first.block == block) and valid(block):
            return VoteKind.FINALIZE, block
    return None
