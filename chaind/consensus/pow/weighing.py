"""Weighing a peer's chain before any of it is kept.

Whoever has little work to show must not fill our memory with it. Headers from block 0 are verified
and added up, and of each answer only a digest is kept. Once their work is enough they are asked for
again and enter the tree, if they are the same. (Bitcoin Core 24 keeps a bit of every 600th header
instead; answers are of fixed size here, so a digest of each is as small.)
"""

from typing import NamedTuple

from chaind.consensus.pow.headers import HeaderChain
from chaind.consensus.pow.sync_errors import ChainTooLight, HeadersChanged
from chaind.primitives.block import HEADER_BYTES
from chaind.primitives.hashes import sha256, sha256d
from chaind.primitives.work import WorkParameters


class _Answer(NamedTuple):
    """Headers that were weighed: where they begin, how many they are, and their digest."""

    height: int
    number: int
    digest: bytes


class Weighing:
    """One peer's chain. `genesis` is the header of block 0, `minimum` the work it must show."""

    def __init__(
        self, *, parameters: WorkParameters, genesis: bytes, minimum: int, now: int
    ) -> None:
        self._genesis = sha256d(genesis)
        self._minimum = minimum
        self._chain = HeaderChain(parameters=parameters, now=now, genesis=self._genesis)
        self._chain.feed(genesis)
        self._answers: list[_Answer] = []
        self._again: int | None = None  # how many of them came the second time
        self._last = self._genesis

    @property
    def proven(self) -> bool:
        """Whether the work was shown: what comes now is worth keeping."""
        return self._again is not None

    @property
    def done(self) -> bool:
        """Whether all headers that showed it came again."""
        return self._again == len(self._answers)

    def locator(self) -> tuple[bytes, ...]:
        """What to ask the peer with."""
        return (self._last, self._genesis) if self._last != self._genesis else (self._genesis,)

    def take(self, records: bytes, *, complete: bool) -> None:
        """An answer of at least one header; `complete` where the peer has no more.

        Raises what the headers break, `ChainTooLight` where all of them are too little, and
        `HeadersChanged` where those that came again are others.
        """
        if self._again is not None:
            self._compare(records, self._answers[self._again])
            self._again += 1
            self._last = sha256d(records[-HEADER_BYTES:])
            return
        height = self._chain.progress().height + 1
        self._chain.feed(records)
        self._answers.append(_Answer(height, len(records) // HEADER_BYTES, sha256(records)))
        progress = self._chain.progress()
        if progress.chainwork >= self._minimum:
            self._again, self._last = 0, self._genesis
        elif complete:
            raise ChainTooLight(
                height=progress.height, work=progress.chainwork, minimum=self._minimum
            )
        else:
            self._last = progress.hash

    def _compare(self, records: bytes, before: _Answer) -> None:
        """The last answer may have grown with the peer's chain."""
        if sha256(records[: before.number * HEADER_BYTES]) != before.digest:
            raise HeadersChanged(height=before.height)
