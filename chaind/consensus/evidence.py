"""What no honest voter signs twice: the pairs of votes that convict.

The list is that of the design page: two different FIRSTs (two proposals are two FIRSTs of the
leader); two FINALIZEs for different blocks; FINALIZE with FIRST(⊥), NULLIFY or any FALLBACK;
FINALIZE(b) with FIRST(b′ ≠ b).
"""

from chaind.primitives.votes import Vote, VoteKind


def contradict(one: Vote, other: Vote) -> bool:
    """Whether the two votes convict their voter; the signatures are checked elsewhere."""
    if (one.epoch, one.view, one.voter) != (other.epoch, other.view, other.voter):
        return False
    if one.kind is other.kind:
        return one.kind in (VoteKind.FIRST, VoteKind.FINALIZE) and one.block != other.block
    if VoteKind.FINALIZE not in (one.kind, other.kind):
        return False
    final, said = (one, other) if one.kind is VoteKind.FINALIZE else (other, one)
    return said.kind is not VoteKind.FIRST or said.block != final.block
