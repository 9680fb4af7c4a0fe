"""The channel `consensus`: how the chain beats, told some times a second while somebody watches.

Latency is measured on a sample: of the transactions that enter the pool, so many at a time are
followed until they are final here.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec.structs import asdict

from chaind.api.answers import Answer
from chaind.api.consensus import ConsensusAnswer, consensus_answer
from chaind.node.events import DroppedEvent, Event, FinalEvent, PendingEvent
from chaind.node.node import Node

TELL_MS = 250.0  # as often as eyes can follow; blocks may come a hundred times a second
FOLLOWED_MAX = 256  # transactions at a time
SAMPLES_MAX = 256
LAGS_MAX = 32


class PulseForm(Answer, frozen=True, kw_only=True):
    """What was measured while this channel had readers. `latency_ms` is from entering this node's
    pool to final here (median and 99th percentile), `lag_ms` from a block's time to its finality
    here; null where nothing was measured yet."""

    transactions_total: int
    time_ms: int
    latency_ms: float | None
    latency_p99_ms: float | None
    samples: int
    lag_ms: float | None
    peers: int


class ConsensusNews(ConsensusAnswer, frozen=True, kw_only=True):
    """A message of the channel."""

    pulse: PulseForm


class Pulse:
    """`tell` is called with what `news` gives, `TELL_MS` after something happened."""

    def __init__(self, node: Node, tell: Callable[[], None]) -> None:
        self._node = node
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._followed: dict[bytes, float] = {}
        self._latencies: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._lags: deque[int] = deque(maxlen=LAGS_MAX)

    def handle(self, event: Event) -> None:
        """An event of the node, while the channel has readers."""
        match event:
            case PendingEvent(entered):
                now_ms = self._node.clock.monotonic_ms()
                for checked in entered[: FOLLOWED_MAX - len(self._followed)]:
                    self._followed[checked.txid] = now_ms
            case FinalEvent():
                self._on_final(event)
            case DroppedEvent(txid):
                self._followed.pop(txid, None)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TELL_MS / 1000, self._fire)

    def _on_final(self, event: FinalEvent) -> None:
        now_ms = self._node.clock.monotonic_ms()
        if self._followed:
            for receipt in event.receipts:
                since_ms = self._followed.pop(receipt.checked.txid, None)
                if since_ms is not None:
                    self._latencies.append(now_ms - since_ms)
        made_ms = event.block.commitment.time_ms
        if made_ms is not None:
            self._lags.append(max(0, event.final_ms - made_ms))

    def _fire(self) -> None:
        self._timer = None
        self._tell()

    def news(self) -> ConsensusNews:
        """The state now."""
        latencies, lags = sorted(self._latencies), sorted(self._lags)
        pulse = PulseForm(
            transactions_total=self._node.finality.transactions_total,
            time_ms=self._node.clock.now_ms(),
            latency_ms=_at(latencies, 0.5),
            latency_p99_ms=_at(latencies, 0.99),
            samples=len(latencies),
            lag_ms=_at(lags, 0.5),
            peers=len(self._node.network.peers()),
        )
        return ConsensusNews(**asdict(consensus_answer(self._node)), pulse=pulse)

    def rest(self) -> None:
        """Nobody reads any more: forget what was followed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._followed.clear()
        self._latencies.clear()
        self._lags.clear()


def _at(ordered: list[float] | list[int], share: float) -> float | None:
    """The value below which this share of an ordered list lies."""
    return round(ordered[int(share * (len(ordered) - 1))], 1) if ordered else None
