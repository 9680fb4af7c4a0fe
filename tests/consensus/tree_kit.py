"""Trees of headers that did real, easy work, and branches to grow in them."""

from header_kit import BEGIN, EASY, NOW, mine

from chaind.consensus.pow.base import Base
from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.orphans import Orphans
from chaind.consensus.pow.retarget import Anchor
from chaind.consensus.pow.tree import Tree
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.work import WorkParameters, target_of, work_of

GENESIS = mine(parent=ZERO_HASH, time=BEGIN, bits=EASY)
SPACING_S = 600
PLAIN = WorkParameters(retarget="bitcoin", limit_bits=EASY, target_spacing_ms=600_000, window=2016)
WINDOWED = WorkParameters(
    retarget="bitcoin",
    limit_bits=EASY,
    target_spacing_ms=600_000,
    window=4,
    max_future_ms=3_600_000,
)
BIP94 = WorkParameters(
    retarget="bitcoin-bip94", limit_bits=EASY, target_spacing_ms=600_000, window=3
)
ASERT = WorkParameters(
    retarget="asert", limit_bits=EASY, target_spacing_ms=600_000, half_life_ms=3_600_000
)
SPACED = WorkParameters(
    retarget="asert",
    limit_bits=EASY,
    target_spacing_ms=600_000,
    half_life_ms=3_600_000,
    min_block_interval_ms=60_000,
)


class Finals:
    """Final blocks by height."""

    def __init__(self, *hashes: bytes) -> None:
        self.hashes = list(hashes)

    def height_of(self, block_hash: bytes) -> int | None:
        return self.hashes.index(block_hash) if block_hash in self.hashes else None

    def hash_at(self, height: int) -> bytes:
        return self.hashes[height]


def make_tree(
    parameters: WorkParameters, orphans: Orphans | None = None, side_max: int = 1_000
) -> tuple[Tree, Finals]:
    """A tree on block 0."""
    work = work_of(target_of(EASY))
    base = Base(sha256d(GENESIS), 0, EASY, (BEGIN,), work, BEGIN)
    anchor = Anchor(height=1, bits=EASY, parent_time=BEGIN)
    finals = Finals(base.hash)
    tree = Tree(
        parameters=parameters,
        base=base,
        anchor=anchor,
        finals=finals,
        orphans=orphans,
        side_max=side_max,
    )
    return tree, finals


def child(tree: Tree, parent: Entry, seconds: int = SPACING_S, **fields: int) -> bytes:
    """A header that holds on a parent, unless `fields` say otherwise."""
    made = {"time": parent.time + seconds, "bits": tree.next_bits(parent), **fields}
    return mine(parent=parent.hash, **made)


def grow(tree: Tree, parent: Entry, length: int, seconds: int = SPACING_S) -> list[Entry]:
    """A branch of so many headers; the times tell it from others."""
    branch: list[Entry] = []
    for _ in range(length):
        on = branch[-1] if branch else parent
        [entry] = tree.hear(child(tree, on, seconds), now=NOW).added
        branch.append(entry)
    return branch


def hold(tree: Tree, branch: list[Entry]) -> None:
    for entry in branch:
        tree.hold(entry.hash)
