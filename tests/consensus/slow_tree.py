"""The block tree once more, slow and obvious: whole chains from block 0, looked at from scratch.

A header holds if `HeaderChain` takes its whole chain. Best is the most work among all chains, the
first heard on ties; ready the same among those whose bodies are held, the first completed on ties.
"""

from chaind.consensus.pow.headers import HeaderChain
from chaind.primitives.block import Header
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import WorkParameters, target_of, work_of


class SlowTree:
    """Remembers everything in the order in which it came."""

    def __init__(self, genesis: bytes, parameters: WorkParameters, now: int) -> None:
        self.parameters = parameters
        self.now = now
        self.genesis = genesis
        self.headers: dict[bytes, bytes] = {sha256d(genesis): genesis}  # taken, in order
        self.waiting: dict[bytes, bytes] = {}
        self.held: set[bytes] = {sha256d(genesis)}
        self.completed: list[bytes] = [sha256d(genesis)]
        self.invalid: set[bytes] = set()
        self.final = sha256d(genesis)

    def chain(self, block_hash: bytes) -> list[bytes]:
        """Hashes from block 0 up to this one."""
        found = [block_hash]
        while found[-1] != sha256d(self.genesis):
            found.append(self.parent(found[-1]))
        return found[::-1]

    def parent(self, block_hash: bytes) -> bytes:
        return Header.decode(self.headers[block_hash]).parent

    def work(self, block_hash: bytes) -> int:
        bits = [Header.decode(self.headers[one]).bits for one in self.chain(block_hash)]
        return sum(work_of(target_of(each)) for each in bits)

    def verdict(self, header: bytes) -> type[ChaindError] | None:
        """What the rules of headers say of one whose parent was taken."""
        below = self.chain(Header.decode(header).parent)
        chain = HeaderChain(parameters=self.parameters, now=self.now)
        try:
            chain.feed(b"".join([self.headers[one] for one in below]) + header)
        except ChaindError as error:
            return type(error)
        return None

    def is_invalid(self, block_hash: bytes) -> bool:
        return not self.invalid.isdisjoint(self.chain(block_hash))

    def living(self) -> list[bytes]:
        """Headers on the final block, itself the first, in order of arrival."""
        return [one for one in self.headers if self.final in self.chain(one)]

    def take(self, header: bytes) -> None:
        """A header that holds, and those that waited for it."""
        self.headers[sha256d(header)] = header
        for child_hash, child in list(self.waiting.items()):
            if Header.decode(child).parent == sha256d(header):
                del self.waiting[child_hash]
                if self.verdict(child) is None:
                    self.take(child)

    def hold(self, block_hash: bytes) -> None:
        self.held.add(block_hash)
        fresh = [
            one
            for one in self.headers
            if one not in self.completed
            and self.held.issuperset(self.chain(one))
            and not self.is_invalid(one)
        ]
        self.completed += sorted(fresh, key=self.work)  # at once: from the lowest up

    def best(self) -> bytes:
        valid = [one for one in self.living() if not self.is_invalid(one)]
        return max(valid, key=self.work)  # of equal ones the first

    def ready(self) -> bytes:
        living = set(self.living())
        valid = [one for one in self.completed if one in living and not self.is_invalid(one)]
        return max(valid, key=self.work)
