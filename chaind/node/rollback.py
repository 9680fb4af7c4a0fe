"""A stopped node of a mined chain, taken back to a height that it had passed.

There the depth of a block makes it final, on each node for itself: a node that was cut off for too
long, or begun among the wrong peers, holds a chain that the others never take. This is the way out,
and for its operator alone. Validators sign what they make final, so nothing takes that back.

Law: nothing is deleted. The blocks up to the height are replayed into a new directory, which then
takes the place of the old one; the old one keeps all its bytes under another name. Transactions of
the blocks above go into the new intake journal, and so are pending again. A crash before the end
leaves the old directory in its place; between the two renames, the next start makes the second.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from chaind.node.audit_home import NeverRan, open_store
from chaind.node.home import Home, NoHome
from chaind.node.recovery import Disk, open_disk
from chaind.node.replay import Replay
from chaind.primitives.block import Block
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.storage.chain_store import ChainStore
from chaind.storage.files import OsFiles
from chaind.storage.lock import DirectoryLock

MAKING = "chain.rollback"  # what a crash leaves of it is begun anew
BEFORE = "chain.before-rollback"
JOURNAL_SYNC_RECORDS = 10_000  # well below what a log holds in memory

Progress = Callable[[int, int], None]  # blocks done, blocks in all

log = structlog.get_logger("chaind.rollback")


class FinalForEver(LocalFault):
    """Blocks of validators are final by their signatures."""

    code = "final-for-ever"
    exit_code = 1
    text = "block {height} is final by the certificates of the validators: no node takes it back"
    advice = (
        "Run `chaind audit` to see whether the chain is sound. A node whose files are damaged "
        "repairs them from the others when it starts."
    )


class NothingAbove(LocalFault):
    """The chain does not reach that far."""

    code = "nothing-above"
    exit_code = 1
    text = "nothing stands above height {to}: the newest block of this node is {newest}"
    advice = "Give a height below that; the log names the one at which two chains parted."


class RolledBack(NamedTuple):
    """What was done: the last final block now, `height` and `tip`, and where the old directory is.

    `undone` counts blocks, `returned` their transactions.
    """

    height: int
    tip: bytes
    undone: int
    returned: int
    kept: Path


def roll_back(
    path: Path,
    to: int,
    progress: Progress = lambda _done, _all: None,
    rewind: Callable[[int], None] = lambda _height: None,
) -> RolledBack:
    """Take the home of a stopped node back to height `to`; what was final above is so no more.

    `rewind` hears the height of the last final block just before the change: whoever was told of
    later ones has to hear anew. Raises `FinalForEver` on chains of validators, `NothingAbove`, and
    what opening a home raises.
    """
    home = Home(path)
    if not home.initialised:
        raise NoHome(path=path)
    genesis = Genesis.load(home.genesis)
    with DirectoryLock.acquire(home.path):
        finish_swap(home)
        if not (home.chain / "db").exists():
            raise NeverRan(path=path)
        old = _open(home.chain, genesis)
        making = home.path / MAKING
        try:
            lost = _lost(old.store, genesis, to)
            if making.exists():
                shutil.rmtree(making)
            OsFiles().make_dir(making)
            new = _open(making, genesis)
            try:
                _replay(old.store, new.store, genesis, to, progress)
                returned = _return(old, new, lost)
                tip = new.store.tip
            finally:
                new.close()
        finally:
            old.close()
        rewind(tip.height)
        kept = _swap(home)
    log.warning(
        "rolled_back",
        to=to,
        undone=len(lost),
        final=tip.height,
        final_hash=display_hash(tip.hash),
        kept=str(kept),
    )
    return RolledBack(tip.height, tip.hash, len(lost), returned, kept)


def _open(directory: Path, genesis: Genesis) -> Disk:
    database = open_store(directory / "db")
    try:
        return open_disk(OsFiles(), directory, database, genesis)
    except BaseException:
        database.close()
        raise


def _lost(store: ChainStore, genesis: Genesis, to: int) -> list[bytes]:
    """Hashes of all blocks above the height: final ones in order, then those that might be."""
    final = store.tip.height
    if genesis.mode != "pow":
        if to < final:
            raise FinalForEver(height=final)
        raise NothingAbove(to=to, newest=final)
    above = {block.hash: block.height for _, block in store.bodies_above_tip()}
    heights = {block_hash: height for block_hash, height in above.items() if height > final}
    for height in range(to + 1, final + 1):
        row = store.block_row(height)
        assert row is not None, "every final block has one"
        heights[row.hash] = height
    lost = [block_hash for block_hash, height in heights.items() if height > to]
    if not lost:
        raise NothingAbove(to=to, newest=max(final, *heights.values(), 0))
    return sorted(lost, key=lambda block_hash: heights[block_hash])


def _replay(
    old: ChainStore, new: ChainStore, genesis: Genesis, to: int, progress: Progress
) -> None:
    """The final blocks up to the height, executed once more; those that were not final, kept.

    What was told of transactions comes before the blocks, whose last one is synced.
    """
    new.write_outcomes(old.outcomes(to))
    replay = Replay(genesis, new)
    last = min(to, old.tip.height)
    for height in range(1, last + 1):
        block = old.block(height)
        assert block is not None, "every final block has a body"
        position = new.bodies.append(block.encode())
        new.bodies.sync() if height == last else new.bodies.flush()
        replay.apply(block, replay.check(block), position, None, sync=height == last)
        progress(height, last)
    for _, block in old.bodies_above_tip():
        if old.tip.height < block.height <= to:
            new.bodies.append(block.encode())
    new.bodies.sync()


def _return(old: Disk, new: Disk, lost: list[bytes]) -> int:
    """The intake journal, and behind it what stood in the lost blocks; how many of those."""
    records = (raw for _, raw in old.journal.replay())
    for number, raw in enumerate(records, 1):
        new.journal.append(raw)
        if number % JOURNAL_SYNC_RECORDS == 0:
            new.journal.sync()
    returned: set[bytes] = set()
    for raw in _transactions(old.store, lost):
        if raw not in returned:
            returned.add(raw)
            new.journal.append(raw)
            if len(returned) % JOURNAL_SYNC_RECORDS == 0:
                new.journal.sync()
    new.journal.sync()
    return len(returned)


def _transactions(store: ChainStore, lost: list[bytes]) -> Iterator[bytes]:
    above: dict[bytes, Block] = {block.hash: block for _, block in store.bodies_above_tip()}
    for block_hash in lost:
        height = store.height_of(block_hash)
        block = above[block_hash] if height is None else store.block(height)
        assert block is not None, "it was found a moment ago"
        for transaction in block.transactions:
            yield transaction.raw


def _swap(home: Home) -> Path:
    """The new directory takes the old one's place; the old one's name from now on."""
    number = 1
    while (kept := home.path / f"{BEFORE}-{number}").exists():
        number += 1
    home.chain.rename(kept)
    OsFiles().sync_dir(home.path)
    finish_swap(home)
    return kept


def finish_swap(home: Home) -> None:
    """What a crash between the two renames left to do, before a node begins an empty chain."""
    making = home.path / MAKING
    if not home.chain.exists() and making.exists():
        making.rename(home.chain)
        OsFiles().sync_dir(home.path)
