"""Transactions of peers on their way to the one door: a queue for each peer, served in turns.

Nobody's transactions wait behind a flood of somebody else's. What is refused has cost a signature
check and earned nothing: its sender waits for its next turn, and for a fault loses what it queued.
Gossip is best effort, so what finds no room is dropped: a proposal that names it has it fetched.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from chaind.network.peer import Peer
from chaind.node.intake import Submission
from chaind.primitives.errors import PeerFault

PEER_TRANSACTIONS_MAX = 50_000  # waiting of one peer: two seconds of 20,000/s, and slack
PEER_BYTES_MAX = 16 << 20  # the same
BYTES_MAX = 128 << 20  # waiting of all peers
SLICE = 256  # a few milliseconds of the loop at a time
REFUSED_MS = 1.0  # pause for each one refused: junk costs a few per cent of a core at most


class Submit(Protocol):
    """The one door."""

    async def __call__(
        self, raws: Sequence[bytes], *, local: bool, source: str | None = None
    ) -> list[Submission]:
        """What became of each."""


class _Inbox:
    """What waits of one peer, in slices, and from when on it may be served."""

    __slots__ = ("bytes", "due_ms", "gone", "size", "slices")

    def __init__(self) -> None:
        self.slices: deque[Sequence[bytes]] = deque()
        self.size = 0
        self.bytes = 0
        self.due_ms = 0.0
        self.gone = False


class Ingest:
    """See the module's law. `run` is one of the node's tasks."""

    def __init__(
        self,
        *,
        submit: Submit,
        punish: Callable[[Peer, PeerFault], None],
        monotonic_ms: Callable[[], float],
    ) -> None:
        self._submit = submit
        self._punish = punish
        self._monotonic_ms = monotonic_ms
        self._inboxes: dict[Peer, _Inbox] = {}  # in the order of their turns
        self._bytes = 0
        self._wanted = asyncio.Event()

    def take(self, peer: Peer, raws: Sequence[bytes]) -> None:
        """Queue what a peer sent, or drop it where there is no room."""
        inbox = self._inboxes.get(peer)
        if inbox is None:
            inbox = self._inboxes[peer] = _Inbox()
        size = sum(map(len, raws))
        if (
            inbox.size + len(raws) > PEER_TRANSACTIONS_MAX
            or inbox.bytes + size > PEER_BYTES_MAX
            or self._bytes + size > BYTES_MAX
        ):
            return
        inbox.slices.extend(raws[start : start + SLICE] for start in range(0, len(raws), SLICE))
        inbox.size += len(raws)
        inbox.bytes += size
        self._bytes += size
        self._wanted.set()

    def peer_down(self, peer: Peer) -> None:
        """What an honest peer said last still counts; what is left of a flood does not."""
        inbox = self._inboxes.get(peer)
        if inbox is None:
            return
        inbox.gone = True
        if inbox.due_ms > self._monotonic_ms():
            self._clear(inbox)
        if not inbox.slices:
            del self._inboxes[peer]

    async def run(self) -> None:
        """Slice by slice and peer by peer through the one door, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wanted.wait()
            self._wanted.clear()
            while (peer := self._next()) is not None:
                await self._serve(peer)

    def _next(self) -> Peer | None:
        """Whose turn it is; None where nothing waits that may be served now."""
        now_ms = self._monotonic_ms()
        for peer, inbox in self._inboxes.items():
            if inbox.slices and inbox.due_ms <= now_ms:
                return peer
        return None

    def _pause_s(self) -> float | None:
        """Until somebody who waits may be served; None where nobody waits."""
        due_ms = [inbox.due_ms for inbox in self._inboxes.values() if inbox.slices]
        return max(0.0, min(due_ms) - self._monotonic_ms()) / 1000 if due_ms else None

    async def _serve(self, peer: Peer) -> None:
        inbox = self._inboxes.pop(peer)
        raws = inbox.slices.popleft()
        size = sum(map(len, raws))
        inbox.size -= len(raws)
        inbox.bytes -= size
        self._bytes -= size
        if inbox.slices or not inbox.gone:
            self._inboxes[peer] = inbox  # its next turn comes after everybody else's
        results = await self._submit(raws, local=False, source=peer.node_id)
        errors = [result.error for result in results if result.error is not None]
        faults = [error for error in errors if isinstance(error, PeerFault)]
        for fault in faults:
            self._punish(peer, fault)
        inbox.due_ms = self._monotonic_ms() + REFUSED_MS * len(errors)
        if faults:
            self._clear(inbox)
        if inbox.gone and not inbox.slices:
            self._inboxes.pop(peer, None)

    def _clear(self, inbox: _Inbox) -> None:
        self._bytes -= inbox.bytes
        inbox.slices.clear()
        inbox.size = inbox.bytes = 0
