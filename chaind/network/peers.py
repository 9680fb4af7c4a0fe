"""Who is known and who is trusted how far. Pure: time and dice come as arguments.

Whatever has to pass before something happens is counted in monotonic time, which nobody sets: a
wall clock that is put right by hours would keep a node from its peers for as long.

`PeerBook` remembers addresses and when to dial them; it is bounded in total and per teller, so
that no peer can fill it with its friends. `Scores` remembers faults and bans. Both are addressed
by plain values and hold no connection.
"""

import ipaddress
import re
from collections.abc import Iterable, Set
from random import Random
from typing import Final, NamedTuple

from msgspec import Struct

from chaind.primitives.errors import ChaindError, Malformed, PeerFault, TooLarge

TRIED_MAX: Final = 256  # addresses that once answered: more than a node ever dials in a day
NEW_MAX: Final = 1_024  # addresses only heard of
NEW_PER_SOURCE_MAX: Final = 64  # one answer's worth: 16 liars are needed to fill the table
FORGET_NEW_FAILURES: Final = 4  # hearsay that never answered
FORGET_TRIED_FAILURES: Final = 20  # about five hours of the longest back-off
HOST_CHARS_MAX: Final = 253  # RFC 1035, a full domain name
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")  # a name, with what people put in theirs, or IPv4
FAILURES_MAX: Final = 62  # counted no further: the back-off has long reached its cap


class AddressInvalid(Malformed):
    """Not something that can be dialled."""

    code = "peer-address-invalid"
    text = "{host}:{port} is no peer address: {reason}"
    advice = "Give HOST:PORT, with an IP literal or a name and a port from 1 to 65535."


class Address(NamedTuple):
    """Where a node accepts peers."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class BackOff(Struct, frozen=True):
    """Wait before the next dial: `base_ms` doubling per failure up to `cap_ms`, ± half."""

    base_ms: int
    cap_ms: int

    def wait_ms(self, failures: int, rng: Random) -> int:
        """Jitter keeps nodes that fell together from coming back together."""
        wait = min(self.cap_ms, self.base_ms << min(max(failures - 1, 0), FAILURES_MAX))
        return int(wait * (0.5 + rng.random()))


# Restarted validators meet soon; and however long a link was down, a dial comes through less than
# 5 s after its healing, so that a network that lost its quorum goes on.
PERSISTENT_BACK_OFF: Final = BackOff(base_ms=250, cap_ms=1_500)
LEARNED_BACK_OFF: Final = BackOff(base_ms=5_000, cap_ms=900_000)


class _Entry(Struct, kw_only=True):
    """One known address. `source` names who told of it; `due_ms` is when it may be dialled, in
    monotonic time, and `seen_ms` when it last answered, by the clock on the wall."""

    host: str
    port: int
    source: str
    persistent: bool = False
    tried: bool = False
    node_id: str | None = None
    seen_ms: int = 0
    failures: int = 0
    due_ms: float = 0

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


def parse_address(text: str) -> Address:
    """HOST:PORT or [IPv6]:PORT. Raises `AddressInvalid`."""
    host, _, port = text.rpartition(":")

    def refuse(reason: str) -> AddressInvalid:
        return AddressInvalid(host=host[:80], port=port[:80], reason=reason)

    bracketed = host.startswith("[") and host.endswith("]")
    if not bracketed and ":" in host:
        raise refuse("IPv6 needs brackets")
    if bracketed and not _is_ipv6(host[1:-1]):
        raise refuse("brackets hold an IPv6 address")
    if not bracketed and not (len(host) <= HOST_CHARS_MAX and _NAME.fullmatch(host)):
        raise refuse("the host is no name and no IP")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5):
        raise refuse("the port is no number")
    if not 1 <= int(port) <= 65_535:
        raise refuse("the port is out of range")
    return Address(host[1:-1] if bracketed else host, int(port))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return host.isascii() and host.isprintable()  # a zone (fe80::1%eth0) may be anything there


def reach(host: str) -> int | None:
    """How far an IP literal means the same place: 0 this machine, 1 its network, 2 everywhere.

    None for names and for addresses that nobody can be dialled at.
    """
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped  # how a dual-stack listener shows its IPv4 callers
    if ip.is_loopback:
        return 0
    if ip.is_unspecified or ip.is_multicast or ip.is_reserved:
        return None
    return 2 if ip.is_global else 1


class PeerBook:
    """Known addresses. A *tried* one has answered a handshake, a *new* one is hearsay."""

    def __init__(
        self,
        rng: Random,
        *,
        persistent_back_off: BackOff = PERSISTENT_BACK_OFF,
        learned_back_off: BackOff = LEARNED_BACK_OFF,
    ) -> None:
        self._rng = rng
        self._persistent_back_off = persistent_back_off
        self._learned_back_off = learned_back_off
        self._entries: dict[Address, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, address: Address) -> bool:
        return address in self._entries

    def add_persistent(self, address: Address) -> None:
        """Configured by a person: never evicted, always tried again."""
        entry = self._entries.get(address)
        if entry is None:
            entry = _Entry(host=address.host, port=address.port, source="configured")
            self._entries[address] = entry
        entry.persistent = True

    def learn(self, addresses: Iterable[Address], *, source: str, source_host: str) -> int:
        """Take hearsay from peer `source`; how many addresses were new and kept.

        Only IP literals that mean the same place here as where the teller stands: a peer across
        the internet that names 127.0.0.1 would have us attack ourselves.
        """
        limit = reach(source_host)
        if limit is None:
            return 0
        told = sum(entry.source == source and not entry.tried for entry in self._entries.values())
        kept = 0
        for address in addresses:
            if told >= NEW_PER_SOURCE_MAX:
                break
            distance = reach(address.host)
            if distance is None or distance < limit or address in self._entries:
                continue
            self._make_room(tried=False)
            self._entries[address] = _Entry(host=address.host, port=address.port, source=source)
            told += 1
            kept += 1
        return kept

    def succeeded(self, address: Address, *, node_id: str, now_ms: int) -> None:
        """A handshake with `address` found `node_id` there."""
        entry = self._entries.get(address)
        if entry is None or not entry.tried:
            self._make_room(tried=True)
        if entry is None:
            entry = _Entry(host=address.host, port=address.port, source=node_id)
            self._entries[address] = entry
        entry.tried = True
        entry.node_id = node_id
        entry.seen_ms = now_ms

    def failed(self, address: Address, *, now_ms: float, stable: bool = False) -> None:
        """A dial or handshake failed, or a connection ended: wait before the next.

        `stable` is that of a connection that had lasted: only that ends a row of failures, so
        that a peer which accepts and at once closes is not dialled in a tight circle.
        """
        entry = self._entries.get(address)
        if entry is None:
            return
        if stable:
            entry.failures = 0
        entry.failures = min(entry.failures + 1, FAILURES_MAX)
        limit = FORGET_TRIED_FAILURES if entry.tried else FORGET_NEW_FAILURES
        if entry.failures >= limit and not entry.persistent:
            del self._entries[address]
            return
        back_off = self._persistent_back_off if entry.persistent else self._learned_back_off
        entry.due_ms = now_ms + back_off.wait_ms(entry.failures, self._rng)

    def forget(self, address: Address) -> None:
        """Never dial it again, configured or not: it is ourselves."""
        self._entries.pop(address, None)

    def persistent_due(self, *, now_ms: float, busy: Set[Address | str]) -> list[Address]:
        """Configured addresses to dial now; `busy` holds addresses, node ids and hosts."""
        return [
            entry.address
            for entry in self._entries.values()
            if entry.persistent and _is_due(entry, now_ms, busy)
        ]

    def pick(self, *, now_ms: float, busy: Set[Address | str]) -> Address | None:
        """A learned address to dial now: tried and new with even chances, so neither starves."""
        due = [
            entry
            for entry in self._entries.values()
            if not entry.persistent and _is_due(entry, now_ms, busy)
        ]
        if not due:
            return None
        wanted = self._rng.random() < 0.5
        return self._rng.choice([e for e in due if e.tried is wanted] or due).address

    def sample(self, count: int, *, for_host: str) -> list[Address]:
        """Up to `count` tried addresses that mean something to a peer at `for_host`."""
        limit = reach(for_host)
        if limit is None:
            return []
        fit = [
            entry.address
            for entry in self._entries.values()
            if entry.tried and (distance := reach(entry.host)) is not None and distance >= limit
        ]
        return self._rng.sample(fit, min(count, len(fit)))

    def _make_room(self, *, tried: bool) -> None:
        """Evict the worst learned entry of a full table: most failures, then seen longest ago."""
        table = [e for e in self._entries.values() if e.tried is tried and not e.persistent]
        if len(table) >= (TRIED_MAX if tried else NEW_MAX):
            worst = max(table, key=lambda entry: (entry.failures, -entry.seen_ms))
            del self._entries[worst.address]


def _is_due(entry: _Entry, now_ms: float, busy: Set[Address | str]) -> bool:
    return entry.due_ms <= now_ms and busy.isdisjoint((entry.address, entry.node_id, entry.host))


# Points of a fault, by the first class that it is of.
POINTS: Final[tuple[tuple[type[ChaindError], int], ...]] = (
    (Malformed, 60),  # no correct software makes it, but a version skew might, once
    (TooLarge, 60),
    (PeerFault, 20),  # well formed and against a rule: may be a race with a block
)
BAN_POINTS: Final = 100
HALF_LIFE_MS: Final = 600_000  # an honest node with a rare fault never adds up to a ban
BAN_MS: Final = 600_000  # makes trying again dear, yet a repaired node comes back by itself
SCORES_MAX: Final = 4_096  # hosts and node ids remembered; the mildest is forgotten first


def points_of(fault: PeerFault) -> int:
    """What `fault` costs."""
    return next(points for kind, points in POINTS if isinstance(fault, kind))


class _Score(Struct):
    points: float
    at_ms: float
    banned_until_ms: float = 0


class Scores:
    """Points by name (a node id or a host), halved every `HALF_LIFE_MS` of monotonic time."""

    def __init__(self) -> None:
        self._scores: dict[str, _Score] = {}

    def points(self, name: str, *, now_ms: float) -> float:
        """What stands against `name`, decayed to now."""
        score = self._scores.get(name)
        if score is None:
            return 0.0
        return float(score.points * 0.5 ** (max(0, now_ms - score.at_ms) / HALF_LIFE_MS))

    def add(self, name: str, points: int, *, now_ms: float) -> bool:
        """Blame `name`; True where that bans it. A ban wipes the points: it is the penalty."""
        total = self.points(name, now_ms=now_ms) + points
        if name not in self._scores and len(self._scores) >= SCORES_MAX:
            self._forget_mildest(now_ms)
        banned = total >= BAN_POINTS
        until_ms = now_ms + BAN_MS if banned else self._banned_until_ms(name)
        self._scores[name] = _Score(0.0 if banned else total, now_ms, until_ms)
        return banned

    def is_banned(self, name: str, *, now_ms: float) -> bool:
        """True until the ban has run out."""
        return now_ms < self._banned_until_ms(name)

    def banned(self, *, now_ms: float) -> set[str]:
        """All names under a ban."""
        return {name for name, score in self._scores.items() if now_ms < score.banned_until_ms}

    def _banned_until_ms(self, name: str) -> float:
        score = self._scores.get(name)
        return 0 if score is None else score.banned_until_ms

    def _forget_mildest(self, now_ms: float) -> None:
        del self._scores[
            min(
                self._scores,
                key=lambda name: (
                    self.is_banned(name, now_ms=now_ms),
                    self.points(name, now_ms=now_ms),
                ),
            )
        ]
