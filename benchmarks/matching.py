"""The matching engine alone: operations per second of one core on a realistic mix.

python benchmarks/matching.py
python benchmarks/matching.py --resting 1000000 --operations 200000

Orders stand in a book when the clock starts; then 70 % of the operations are cancels and amends,
as on a real venue. Two published Python engines get the same stream in the same run: pip brings
them into a directory of their own that is gone afterwards. All must trade the same quantity.
"""

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from random import Random
from typing import Any, NamedTuple, Protocol

import click
from common import Table, output_options
from postgres import Unavailable

from chaind.cli.daemon import GC_THRESHOLDS
from chaind.market.events import Matched
from chaind.market.exchange import Exchange
from chaind.market.orders import Order
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    Kind,
    Limits,
    Market,
    OrderAction,
    PlaceOrder,
    Side,
    Terms,
)

PACKAGES = ("lightmatchingengine==2019.1.4", "pyorderbook==0.4.9")
INSTALL_S_MAX = 300.0
SYMBOL = "BTC/USD"
CENTRE = 1_000_000  # ticks
SPREAD = 5  # ticks from the centre that no resting order passes
REACH_MEAN = 300  # ticks from there to the mean resting order
LOTS_MAX = 40
ACCOUNTS = 1_000
BLOCK = 1_000  # operations of a block
MARKET = Market(
    SYMBOL, "BTC", "USD", 1_000_000, 10_000, CENTRE, maker_fee_ppm=500, taker_fee_ppm=1_000
)
LIMITS = Limits(open_orders_max=1 << 40)  # what an account may do is not measured here
PLACE, TAKE, CANCEL, REDUCE, MOVE = range(5)
MIX = {PLACE: 26, TAKE: 4, CANCEL: 24, REDUCE: 16, MOVE: 30}  # per cent


class Operation(NamedTuple):
    """`number` names an order. Of an amendment, `lots` are open afterwards and `whole` includes
    what has traded."""

    what: int
    number: int
    buys: bool = False
    lots: int = 0
    ticks: int = 0
    whole: int = 0


class Engine(Protocol):
    """An engine as the stream sees it. `seal_s` is CPU spent at the ends of blocks."""

    seal_s: float

    def prepare(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Operations as it takes them; not timed."""
        ...

    def run(self, prepared: Sequence[Any]) -> int:
        """Apply all of them; how many lots traded."""
        ...


class Chaind:
    """The exchange as the ledger uses it: in blocks, journaled, with events and digests."""

    def __init__(self) -> None:
        self.exchange = Exchange(LIMITS)
        self._height = 0
        self.seal_s = 0.0
        self.exchange.begin(0, 0)
        self.exchange.list_market(MARKET)
        self._seal()

    def prepare(self, operations: Sequence[Operation]) -> list[tuple[bytes, OrderAction]]:
        """What the ledger has decoded when it comes to execute."""
        return [(_id(one.number), _action(one)) for one in operations]

    def run(self, prepared: Sequence[tuple[bytes, OrderAction]]) -> int:
        """See `Engine`."""
        exchange, lots = self.exchange, 0
        for start in range(0, len(prepared), BLOCK):
            self._height += 1
            exchange.begin(self._height, 0)
            for order_id, action in prepared[start : start + BLOCK]:
                for event in exchange.apply(order_id, action):
                    if isinstance(event, Matched):
                        lots += event.lots
            exchange.trigger()
            self._seal()
        return lots

    def _seal(self) -> None:
        """Rows and digest of the block, which a ledger writes; then it is final."""
        journal, begun_s = self.exchange.journal, time.process_time()
        journal.settle(journal.seal())
        self.seal_s += time.process_time() - begun_s


def _account(operation: Operation) -> bytes:
    """Accounts that buy never sell: the others would let an account trade with itself."""
    return (operation.number % ACCOUNTS * 2 + operation.buys).to_bytes(20, "big")


def _id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _action(operation: Operation) -> OrderAction:
    what, number, buys, lots, ticks, whole = operation
    account = _account(operation)
    if what == PLACE:
        side = Side.BUY if buys else Side.SELL
        return PlaceOrder(account, Terms(SYMBOL, side, Kind.LIMIT, lots, ticks))
    if what == CANCEL:
        return CancelOrder(account, _id(number))
    return AmendOrder(account, _id(number), whole, ticks)


class LightMatchingEngine:
    """lightmatchingengine: dicts of lists by price. It cannot amend: less quantity is set on its
    order, another price is a cancel and a new order."""

    seal_s = 0.0

    def __init__(self) -> None:
        module = import_module("lightmatchingengine.lightmatchingengine")
        self._engine = module.LightMatchingEngine()
        self._orders: dict[int, Any] = {}

    def prepare(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """As they are."""
        return operations

    def run(self, prepared: Sequence[Operation]) -> int:
        """See `Engine`."""
        engine, orders, traded = self._engine, self._orders, 0
        for what, number, buys, lots, ticks, _ in prepared:
            if what == REDUCE:
                orders[number].leaves_qty = lots
                continue
            if what != PLACE:
                engine.cancel_order(orders[number].order_id, SYMBOL)
            if what != CANCEL:
                order, _ = engine.add_order(SYMBOL, ticks, lots, 1 if buys else 2)
                orders[number] = order
                traded += order.cum_qty
        return traded


class PyOrderBook:
    """pyorderbook: a heap of levels, each a dict of orders. It cannot amend either."""

    seal_s = 0.0

    def __init__(self) -> None:
        module = import_module("pyorderbook")
        self._book, self._bid, self._ask = module.Book(), module.bid, module.ask
        self._orders: dict[int, Any] = {}

    def prepare(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """As they are."""
        return operations

    def run(self, prepared: Sequence[Operation]) -> int:
        """See `Engine`."""
        book, orders, traded = self._book, self._orders, 0
        for what, number, buys, lots, ticks, _ in prepared:
            if what == REDUCE:
                orders[number].quantity = lots
                continue
            if what != PLACE:
                book.cancel(orders[number])
            if what != CANCEL:
                order = (self._bid if buys else self._ask)(SYMBOL, ticks, lots)
                orders[number] = order
                book.match(order)
                traded += lots - order.quantity
        return traded


class Flow:
    """Draws operations that mean something: cancels and amends of orders that are open."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._engine = Chaind()  # knows which orders are open; nothing of it is timed
        self._open: list[int] = []
        self._count = 0

    def resting(self, count: int) -> list[Operation]:
        """Orders that stand in the book when the clock starts."""
        return [self._kept(self._draw(PLACE)) for _ in range(count)]

    def mixed(self, count: int) -> list[Operation]:
        """Operations in the mix."""
        kinds = self._random.choices(tuple(MIX), tuple(MIX.values()), k=count)
        return [self._kept(self._draw(kind)) for kind in kinds]

    def _draw(self, kind: int) -> Operation:
        random, order = self._random, None
        if kind not in (PLACE, TAKE):
            order = self._open_order()
        if order is None or (kind == REDUCE and order.lots == 1):
            self._count += 1
            self._open.append(self._count)
            buys = random.random() < 0.5
            ticks = self._ticks(buys, 4 * SPREAD) if kind == TAKE else self._ticks(buys)
            return Operation(PLACE, self._count, buys, random.randint(1, LOTS_MAX), ticks)
        number, buys = int.from_bytes(order.id, "big"), order.buys
        if kind == CANCEL:
            return Operation(CANCEL, number, buys)
        lots, ticks = order.lots, order.ticks
        if kind == REDUCE:
            lots = random.randrange(1, lots)
        while ticks == order.ticks and kind == MOVE:
            ticks = self._ticks(buys)
        return Operation(kind, number, buys, lots, ticks, lots + order.filled)

    def _ticks(self, buys: bool, beyond: int = 0) -> int:
        """A price on the own side, or so far beyond the centre."""
        away = beyond or -SPREAD - int(self._random.expovariate(1 / REACH_MEAN))
        return CENTRE + away if buys else CENTRE - away

    def _open_order(self) -> Order | None:
        """One of the open orders; those that are done leave the list when they are met."""
        while self._open:
            index = self._random.randrange(len(self._open))
            order = self._engine.exchange.order(_id(self._open[index]))
            if order is not None:
                return order
            self._open[index] = self._open[-1]
            self._open.pop()
        return None

    def _kept(self, operation: Operation) -> Operation:
        self._engine.run(self._engine.prepare([operation]))
        return operation


@contextmanager
def published() -> Iterator[None]:
    """The published engines can be imported. Raises `Unavailable`."""
    with tempfile.TemporaryDirectory(prefix="chaind-engines-") as directory:
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        try:
            done = subprocess.run(
                [*words, "--target", directory, *PACKAGES],
                capture_output=True,
                text=True,
                timeout=INSTALL_S_MAX,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"pip install took more than {INSTALL_S_MAX:.0f} s") from None
        if done.returncode:
            raise Unavailable(f"pip install {' '.join(PACKAGES)}: {done.stderr.strip()[-300:]}")
        sys.path.insert(0, directory)
        try:
            yield
        finally:
            sys.path.remove(directory)


class Timed(NamedTuple):
    """`matched_per_s` leaves out the ends of blocks."""

    per_s: float
    matched_per_s: float
    lots: int


def best_of(
    rounds: int, kind: type[Engine], resting: Sequence[Operation], mixed: Sequence[Operation]
) -> Timed:
    """Rounds are alike; of each block the one counts that was disturbed least."""
    best_s = [(float("inf"), float("inf"))] * -(-len(mixed) // BLOCK)
    lots = 0
    for _ in range(rounds):
        engine = kind()
        engine.run(engine.prepare(resting))
        prepared, lots = engine.prepare(mixed), 0
        for index, (spent_s, matching_s) in enumerate(best_s):
            part = prepared[index * BLOCK : (index + 1) * BLOCK]
            seal_s, begun_s = engine.seal_s, time.process_time()
            lots += engine.run(part)
            took_s = time.process_time() - begun_s
            without_s = took_s - (engine.seal_s - seal_s)
            best_s[index] = (min(spent_s, took_s), min(matching_s, without_s))
    spent_s, matching_s = map(sum, zip(*best_s, strict=True))
    return Timed(len(mixed) / spent_s, len(mixed) / matching_s, lots)


@click.command()
@click.option("--resting", type=int, default=100_000, show_default=True, help="Orders at first.")
@click.option("--operations", type=int, default=200_000, show_default=True, help="Timed ones.")
@click.option(
    "--rounds", type=int, default=3, show_default=True, help="Of each block the best counts."
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--alone", is_flag=True, help="Without the published engines.")
@output_options
def main(
    resting: int, operations: int, rounds: int, seed: int, alone: bool, as_json: bool, record: bool
) -> None:
    """Operations per second of chaind's engine and of two published ones."""
    table = Table("matching", f"Matching engine, {resting:,} resting orders")
    gc.set_threshold(*GC_THRESHOLDS)  # as a node does, for all engines
    flow = Flow(seed)
    standing, mixed = flow.resting(resting), flow.mixed(operations)
    ours = best_of(rounds, Chaind, standing, mixed)
    table.add("chaind: checks, events, undo journal", ours.matched_per_s, "ops/s", "≥ 200,000")
    table.add("chaind: and rows and digest of every block", ours.per_s, "ops/s")
    others: dict[str, type[Engine]] = {}
    if not alone:
        others = {PACKAGES[0]: LightMatchingEngine, PACKAGES[1]: PyOrderBook}
    try:
        with published() if others else nullcontext():
            for name, kind in others.items():
                theirs = best_of(rounds, kind, standing, mixed)
                if theirs.lots != ours.lots:
                    raise RuntimeError(f"{name} traded {theirs.lots} lots, chaind {ours.lots}")
                table.add(name, theirs.per_s, "ops/s")
                table.add(f"chaind over {name}", ours.matched_per_s / theirs.per_s, "times")
    except Unavailable as reason:
        click.echo(f"SKIPPED the published engines: {reason}", err=True)
        table.note(f"The published engines were skipped: {reason}")
    shares = ", ".join(
        f"{MIX[kind]} % {name}"
        for kind, name in (
            (PLACE, "orders that rest"),
            (TAKE, "that take"),
            (CANCEL, "cancels"),
            (REDUCE, "amends to less"),
            (MOVE, "amends to another price"),
        )
    )
    table.note(f"{operations:,} operations: {shares}; {ours.lots:,} lots traded by each engine.")
    table.note(
        "The published engines keep no rows, and nothing to undo: the first row is over theirs."
    )
    table.note(f"CPU time of one thread, of each {BLOCK:,} operations the best of {rounds} rounds.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
