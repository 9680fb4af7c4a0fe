"""What happened, in order: a hash over all of it, and the last part in words."""

import hashlib
from collections import deque
from collections.abc import Callable

LINES_MAX = 400  # the end of a trace is what explains a failure


class Trace:
    """Every event of a simulation goes through here."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)
        self._lines: deque[tuple[float, str, str, object]] = deque(maxlen=LINES_MAX)
        self.events_total = 0

    def bytes(self, kind: str, source: str, target: str, data: bytes) -> None:
        """Bytes that arrived; only hashed."""
        self.events_total += 1
        self._digest.update(f"{self._now()!r} {kind} {source} {target} ".encode())
        self._digest.update(data)

    def note(self, who: str, what: str, about: object = "") -> None:
        """Something worth reading; `about` is put into words only when somebody reads."""
        now = self._now()
        self.events_total += 1
        self._digest.update(f"{now!r} {who} {what}\n".encode())
        self._lines.append((now, who, what, about))

    @property
    def hash(self) -> str:
        """32 hex digits over everything so far."""
        return self._digest.hexdigest()

    def lines(self) -> list[str]:
        """The last events, oldest first."""
        return [
            f"{now:10.4f}  {who:<8} {what} {about}".rstrip()
            for now, who, what, about in self._lines
        ]
