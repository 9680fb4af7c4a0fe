"""What is known of the views above the last decided one, and the walks over their certificates.

`Chain` answers whether a block may follow what it names, on what to build, and which certificates
say so. Its base is the newest decided block; nothing below it is kept or needed (Simplex: every
later block descends from a final one).
"""

from collections.abc import Callable, Iterator

from chaind.consensus.bundles import first_bundle
from chaind.consensus.core import BlockRef
from chaind.consensus.quorums import Quorums
from chaind.consensus.tally import Tally
from chaind.primitives.votes import Certificate, CertificateKind

PROPOSALS_MAX = 2  # of a view: one of an honest leader; a second costs an equivocator its bond


class View:
    """One view above the base: votes, proposals, and the certificates that ended it."""

    __slots__ = ("asked", "notars", "null", "number", "proposals", "tally")

    def __init__(self, number: int, quorums: Quorums) -> None:
        self.number = number
        self.tally = Tally(quorums)
        self.proposals: dict[bytes, BlockRef] = {}
        self.notars: dict[bytes, Certificate] = {}
        self.null: Certificate | None = None
        self.asked = False  # whether a candidate was asked for

    def lacks(self, kind: CertificateKind, block: bytes | None) -> bool:
        """Whether a certificate of this kind would prove anything new (FINAL, FAST: always)."""
        if kind is CertificateKind.NULL:
            return self.null is None
        return kind is not CertificateKind.NOTAR or block not in self.notars

    def add(self, certificate: Certificate) -> bool:
        """Keep a certificate; False where a final block meets what f faults cannot bring about."""
        block = certificate.block
        if block is None:
            self.null = certificate
            return True
        self.notars[block] = certificate
        if certificate.kind is CertificateKind.NOTAR:
            return True
        return self.null is None and len(self.notars) == 1

    def certificates(self) -> Iterator[Certificate]:
        """All held, the most useful first."""
        yield from self.notars.values()
        if self.null is not None:
            yield self.null

    @property
    def ended(self) -> bool:
        """Whether any certificate of the view is held."""
        return self.null is not None or bool(self.notars)


class Chain:
    """The views above the base, and the base itself."""

    __slots__ = ("_quorums", "base", "base_hash", "base_view", "notar_view", "views")

    def __init__(self, quorums: Quorums, base_view: int, base_hash: bytes) -> None:
        self._quorums = quorums
        self.views: dict[int, View] = {}
        self.base_view = base_view
        self.base_hash = base_hash
        self.base: Certificate | None = None  # of the base; None for genesis, or while unknown
        self.notar_view = base_view  # highest view of which a block certificate is held

    def at(self, number: int) -> View:
        """The view, made when first spoken of."""
        view = self.views.get(number)
        if view is None:
            view = self.views[number] = View(number, self._quorums)
        return view

    def rebase(self, certificate: Certificate) -> None:
        """Make a decided block the base; forget everything up to it."""
        assert certificate.block is not None
        assert certificate.view >= self.base_view
        self.base = certificate
        self.base_view = certificate.view
        self.base_hash = certificate.block
        self.notar_view = max(self.notar_view, certificate.view)
        for number in [number for number in self.views if number <= certificate.view]:
            del self.views[number]

    def justified(self, block: BlockRef) -> bool:
        """Whether NOTAR of its parent, and NULL of every view between, are held."""
        number = block.view - 1
        while number > self.base_view:
            view = self.views.get(number)
            if view is None:
                return False
            if block.parent_hash in view.notars:
                return True
            if view.null is None:
                return False
            number -= 1
        return number == self.base_view and block.parent_hash == self.base_hash

    def parent(self, view_number: int, usable: Callable[[bytes], bool]) -> tuple[int, bytes] | None:
        """Where a block for the view builds: (view, hash); None while something is missing.

        The highest certified block below with NULL of every view between. One whose body is
        missing here is passed over if its view has NULL as well.
        """
        number = view_number - 1
        while number > self.base_view:
            view = self.views.get(number)
            if view is None:
                return None
            for block in view.notars:
                if usable(block):
                    return number, block
            if view.null is None:
                return None
            number -= 1
        return (number, self.base_hash) if usable(self.base_hash) else None

    def justification(self, block: BlockRef) -> tuple[Certificate, ...]:
        """What `justified` rests on, the parent's certificate first; the newest if too many."""
        number, parent = block.view - 1, self.base
        nulls: list[Certificate] = []
        while number > self.base_view:
            view = self.views[number]
            if block.parent_hash in view.notars:
                parent = view.notars[block.parent_hash]
                break
            assert view.null is not None, "not justified"
            nulls.append(view.null)
            number -= 1
        return first_bundle(nulls if parent is None else (parent, *nulls))

    def missing(self, below: int) -> tuple[int, int] | None:
        """The range (first, last) of views under `below` that holds all gaps; None without."""
        first, last = self.base_view + 1, below - 1
        while first <= last and self._ended(first):
            first += 1
        while last > first and self._ended(last):
            last -= 1
        return (first, last) if first <= last else None

    def certificates(
        self, from_view: int = 0, to_view: int | None = None
    ) -> tuple[Certificate, ...]:
        """Those held of the views asked, oldest first; the base's own where it is above them."""
        found: list[Certificate] = []
        if self.base is not None and from_view <= self.base_view:
            found.append(self.base)
        for number in sorted(self.views):
            if from_view <= number and (to_view is None or number <= to_view):
                found.extend(self.views[number].certificates())
        return tuple(found)

    def _ended(self, number: int) -> bool:
        view = self.views.get(number)
        return view is not None and view.ended
