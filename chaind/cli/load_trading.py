"""A market maker and a random trader, who make the markets of a development chain live.

Law: what they ask for follows from a seed, the markets and their last prices alone. Both are
bounded: the maker takes its quotes back before it gives new ones, the trader clears what it left
standing.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from chaind.primitives.address import key_address
from chaind.primitives.keys import SecretKey
from chaind.primitives.orders import (
    CancelOrders,
    Kind,
    OrderAction,
    PlaceOrder,
    Side,
    Terms,
    TimeInForce,
)

QUOTES = 5  # prices of a side that the maker quotes
SPREAD_PPM, STEP_PPM = 400, 200  # half of the maker's spread, and how far its prices are apart
DRIFT_PPM = 300  # how far the middle moves between two rounds
LEASH_PPM = 50_000  # how far it moves in all: markets have price bands
TAKES = 3  # orders of the random trader for each round of the maker
RESTING_SHARE = 0.3  # of them that rest
CLEARING_ROUNDS = 20  # after so many the trader takes all its orders back
NOTIONAL_UNITS = 200 * 10**8  # what an order is worth at most, about
_PPM = 1_000_000


class Place(NamedTuple):
    """A market as the two see it: its name, one lot at one tick in base units, where it began."""

    symbol: str
    step_units: int
    ticks: int


class Asked(NamedTuple):
    """An action and who signs it."""

    key: SecretKey
    action: OrderAction


class Pair:
    """See the module's law. `actions` never ends."""

    def __init__(
        self, places: Sequence[Place], maker: SecretKey, trader: SecretKey, seed: int
    ) -> None:
        self._places = places
        self._maker, self._trader = maker, trader
        self._maker_address, self._trader_address = (
            key_address(key.public) for key in (maker, trader)
        )
        self._random = Random(seed)  # noqa: S311 — a load that can be repeated, no secret
        self._middles = [place.ticks for place in places]

    def rounds(self) -> Iterator[list[Asked]]:
        """Round after round, the markets in turn."""
        number = 0
        while True:
            number += 1
            which = number % len(self._places)
            self._drift(which)
            clears = number % CLEARING_ROUNDS == 0
            yield [*self._quotes(which), *self._orders(which, clears=clears)]

    def _drift(self, which: int) -> None:
        begun = self._places[which].ticks
        reach = max(1, begun * DRIFT_PPM // _PPM)
        leash = max(1, begun * LEASH_PPM // _PPM)
        moved = self._middles[which] + self._random.randint(-reach, reach)
        self._middles[which] = max(1 + begun - leash, min(begun + leash, moved))

    def _quotes(self, which: int) -> Iterator[Asked]:
        place, middle = self._places[which], self._middles[which]
        symbol, owner = place.symbol, self._maker_address
        yield Asked(self._maker, CancelOrders(owner, symbol))
        for level in range(QUOTES):
            away = max(1 + level, middle * (SPREAD_PPM + level * STEP_PPM) // _PPM)
            for side, ticks in ((Side.BUY, middle - away), (Side.SELL, middle + away)):
                terms = self._terms(place, side, max(1, ticks), TimeInForce.GTC)
                yield Asked(self._maker, PlaceOrder(owner, terms))

    def _orders(self, which: int, *, clears: bool) -> Iterator[Asked]:
        place, middle, owner = self._places[which], self._middles[which], self._trader_address
        if clears:
            yield Asked(self._trader, CancelOrders(owner))
        for _ in range(TAKES):
            side = self._random.choice(tuple(Side))
            sign = 1 if side is Side.BUY else -1
            if self._random.random() < RESTING_SHARE:
                ticks = middle - sign * max(1, middle * self._random.randint(100, 2_000) // _PPM)
                time_in_force = TimeInForce.GTC
            else:
                ticks = middle + sign * max(1, middle * 10 * SPREAD_PPM // _PPM)
                time_in_force = TimeInForce.IOC
            terms = self._terms(place, side, max(1, ticks), time_in_force)
            yield Asked(self._trader, PlaceOrder(owner, terms))

    def _terms(self, place: Place, side: Side, ticks: int, time_in_force: TimeInForce) -> Terms:
        most = max(1, NOTIONAL_UNITS // (ticks * place.step_units))
        lots = self._random.randint(max(1, most // 10), most)
        return Terms(
            place.symbol, side, lots=lots, ticks=ticks, time_in_force=time_in_force, kind=Kind.LIMIT
        )
