"""How much the faucet of a development chain gives: at once, to one address, and in all.

Law: what was given is read from the faucet account's own history on the chain, so that the limits
of an hour hold across restarts and for all nodes with that key together. Beside it only this
node's gifts that are not final yet are remembered.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from chaind.node.clock import Clock
from chaind.node.config import FaucetSection
from chaind.node.queries import ActivityInfo
from chaind.primitives.address import key_address
from chaind.primitives.amounts import UNIT, format_amount
from chaind.primitives.errors import RuleBroken, TooMany
from chaind.primitives.keys import SecretKey

HOUR_MS = 3_600_000
GIFTS_PER_HOUR_MAX = 10_000  # bounds what is read of the history after a start, and what is kept
PAGE = 500


class GiftTooLarge(RuleBroken):
    code = "faucet-gift-too-large"
    text = "the faucet gives at most {limit} at once, not {asked}"
    advice = "Ask for less, or raise [faucet] gift_max of this node."


class AddressServed(TooMany):
    code = "faucet-address-served"
    text = "{address} has had {given} from the faucet within the hour, at most {limit} are given"
    advice = "Wait as long as Retry-After says, or raise [faucet] address_per_hour_max."


class FaucetSpent(TooMany):
    code = "faucet-spent"
    text = (
        "the faucet has given {given} in {count} gifts within the hour, at most {limit} in "
        "{count_max} are given"
    )
    advice = "Wait as long as Retry-After says, or raise [faucet] total_per_hour_max."


class Gift(NamedTuple):
    """What left the faucet at once. `units` are native base units."""

    receivers: tuple[bytes, ...]
    units: int
    time_ms: int


class History(Protocol):
    """What the faucet needs to know of the chain."""

    def symbol(self, asset: str) -> str:
        """Outward name of an asset."""
        ...

    def activity(
        self, address: bytes, before: tuple[int, int] | None, limit: int
    ) -> Sequence[ActivityInfo]:
        """History of an address, newest first."""
        ...


class Faucet:
    """The faucet's key and its limits. `is_open` says whether a transaction may still become final.

    Between `check` and `promised` nothing may be awaited: together they are one decision.
    """

    def __init__(
        self,
        *,
        key: SecretKey,
        section: FaucetSection,
        history: History,
        is_open: Callable[[bytes], bool],
        clock: Clock,
        show: Callable[[bytes], str],
    ) -> None:
        self.key = key
        self._address = key_address(key.public)
        self._address_max = section.address_per_hour_max * UNIT
        self._total_max = section.total_per_hour_max * UNIT
        self._gift_max = min(section.gift_max * UNIT, self._address_max, self._total_max)
        self._history = history
        self._is_open = is_open
        self._clock = clock
        self._show = show
        self._native = history.symbol("")
        self._given: deque[Gift] = deque()  # final, oldest first, within the hour
        self._newest = (0, 0)  # (height, place) of the last one read
        self._promised: dict[bytes, Gift] = {}  # this node's, by txid
        self._busy: set[bytes] = set()  # those whose request is still served

    def check(self, receiver: bytes, units: int) -> None:
        """Raise `GiftTooLarge`, `AddressServed` or `FaucetSpent`."""
        if units > self._gift_max:
            limit, asked = format_amount(self._gift_max), format_amount(units)
            raise GiftTooLarge(limit=limit, asked=asked)
        self._read()
        gifts = [*self._given, *self._promised.values()]
        mine = [gift for gift in gifts if receiver in gift.receivers]
        wait_ms = self._wait_ms(mine, self._address_max - units, len(mine))
        if wait_ms:
            raise AddressServed(
                address=self._show(receiver),
                given=format_amount(_sum(mine)),
                limit=format_amount(self._address_max),
                retry_after_s=_seconds(wait_ms),
            )
        wait_ms = self._wait_ms(gifts, self._total_max - units, GIFTS_PER_HOUR_MAX - 1)
        if wait_ms:
            raise FaucetSpent(
                given=format_amount(_sum(gifts)),
                count=len(gifts),
                limit=format_amount(self._total_max),
                count_max=GIFTS_PER_HOUR_MAX,
                retry_after_s=_seconds(wait_ms),
            )

    @contextmanager
    def promised(self, txid: bytes, receiver: bytes, units: int) -> Iterator[None]:
        """Count a gift that is under way; it is forgotten once it has ended some way."""
        self._promised[txid] = Gift((receiver,), units, self._clock.now_ms())
        self._busy.add(txid)
        try:
            yield
        finally:
            self._busy.discard(txid)

    def _wait_ms(self, gifts: Sequence[Gift], units_left: int, count_left: int) -> int:
        """Until gifts of at most `units_left`, and so many, fit into the hour; 0 if they do."""
        units, count, wait_ms = _sum(gifts), len(gifts), 0
        for gift in gifts:  # oldest first
            if units <= units_left and count <= count_left:
                break
            units, count = units - gift.units, count - 1
            wait_ms = max(1, gift.time_ms + HOUR_MS - self._clock.now_ms())
        return wait_ms

    def _read(self) -> None:
        """Take in what became final since, and forget what is older than an hour or has ended."""
        since_ms = self._clock.now_ms() - HOUR_MS
        for txid in [one for one in self._promised if one not in self._busy]:
            if not self._is_open(txid):
                del self._promised[txid]
        while self._given and self._given[0].time_ms <= since_ms:
            self._given.popleft()
        fresh: list[ActivityInfo] = []
        before: tuple[int, int] | None = None
        while len(fresh) <= GIFTS_PER_HOUR_MAX:
            page = self._history.activity(self._address, before, PAGE)
            new = [
                row
                for row in page
                if (row.height, row.place) > self._newest and row.time_ms > since_ms
            ]
            fresh += new
            if len(new) < PAGE:
                break
            before = new[-1].height, new[-1].place
        if fresh:
            self._newest = fresh[0].height, fresh[0].place
        for row in reversed(fresh):
            self._promised.pop(row.txid, None)
            self._given.append(self._gift(row))

    def _gift(self, row: ActivityInfo) -> Gift:
        change = sum(units for symbol, units in row.changes if symbol == self._native)
        units = max(0, -change - row.coin_change - row.fee)
        return Gift(row.counterparties, units, row.time_ms)


def _sum(gifts: Sequence[Gift]) -> int:
    return sum(gift.units for gift in gifts)


def _seconds(wait_ms: int) -> int:
    return -(-wait_ms // 1000)
