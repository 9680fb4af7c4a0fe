"""The laws of a network of cores, seen from outside all nodes, and checked as a run goes.

One final block per height; an honest voter never contradicts what it said aloud.
"""

from collections import Counter

from simplex_kit import GENESIS, digest

from chaind.consensus.core import BlockRef
from chaind.consensus.evidence import contradict
from chaind.primitives.votes import Vote, VoteKind


class Broken(AssertionError):
    """A law does not hold."""


class World:
    """The laws, seen from outside all nodes."""

    def __init__(self) -> None:
        genesis = digest(GENESIS)
        self.blocks: dict[bytes, BlockRef] = {}
        self.heights = {genesis: 0}
        self.final = {0: genesis}
        self.said: dict[tuple[int, int], dict[Vote, None]] = {}
        self.seen: Counter[str] = Counter()

    def add(self, block: BlockRef) -> None:
        """A block exists."""
        self.blocks[block.hash] = block
        self.heights[block.hash] = self.heights[block.parent_hash] + 1

    def finalise(self, block_hash: bytes) -> int:
        """An honest node holds the block for final; its height. One block per height."""
        height = number = self.heights[block_hash]
        while self.final.get(number) != block_hash:
            if number in self.final:
                raise Broken(f"two final blocks at height {number}")
            self.final[number] = block_hash
            block_hash, number = self.blocks[block_hash].parent_hash, number - 1
        return height

    def hear(self, vote: Vote) -> None:
        """An honest voter said this aloud. It must agree with all it ever said."""
        said = self.said.setdefault((vote.voter, vote.view), {})
        if vote in said:
            return
        for other in said:
            if contradict(other, vote):
                raise Broken(f"contradiction: {other} and {vote}")
        # After a restart certificates go out first, and its FINALIZE may be heard before its FIRST.
        late = vote.kind is not VoteKind.FIRST
        if late and any(other.kind is VoteKind.FINALIZE for other in said):
            raise Broken(f"{vote} after FINALIZE")
        if vote.kind is VoteKind.FALLBACK:
            self.seen["fallback"] += 1
        said[vote] = None
