"""`python -m chaind.miner.card_probe [INDEX …]`: names of the cards that mine, or what is at fault.

Printed as the JSON of `devices.Tried`. Cards that are named must be usable; of all, one must be.
"""

import sys
from collections.abc import Sequence

import msgspec

from chaind.miner.devices import CardUnusable, GpuFault, Tried
from chaind.miner.gpu import Card, count_cards


def probe(named: Sequence[int]) -> Tried:
    """Open each, and let go of it. Raises a `GpuFault`."""
    cards: dict[int, str] = {}
    left_out: list[CardUnusable] = []
    for index in named or range(count_cards()):
        try:
            cards[index] = Card.open(index).name
        except CardUnusable as fault:
            if named:
                raise
            left_out.append(fault)
    if not cards:
        raise left_out[0]
    return Tried(cards=cards, left_out=tuple(map(str, left_out)))


def main() -> None:
    """See the module."""
    try:
        tried = probe(list(map(int, sys.argv[1:])))
    except GpuFault as fault:
        values = {
            name: value if isinstance(value, int) else str(value)
            for name, value in fault.values.items()
        }
        tried = Tried(cards={}, fault=fault.code, values=values)
    sys.stdout.buffer.write(msgspec.json.encode(tried))


if __name__ == "__main__":
    main()
