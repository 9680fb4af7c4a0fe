"""The tree of mined headers above the last final block: what each weighs, and which tip is best.

A header enters when it holds in the context of its own branch, whichever that is. `best` has the
most work of all valid ones; `ready` the most work of those whose bodies are held down to the base.
Of equal work the one that came first wins. A block found invalid takes its descendants with it, for
ever, and the next best is chosen. What is final is the `base`: nothing beside it is remembered,
and nothing that leaves the chain below it is taken. Times and bits are those of headers; whoever
asks says what time it is.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from chaind.consensus.pow.base import Base
from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.errors import BitsUnexpected, HashTooHigh, TargetTooEasy
from chaind.consensus.pow.orphans import Orphan, Orphans
from chaind.consensus.pow.retarget import Anchor, retarget_asert, retarget_window
from chaind.consensus.pow.times import (
    MEDIAN_SPAN,
    check_after,
    check_against_parent,
    check_not_ahead,
    median_time_past,
)
from chaind.consensus.pow.tree_errors import ParentInvalid, ReorgTooDeep
from chaind.primitives.block import Header
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import display_hash, sha256d
from chaind.primitives.work import WorkParameters, target_of, work_of

SIDE_MAX = 20_000  # headers beside the best chain; each cost its maker full work
LOCATOR_DENSE = 10  # Bitcoin's: so many hashes without a gap, then gaps that double


class Finals(Protocol):
    """Final blocks, whose headers the tree has forgotten."""

    def height_of(self, block_hash: bytes) -> int | None:
        """Height of a final block, None where it is not one."""
        ...

    def hash_at(self, height: int) -> bytes:
        """The final block of a height at or below the base."""
        ...


class Heard(NamedTuple):
    """What came of a header: entries that are new, lowest first; whether it waits for its parent.

    `faults` are of headers that had waited for this one and break a rule: who sent which.
    """

    added: tuple[Entry, ...]
    orphaned: bool
    faults: tuple[tuple[int, ChaindError], ...]


class Path(NamedTuple):
    """How to come from one block to another: blocks to undo, highest first, then to apply."""

    undo: tuple[Entry, ...]
    apply: tuple[Entry, ...]


class Tree:
    """See the module's law. `anchor` is what an asert schedule hangs on."""

    def __init__(
        self,
        *,
        parameters: WorkParameters,
        base: Base,
        anchor: Anchor,
        finals: Finals,
        orphans: Orphans | None = None,
        side_max: int = SIDE_MAX,
    ) -> None:
        self._parameters = parameters
        self._limit = target_of(parameters.limit_bits)
        self._anchor = anchor
        self._finals = finals
        self._orphans = Orphans() if orphans is None else orphans
        self._side_max = side_max
        self._times_below = base.times
        self._arrivals = 0
        root = Entry(b"", base.hash, None)
        root.height, root.time, root.bits = base.height, base.times[-1], base.bits
        root.chainwork, root.window_time = base.chainwork, base.window_time
        root.held, root.complete = True, 0
        self._base = root
        self._entries: dict[bytes, Entry] = {root.hash: root}
        self._best = root
        self._ready = root

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def base(self) -> Entry:
        """The last final block."""
        return self._base

    @property
    def best(self) -> Entry:
        """The valid header of most work."""
        return self._best

    @property
    def ready(self) -> Entry:
        """The valid block of most work of which no body is missing."""
        return self._ready

    @property
    def orphans(self) -> int:
        """How many headers wait for their parent."""
        return len(self._orphans)

    def get(self, block_hash: bytes) -> Entry | None:
        """A header at or above the base."""
        return self._entries.get(block_hash)

    def entries(self) -> Iterator[Entry]:
        """All headers, the base first, every parent before its children."""
        return iter(self._entries.values())

    # Growing.

    def hear(self, header: bytes, *, now: int, peer: int = 0) -> Heard:
        """Take a header of 80 bytes at Unix second `now`, and those that waited for it.

        Raises the rule that it breaks. One that is too new may be heard again later.
        """
        block_hash = sha256d(header)
        known = self._entries.get(block_hash)
        if known is not None:
            if known.invalid:
                raise ParentInvalid(hash=display_hash(block_hash))
            return Heard((), orphaned=False, faults=())
        decoded = Header.decode(header)
        parent = self._entries.get(decoded.parent)
        if parent is None:
            return self._hear_unlinked(header, block_hash, decoded, peer)
        added = [self._enter(header, block_hash, decoded, parent, now)]
        faults: list[tuple[int, ChaindError]] = []
        for entry in added:  # grows while it is walked
            for orphan in self._orphans.adopt(entry.hash):
                child = Header.decode(orphan.header)
                try:
                    added.append(self._enter(orphan.header, orphan.hash, child, entry, now))
                except ChaindError as error:
                    faults.append((orphan.peer, error))
        self._bound_sides()
        kept = tuple(entry for entry in added if entry.hash in self._entries)
        return Heard(kept, orphaned=False, faults=tuple(faults))

    def forget_peer(self, peer: int) -> None:
        """Drop what a peer sent that waits for its parent."""
        self._orphans.forget_peer(peer)

    def _hear_unlinked(self, header: bytes, block_hash: bytes, decoded: Header, peer: int) -> Heard:
        """Its parent is not in the tree: final, then it comes too late; or unknown, then it waits.

        Waiting is only for headers that cost work, whatever they claim to stand on.
        """
        self._check_work(block_hash, decoded, self._base.height + 1)
        own, fork = self._finals.height_of(block_hash), self._finals.height_of(decoded.parent)
        if own is not None:
            return Heard((), orphaned=False, faults=())
        if fork is not None:
            raise ReorgTooDeep(
                hash=display_hash(block_hash), fork_height=fork, final_height=self._base.height
            )
        self._orphans.add(Orphan(block_hash, header, peer))
        return Heard((), orphaned=True, faults=())

    def _check_work(self, block_hash: bytes, decoded: Header, height: int) -> None:
        target = target_of(decoded.bits)
        if target > self._limit:
            limit = self._parameters.limit_bits
            raise TargetTooEasy(height=height, given=decoded.bits, limit=limit)
        if int.from_bytes(block_hash, "little") > target:
            raise HashTooHigh(height=height, hash=display_hash(block_hash), target=target)

    def _enter(
        self, header: bytes, block_hash: bytes, decoded: Header, parent: Entry, now: int
    ) -> Entry:
        """Check a header in its branch and put it there."""
        height = parent.height + 1
        if parent.invalid:
            raise ParentInvalid(hash=display_hash(block_hash))
        self._check_work(block_hash, decoded, height)
        expected = self.next_bits(parent)
        if decoded.bits != expected:
            raise BitsUnexpected(height=height, given=decoded.bits, expected=expected)
        self._check_times(decoded.time, parent, now)
        entry = Entry(header, block_hash, parent)
        entry.height, entry.time, entry.bits = height, decoded.time, decoded.bits
        entry.chainwork = parent.chainwork + work_of(target_of(decoded.bits))
        opens = height % self._parameters.window == 0
        entry.window_time = decoded.time if opens else parent.window_time
        self._arrivals += 1
        entry.order = self._arrivals
        self._entries[block_hash] = entry
        parent.children.append(entry)
        if entry.chainwork > self._best.chainwork:
            self._best = entry
        return entry

    def _check_times(self, time: int, parent: Entry, now: int) -> None:
        height, parameters = parent.height + 1, self._parameters
        check_after(height=height, time=time, times=self.times(parent))
        check_against_parent(
            height=height, time=time, parent_time=parent.time, parameters=parameters
        )
        check_not_ahead(height=height, time=time, now=now, parameters=parameters)

    def _bound_sides(self) -> None:
        """Drop branches beside the best and the ready chain, those of least work first, where there
        are too many headers.

        A branch as long as the best one has its place: otherwise none could ever outgrow it. An
        eighth is dropped at a time, so that not every newcomer looks at all of them.
        """
        room = self._side_max + self._best.height - self._base.height
        if self._sides() <= room:
            return
        excess = self._sides() - room + self._side_max // 8
        leaves = [
            entry
            for entry in self._entries.values()
            if not entry.children and entry not in (self._best, self._ready)
        ]
        leaves.sort(key=lambda entry: (entry.chainwork, -entry.order))
        for leaf in leaves:
            at = leaf
            while excess and not at.children and at not in (self._best, self._ready):
                assert at.parent is not None, "the base is below the best"
                at.parent.children.remove(at)
                del self._entries[at.hash]
                at = at.parent
                excess -= 1

    def _sides(self) -> int:
        """Headers that are not on the best chain."""
        return len(self._entries) - 1 - (self._best.height - self._base.height)

    # What a child of an entry must be.

    def next_bits(self, parent: Entry) -> int:
        """The bits that a child must carry."""
        height, parameters = parent.height + 1, self._parameters
        if parameters.retarget == "asert":
            if height == 1:
                return parent.bits
            return retarget_asert(
                anchor=self._anchor,
                height=parent.height,
                time=parent.time,
                parameters=parameters,
            )
        if height % parameters.window:
            return parent.bits
        return retarget_window(
            bits=parent.bits,
            first_time=parent.window_time,
            last_time=parent.time,
            parameters=parameters,
        )

    def next_time_min(self, parent: Entry) -> int:
        """The earliest time that a child may carry."""
        interval_ms = self._parameters.min_block_interval_ms
        earliest = median_time_past(self.times(parent)) + 1
        if interval_ms:
            earliest = max(earliest, parent.time + (interval_ms + 999) // 1000)
        return earliest

    def times(self, entry: Entry) -> tuple[int, ...]:
        """The last (up to) eleven header times of a branch, the entry's own the last."""
        found: list[int] = []
        at = entry
        while at is not self._base and len(found) < MEDIAN_SPAN:
            found.append(at.time)
            assert at.parent is not None, "every branch stands on the base"
            at = at.parent
        found.reverse()
        missing = MEDIAN_SPAN - len(found)
        return (*self._times_below[-missing:], *found) if missing else tuple(found)

    # Bodies.

    def hold(self, block_hash: bytes) -> None:
        """The body of a known header is held and breaks no rule that needs the block alone."""
        entry = self._entries[block_hash]
        if entry.held:
            return
        entry.held = True
        self._arrivals += 1
        self._complete(entry)

    def _complete(self, entry: Entry) -> None:
        """Go up from a body that came as long as no further one is missing."""
        waiting = [entry]
        for at in waiting:  # grows while it is walked
            assert at.parent is not None, "the base was complete from the start"
            if not at.held or at.invalid or at.parent.complete is None:
                continue
            at.complete = self._arrivals
            if at.chainwork > self._ready.chainwork:
                self._ready = at
            waiting += at.children

    def invalidate(self, block_hash: bytes) -> tuple[Entry, ...]:
        """A block breaks a rule: it and all above it are out for ever; those newly marked."""
        marked = []
        for entry in self.above(self._entries[block_hash]):
            if not entry.invalid:
                assert entry is not self._base, "what is final is valid"
                entry.invalid, entry.complete = True, None
                marked.append(entry)
        if self._best.invalid:
            self._best = max(self._valid(), key=lambda entry: (entry.chainwork, -entry.order))
        if self._ready.invalid:
            self._ready = self._most_ready()
        return tuple(marked)

    def _most_ready(self) -> Entry:
        complete = (entry for entry in self._valid() if entry.complete is not None)
        return max(complete, key=_readiness)

    def _valid(self) -> Iterator[Entry]:
        return (entry for entry in self._entries.values() if not entry.invalid)

    def above(self, entry: Entry) -> list[Entry]:
        """The entry and all its descendants, parents first."""
        found = [entry]
        for at in found:  # grows while it is walked
            found += at.children
        return found

    # Ways.

    def path(self, source: bytes, target: bytes) -> Path:
        """The way between two blocks at or above the base."""
        down, up = self._entries[source], self._entries[target]
        undo: list[Entry] = []
        apply: list[Entry] = []
        while down is not up:
            if down.height >= up.height:
                undo.append(down)
                assert down.parent is not None, "all branches meet at the base"
                down = down.parent
            else:
                apply.append(up)
                assert up.parent is not None, "all branches meet at the base"
                up = up.parent
        apply.reverse()
        return Path(tuple(undo), tuple(apply))

    def ancestor(self, entry: Entry, height: int) -> Entry:
        """The block of a branch at a height from the base's up to the entry's."""
        assert self._base.height <= height <= entry.height
        while entry.height > height:
            assert entry.parent is not None, "the base is reached first"
            entry = entry.parent
        return entry

    def locator(self, entry: Entry) -> tuple[bytes, ...]:
        """Hashes of a branch from its tip down to block 0, dense at first: Bitcoin's locator."""
        hashes: list[bytes] = []
        height, step, at = entry.height, 1, entry
        while True:
            if height >= self._base.height:
                at = self.ancestor(at, height)
                hashes.append(at.hash)
            else:
                hashes.append(self._finals.hash_at(height))
            if height == 0:
                return tuple(hashes)
            if len(hashes) >= LOCATOR_DENSE:
                step *= 2
            height = max(0, height - step)

    # Finality.

    def buried(self, tip: Entry, depth: int) -> Entry | None:
        """The block `depth` below a tip, None where that is final already."""
        height = tip.height - depth
        return self.ancestor(tip, height) if height > self._base.height else None

    def finalise(self, block_hash: bytes) -> None:
        """Make a block the base and forget all that does not stand on it, however heavy."""
        base = self._entries[block_hash]
        assert base.complete is not None, "only what is held with all below it can be final"
        times, at = self.times(base), base
        while at is not self._base:  # a million headers may stand above: they are left alone
            parent = at.parent
            assert parent is not None, "every branch stands on the base"
            for child in parent.children:
                if child is not at:
                    for entry in self.above(child):
                        del self._entries[entry.hash]
            del self._entries[parent.hash]
            at = parent
        base.parent, self._base, self._times_below = None, base, times
        if self._ready.hash not in self._entries:
            self._ready = self._most_ready()
        if self._best.hash not in self._entries:
            self._best = max(self._valid(), key=lambda entry: (entry.chainwork, -entry.order))


def _readiness(entry: Entry) -> tuple[int, int]:
    assert entry.complete is not None
    return (entry.chainwork, -entry.complete)
