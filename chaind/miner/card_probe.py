"""`python -m chaind.miner.card_probe [INDEX …]`: names of the cards that mine, or what is at fault.

Printed as the JSON of `devices.Tried`. Without an index all cards are tried, and must be usable.
"""

import sys

import msgspec

from chaind.miner.devices import GpuFault, Tried
from chaind.miner.gpu import Card, count_cards


def main() -> None:
    """Open each, and let go of it."""
    cards: dict[int, str] = {}
    try:
        for index in map(int, sys.argv[1:]) if sys.argv[1:] else range(count_cards()):
            cards[index] = Card.open(index).name
        tried = Tried(cards=cards)
    except GpuFault as fault:
        values = {
            name: one if isinstance(one, int) else str(one) for name, one in fault.values.items()
        }
        tried = Tried(cards={}, fault=fault.code, values=values)
    sys.stdout.buffer.write(msgspec.json.encode(tried))


if __name__ == "__main__":
    main()
