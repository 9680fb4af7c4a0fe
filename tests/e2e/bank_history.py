"""What clients of a bank saw of a network, held against the chains that its nodes ended with.

Law: pure, and it shares no rule with the node. Every payment carries a memo of its own, so that
the chain itself tells which orders were carried out, how often, and how; balances of every height
follow by plain addition. Whatever a client was told must fit that.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Order(NamedTuple):
    """A payment that a client wants: once, whoever is asked for it and how often. Its memo names
    it; with `keyed` it was asked for with an idempotency key."""

    memo: str
    source: bytes
    target: bytes
    units: int
    keyed: bool


class Told(NamedTuple):
    """A node has said that an order is this transaction; with `final`, that it is final there."""

    memo: str
    txid: bytes
    node: int
    at_s: float
    final: bool


class Read(NamedTuple):
    """All balances at one height, as a node told them. Nodes are asked from `since_s` on."""

    node: int
    height: int
    balances: Mapping[bytes, int]
    since_s: float


class Applied(NamedTuple):
    """A transaction of a final block that moves units from one account to another."""

    height: int
    txid: bytes
    memo: str
    source: bytes
    target: bytes
    units: int


class Chain(NamedTuple):
    """What a node ended with: block hashes from height 1, and what they apply, in order."""

    hashes: Sequence[bytes]
    applied: Sequence[Applied]


@dataclass
class History:
    """What clients did and heard, in the order in which they did."""

    orders: dict[str, Order] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def ask(self, order: Order) -> None:
        """A client begins to ask for it."""
        assert order.memo not in self.orders
        self.orders[order.memo] = order


@dataclass
class Verdict:
    """Sentences about what went wrong, by rule; all empty where nothing did."""

    forks: list[str] = field(default_factory=list)  # two blocks at one final height
    lost: list[str] = field(default_factory=list)  # told, and not on the chain
    twice: list[str] = field(default_factory=list)  # one order, two transactions
    overdrawn: list[str] = field(default_factory=list)  # more paid than there was
    altered: list[str] = field(default_factory=list)  # carried out otherwise, or never asked for
    sums_off: list[str] = field(default_factory=list)  # a read that does not add up to the supply
    reads_off: list[str] = field(default_factory=list)  # a read that is not what the chain says
    backwards: list[str] = field(default_factory=list)  # a node that knew more before

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(found) for name, found in vars(self).items()}

    def sentences(self) -> list[str]:
        """All of them."""
        return [f"{name}: {one}" for name, found in vars(self).items() for one in found]


def judge(history: History, chains: Sequence[Chain], opening: Mapping[bytes, int]) -> Verdict:
    """Hold a history against the chains. `opening` are all balances of the genesis."""
    verdict = Verdict()
    longest = max(chains, key=lambda chain: len(chain.hashes))
    for node, chain in enumerate(chains):
        pairs = zip(chain.hashes, longest.hashes, strict=False)
        differ = [height for height, (a, b) in enumerate(pairs, start=1) if a != b]
        verdict.forks += [f"node {node} has another block at height {one}" for one in differ]
    _judge_orders(history, longest, verdict)
    balances = Counter(opening)
    for one in longest.applied:
        if balances[one.source] < one.units:
            verdict.overdrawn.append(f"{one} of {balances[one.source]}")
        _move(balances, one)
    _judge_reads(history, longest, opening, verdict)
    _judge_order_of_time(history, longest, verdict)
    return verdict


def _move(balances: Counter[bytes], applied: Applied) -> None:
    balances[applied.source] -= applied.units
    balances[applied.target] += applied.units


def _judge_orders(history: History, chain: Chain, verdict: Verdict) -> None:
    """What was told is on the chain, as it was ordered, and no order is there twice."""
    ids: defaultdict[str, set[bytes]] = defaultdict(set)
    final: dict[bytes, Applied] = {}
    for one in chain.applied:
        order = history.orders.get(one.memo)
        if order is None or order[1:4] != (one.source, one.target, one.units):
            verdict.altered.append(f"{one} was asked for as {order}")
        if one.txid in final or ids[one.memo]:
            verdict.twice.append(f"{one.memo!r} is applied again as {one.txid.hex()}")
        ids[one.memo].add(one.txid)
        final[one.txid] = one
    for told in history.told:
        applied = final.get(told.txid)
        if applied is None:
            verdict.lost.append(f"node {told.node} told {told.memo!r} as {told.txid.hex()}")
        elif applied.memo != told.memo:
            verdict.altered.append(f"{told} is {applied}")
        if ids[told.memo] - {told.txid}:
            verdict.twice.append(f"node {told.node} told {told.memo!r} as {told.txid.hex()}")


def _judge_reads(
    history: History, chain: Chain, opening: Mapping[bytes, int], verdict: Verdict
) -> None:
    """Reads of a height add up to the supply and are what the blocks up to it make."""
    supply = sum(opening.values())
    balances = Counter(opening)
    places = iter(chain.applied)
    following = next(places, None)
    for read in sorted(history.reads, key=lambda one: one.height):
        while following is not None and following.height <= read.height:
            _move(balances, following)
            following = next(places, None)
        where = f"node {read.node} at height {read.height}"
        if sum(read.balances.values()) != supply:
            verdict.sums_off.append(f"{where}: {sum(read.balances.values())}, not {supply}")
        wrong = [one.hex() for one, units in read.balances.items() if balances[one] != units]
        if wrong or read.height > len(chain.hashes):
            verdict.reads_off.append(f"{where}: {', '.join(wrong) or 'no such block'}")


def _judge_order_of_time(history: History, chain: Chain, verdict: Verdict) -> None:
    """A node never knows less than it has told before: not after a restart, and not after a cut."""
    heights = {one.txid: one.height for one in chain.applied}
    for node in {one.node for one in history.reads}:
        known: list[tuple[float, int]] = [  # when it was told at the latest, and up to where
            (one.at_s, heights[one.txid])
            for one in history.told
            if one.node == node and one.final and one.txid in heights
        ]
        known.sort()
        told = iter(known)
        following = next(told, None)
        least = 0
        for read in (one for one in history.reads if one.node == node):
            while following is not None and following[0] <= read.since_s:
                least = max(least, following[1])
                following = next(told, None)
            if read.height < least:
                verdict.backwards.append(f"node {node} is at {read.height}, was at {least}")
            least = max(least, read.height)
