"""What the maker of a block can still gain on its own order, by the order of actions in a block.

python benchmarks/advantage.py --blocks 2000 --takers 20

A block of takers meets one book. One of them is the proposer's, who knows all others and draws its
own salt until its order comes first, as anybody who knows the parent can. Its price is compared
with that of the same order with one salt, and with the place that a proposer would give itself if
the order of a block were its own choice.
"""

from collections.abc import Sequence
from random import Random
from statistics import mean

import click
from common import Table, output_options

from chaind.market.events import Matched
from chaind.market.exchange import Exchange
from chaind.market.turns import in_turn
from chaind.primitives.orders import (
    GTC,
    IOC,
    LIMIT,
    SELL,
    Limits,
    Market,
    OrderAction,
    PlaceOrder,
    Side,
    Terms,
)

SYMBOL = "BTC/USD"
CENTRE = 1_000_000  # ticks
LEVELS = 400
LOTS_AT_LEVEL = 10
LOTS_MAX = 40
OWN = b"\1" * 20
MARKET = Market(SYMBOL, "BTC", "USD", 1_000_000, 10_000, CENTRE, band_ppm=500_000)


def paid(first: Sequence[bytes], actions: dict[bytes, OrderAction], own: bytes) -> float:
    """Mean ticks above the best offer that the own order pays, where these are applied in turn."""
    exchange = Exchange(Limits(open_orders_max=1 << 40))
    exchange.begin(1, 0)
    exchange.list_market(MARKET)
    for level in range(LEVELS):
        terms = Terms(SYMBOL, SELL, LIMIT, LOTS_AT_LEVEL, CENTRE + level, GTC)
        exchange.place(b"\2" * 20, level.to_bytes(32, "big"), terms)
    lots = ticks = 0
    for txid in first:
        for event in exchange.apply(txid, actions[txid]):
            if txid == own and isinstance(event, Matched):
                lots += event.lots
                ticks += event.lots * (event.ticks - CENTRE)
    return ticks / lots


def take(owner: bytes, lots: int) -> OrderAction:
    return PlaceOrder(owner, Terms(SYMBOL, Side.BUY, LIMIT, lots, CENTRE + LEVELS, IOC))


@click.command()
@click.option("--blocks", type=int, default=2_000, show_default=True)
@click.option("--takers", type=int, default=20, show_default=True, help="Beside the own order.")
@click.option("--seed", type=int, default=1, show_default=True)
@output_options
def main(blocks: int, takers: int, seed: int, as_json: bool, record: bool) -> None:
    """What a proposer gains by grinding the salt of its own order."""
    dice = Random(seed)
    costs: dict[str, list[float]] = {"one salt": [], "salts until first": [], "own choice": []}
    salts = []
    for _ in range(blocks):
        parent = dice.randbytes(32)
        actions: dict[bytes, OrderAction] = {
            dice.randbytes(32): take(number.to_bytes(20, "big"), dice.randint(1, LOTS_MAX))
            for number in range(100, 100 + takers)
        }
        own, order = dice.randbytes(32), take(OWN, LOTS_MAX // 2)
        drawn, count = own, 1
        turns = in_turn(parent, [*actions.items(), (drawn, order)])
        costs["one salt"].append(paid(turns, {**actions, own: order}, own))
        while turns[0] != drawn:
            drawn, count = dice.randbytes(32), count + 1
            turns = in_turn(parent, [*actions.items(), (drawn, order)])
        salts.append(count)
        costs["salts until first"].append(paid(turns, {**actions, drawn: order}, drawn))
        costs["own choice"].append(paid([drawn, *turns[1:]], {**actions, drawn: order}, drawn))
    table = Table("advantage", f"A proposer's own order among {takers} takers of one book")
    for name, values in costs.items():
        table.add(f"paid above the best offer: {name}", mean(values), "ticks")
    gain = mean(costs["one salt"]) - mean(costs["salts until first"])
    table.add("gained by grinding", gain, "ticks")
    table.add("gained by grinding, of the price", gain / CENTRE * 1e6, "ppm")
    table.add("salts drawn, mean", mean(salts), "")
    table.note(
        f"{blocks:,} blocks; {LOTS_AT_LEVEL} lots at each tick, takers of 1 to {LOTS_MAX} lots, "
        f"the own order of {LOTS_MAX // 2}; prices of {CENTRE:,} ticks."
    )
    table.note(
        "Grinding brings what the free choice of the order would bring within the class of takers, "
        "and nothing against cancels and post-only orders, which come before; whoever knows the "
        "parent can grind as well, the proposer alone knows the others and can leave them out."
    )
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
