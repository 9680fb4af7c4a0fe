"""The final chain's headers, as the tree stands on them and as peers ask for them."""

from chaind.consensus.pow.base import Base
from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.errors import HeaderUnlinked
from chaind.consensus.pow.headers import HeaderChain
from chaind.consensus.pow.retarget import Anchor
from chaind.consensus.pow.summing import Sum
from chaind.consensus.pow.sync import HEADERS_MAX
from chaind.consensus.pow.times import MEDIAN_SPAN
from chaind.consensus.pow.tree import Tree
from chaind.primitives.block import Header
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.work import target_of, work_of
from chaind.storage.chain_store import ChainStore

TIME_END = 2**32  # later than every header: what is final was not too new when it came


class HeadersDamaged(LocalFault):
    """The stored headers of the final chain are no chain, or not that of the tip."""

    code = "headers-damaged"
    exit_code = 70
    text = "the stored headers do not lead to the final block {height} ({hash}): {reason}"
    advice = (
        "Move the directory `chain` of the node's home away: the node fetches all blocks again."
    )


def stored_base(genesis: Genesis, store: ChainStore) -> Base:
    """The last final block with the work of all below it, added up from the stored headers.

    Raises `HeadersDamaged`.
    """
    tip, window = store.tip, genesis.proof_of_work.rules.window
    first = genesis.header()
    chain = Sum(height=0, block_hash=genesis.hash, chainwork=work_of(target_of(first.bits)))
    shown = {"height": tip.height, "hash": display_hash(tip.hash)}
    try:
        chain.add(store.headers(1, tip.height + 1))
    except HeaderUnlinked as error:
        raise HeadersDamaged(**shown, reason=error) from error
    if (chain.height, chain.hash) != (tip.height, tip.hash):
        raise HeadersDamaged(**shown, reason=f"they end at {chain.height}")
    last = [first, *_decoded(store, tip.height + 1 - MEDIAN_SPAN, tip.height + 1)]
    opened = tip.height - tip.height % window
    window_time = _decoded(store, opened, opened + 1)[0].time if opened else first.time
    return Base(
        hash=tip.hash,
        height=tip.height,
        bits=last[-1].bits,
        times=tuple(header.time for header in last[-MEDIAN_SPAN:]),
        chainwork=chain.chainwork,
        window_time=window_time,
    )


def _decoded(store: ChainStore, start: int, stop: int) -> list[Header]:
    return [Header.decode(header) for header in store.headers(max(1, start), stop)]


def first_headers(genesis: Genesis) -> HeaderChain:
    """Block 0 of a mined chain, for those after it to be verified and added up."""
    rules = genesis.proof_of_work.rules
    chain = HeaderChain(parameters=rules, now=TIME_END, genesis=genesis.hash)
    chain.feed(genesis.header().encode())
    return chain


def first_anchor(genesis: Genesis) -> Anchor:
    """What an asert schedule hangs on: block 1, whose bits are block 0's."""
    header = genesis.header()
    return Anchor(height=1, bits=header.bits, parent_time=header.time)


class StoredFinals:
    """See `consensus.pow.tree.Finals`."""

    def __init__(self, genesis: Genesis, store: ChainStore) -> None:
        self._genesis_hash = genesis.hash
        self._store = store

    def height_of(self, block_hash: bytes) -> int | None:
        """Height of a final block."""
        return self._store.height_of(block_hash)

    def hash_at(self, height: int) -> bytes:
        """The final block of a height."""
        if height == 0:
            return self._genesis_hash
        row = self._store.block_row(height)
        assert row is not None, "the base and all below it are final"
        return row.hash


def serve_headers(store: ChainStore, tree: Tree, head: Entry, locator: tuple[bytes, ...]) -> bytes:
    """Headers of the chain up to `head` after the first hash of `locator` that stands in it.

    Empty where none of them is known, not even block 0.
    """
    for block_hash in locator:
        entry = tree.get(block_hash)
        if entry is not None and entry.height <= head.height:
            if tree.ancestor(head, entry.height) is entry:
                return _headers_from(store, tree, head, entry.height + 1)
        elif (height := store.height_of(block_hash)) is not None:
            return _headers_from(store, tree, head, height + 1)
    return b""


def _headers_from(store: ChainStore, tree: Tree, head: Entry, start: int) -> bytes:
    """At most `HEADERS_MAX` headers from a height on."""
    stop = min(head.height + 1, start + HEADERS_MAX)
    base = tree.base.height
    found = list(store.headers(start, min(stop, base + 1)))
    if stop > base + 1:
        at = tree.ancestor(head, stop - 1)
        above = []
        while at.height >= max(start, base + 1):
            above.append(at.header)
            assert at.parent is not None, "the base ends the walk"
            at = at.parent
        found += reversed(above)
    return b"".join(found)
