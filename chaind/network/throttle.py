"""How fast one peer may make this node work. Pure: time comes as an argument.

A peer above the limit is not at fault (it may be answering what we asked), so it is not punished
but read more slowly: TCP carries the delay back to it.
"""

# 20,000 transactions/s one by one, and votes; about a fifth of a core in decryption and decoding.
MESSAGES_PER_S = 25_000
# Catch-up at 200,000 transactions/s of 300 bytes: above what execution can take.
BYTES_PER_S = 64 << 20
BURST_S = 2  # a node that executed a long block finds this much waiting


class Throttle:
    """Two token buckets, messages and bytes, that may go into debt."""

    def __init__(
        self,
        now_ms: float,
        *,
        messages_per_s: int = MESSAGES_PER_S,
        bytes_per_s: int = BYTES_PER_S,
    ) -> None:
        self._messages_per_ms = messages_per_s / 1000
        self._bytes_per_ms = bytes_per_s / 1000
        self._messages_max = self._messages = float(messages_per_s * BURST_S)
        self._bytes_max = self._bytes = float(bytes_per_s * BURST_S)
        self._now_ms = now_ms

    def charge(self, *, messages: int, size: int, now_ms: float) -> float:
        """Count what was read; how many ms to read nothing more, 0 within the limits."""
        passed_ms = now_ms - self._now_ms
        self._now_ms = now_ms
        self._messages = min(
            self._messages_max, self._messages + passed_ms * self._messages_per_ms - messages
        )
        self._bytes = min(self._bytes_max, self._bytes + passed_ms * self._bytes_per_ms - size)
        if self._messages >= 0 and self._bytes >= 0:
            return 0.0
        return max(-self._messages / self._messages_per_ms, -self._bytes / self._bytes_per_ms)
