"""Random scripts of exchange operations, run through the engine and the reference side by side.

A step is a plain value that means something whatever came before ("the third oldest open order"),
so any part of a script is a script: what fails is cut down to the few steps that fail.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from market_books import QUEUES, check_books, dump
from msgspec.structs import replace
from reference_engine import Reference
from reference_rules import Refused, Told

from chaind.market.errors import REFUSALS
from chaind.market.events import Done, Event, Move, Reduced, moves
from chaind.market.exchange import Exchange, Held
from chaind.market.journal import Delta
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Kind,
    Limits,
    Market,
    OrderAction,
    PlaceOrder,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)

Step = tuple[Any, ...]

LIMITS = Limits(
    fills_per_order_max=3, open_orders_max=9, expiries_per_block_max=2, triggers_per_block_max=2
)
MARKETS = (
    Market(
        "BTC/USD",
        "BTC",
        "USD",
        tick_units=1_000_000,
        lot_units=10_000,
        reference_ticks=100,
        min_notional_units=15_000,
        maker_fee_ppm=1_000,
        taker_fee_ppm=2_500,
        band_ppm=150_000,
    ),
    Market(
        "COIN/USD",
        "COIN",
        "USD",
        tick_units=10_000,
        lot_units=10_000,
        reference_ticks=1_000,
        taker_fee_ppm=33_333,
        band_ppm=30_000,
    ),
)
ASSETS = ("USD", "BTC", "COIN")
ACCOUNTS = tuple(bytes([number]) * 20 for number in range(1, 7))
START_UNITS = 3_000_000
CHECK_EVERY = 1_000  # steps between two looks at every sum and link
BLOCKS_KEPT = 6  # that can be undone


class Disagreement(AssertionError):
    """The engine and the reference differ, or a book contradicts itself."""


def draw_script(random: Random, steps: int) -> list[Step]:
    """A script of so many steps."""
    return [_draw_step(random) for _ in range(steps)]


def _draw_step(random: Random) -> Step:
    kind = random.choices(
        ("place", "cancel", "amend", "cancel all", "block", "abandon", "undo"),
        (64, 9, 14, 0.5, 10, 0.5, 1),
    )[0]
    if kind == "place":
        return (kind, random.choice(ACCOUNTS), _draw_terms(random))
    if kind == "cancel":
        return (kind, random.randrange(100), random.random() < 0.05)
    if kind == "amend":
        lots = random.choice((0, 1, 2, 3, 5, 8, 13, 20))
        shift = random.choice((0, 0, -6, -3, -1, 1, 3, 6))
        stop_shift = random.choice((0, 0, -4, 4))
        return (kind, random.randrange(100), lots, shift, stop_shift, random.random() < 0.2)
    if kind == "cancel all":
        symbol = random.choice(("", "BTC/USD", "COIN/USD"))
        return (kind, random.choice(ACCOUNTS), symbol, random.choice((None, *Side)))
    if kind == "undo":
        return (kind, random.randrange(1, BLOCKS_KEPT), random.randrange(0, BLOCKS_KEPT))
    return (kind, random.randrange(1, 50))


def _draw_terms(random: Random) -> Terms:
    market = random.choice(MARKETS)
    symbol = market.symbol if random.random() > 0.002 else "NO/USD"
    centre = market.reference_ticks
    reach = max(3, centre * market.band_ppm // 1_000_000)
    kind = random.choices((Kind.LIMIT, Kind.MARKET), (4, 1))[0]
    trigger = random.choices(tuple(Trigger), (8, 2, 1))[0]
    time_in_force = random.choices(tuple(TimeInForce), (6, 4, 2, 2))[0]
    if kind is Kind.MARKET and trigger is Trigger.NONE:
        time_in_force = random.choice((TimeInForce.IOC, TimeInForce.FOK))
    elif trigger is not Trigger.NONE and time_in_force is TimeInForce.FOK:
        time_in_force = TimeInForce.GTC
    rests = time_in_force <= TimeInForce.GTT and trigger is Trigger.NONE
    near = random.randint(-reach, reach) // random.choice((1, 2, 2, 4))
    return Terms(
        symbol,
        random.choice(tuple(Side)),
        kind,
        lots=random.choice((2, 3, 5, 8, 13, 30)) if random.random() > 0.002 else 1 << 56,
        ticks=centre + near if kind is Kind.LIMIT else 0,
        time_in_force=time_in_force,
        expires_ms=random.randrange(80) if time_in_force is TimeInForce.GTT else 0,
        post_only=kind is Kind.LIMIT and rests and random.random() < 0.25,
        trigger=trigger,
        stop_ticks=0 if trigger is Trigger.NONE else centre + random.randint(-reach, reach) // 2,
        self_trade=random.choice(tuple(SelfTrade)),
        client_id=random.choice("abcdefgh") if random.random() < 0.2 else "",
    )


def told(event: Event) -> Told:
    """An event in the reference's words."""
    values = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        values.append(value.name if name == "reason" else value)
    return (type(event).__name__, *values)


class Money(NamedTuple):
    """What the ledger would hold, by the events alone."""

    available: dict[tuple[bytes, str], int]
    reserved: dict[tuple[bytes, str], int]
    fees: dict[str, int]

    def copy(self) -> "Money":
        return Money(dict(self.available), dict(self.reserved), dict(self.fees))


class Sealed(NamedTuple):
    """A block that can be undone, and everything as it was after it."""

    delta: Delta
    dump: bytes
    reference: Reference
    money: Money


class Run:
    """One script under way. `seen` counts what happened."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.reference = Reference(LIMITS)
        self.seen: Counter[str] = Counter()
        self.money = Money({}, {}, {})
        for account in ACCOUNTS:
            for asset in ASSETS:
                self.money.available[account, asset] = START_UNITS
                self.reference.money[account, asset] = START_UNITS
        self.made = self.played = 0
        exchange.begin(0, 0)
        for market in MARKETS:
            exchange.list_market(market)
            self.reference.markets[market.symbol] = market
        delta = exchange.journal.seal()
        exchange.journal.settle(delta)
        self.blocks = [self.sealed(delta)]
        self.begin(1)

    def play(self, script: Sequence[Step]) -> None:
        """Run all steps; raises `Disagreement`."""
        for number, step in enumerate(script, 1):
            self.played = number
            getattr(self, step[0].replace(" ", "_"))(*step[1:])
            if number % CHECK_EVERY == 0:
                self.check_all()
        self.block(1)
        self.check_all()

    # --- steps

    def place(self, account: bytes, terms: Terms) -> None:
        """`expires_ms` is from now on."""
        if terms.time_in_force is TimeInForce.GTT:
            terms = replace(terms, expires_ms=terms.expires_ms + self.reference.now_ms)
        self.made += 1
        order_id = self.made.to_bytes(32, "big")
        if self.is_short(account, lambda: self.exchange.reserve_for(terms)):
            return
        self.act(
            order_id,
            PlaceOrder(account, terms),
            lambda: self.reference.place(account, order_id, terms),
        )

    def cancel(self, which: int, foreign: bool) -> None:
        account, order_id = self.target(which)
        if foreign:
            account = ACCOUNTS[(ACCOUNTS.index(account) + 1) % len(ACCOUNTS)]
        self.act(
            b"",
            CancelOrder(account, order_id),
            lambda: self.reference.cancel(account, order_id),
        )

    def cancel_all(self, account: bytes, symbol: str, side: Side | None) -> None:
        self.act(
            b"",
            CancelOrders(account, symbol, side),
            lambda: self.reference.cancel_all(account, symbol, side),
        )

    def amend(self, which: int, lots: int, shift: int, stop_shift: int, post_only: bool) -> None:
        account, order_id = self.target(which)
        order = self.reference.orders.get(order_id)
        ticks = order.terms.ticks + shift if order and order.terms.ticks and shift else 0
        stop = order.terms.stop_ticks + stop_shift if order and order.waits and stop_shift else 0
        rests = order is not None and order.terms.kind is Kind.LIMIT and not order.waits
        amendment = AmendOrder(account, order_id, lots, ticks, stop, post_only and rests)
        if self.is_short(account, lambda: self.exchange.reserve_to_amend(amendment)):
            return
        self.act(
            b"",
            amendment,
            lambda: self.reference.amend(account, order_id, lots, ticks, stop, post_only and rests),
        )

    def is_short(self, account: bytes, asked: Callable[[], Held]) -> bool:
        """Whether the ledger would not let an action through for want of funds."""
        try:
            held = asked()
        except REFUSALS:  # the action itself will be refused, for the same reason
            return False
        short = held.units > self.money.available[account, held.asset]
        self.seen["short of funds"] += short
        return short

    def block(self, wait_ms: int) -> None:
        self.agree(self.exchange.trigger(), self.reference.trigger())
        delta = self.exchange.journal.seal()
        self.blocks.append(self.sealed(delta))
        if len(self.blocks) > BLOCKS_KEPT:
            del self.blocks[0]
            self.exchange.journal.settle(self.blocks[0].delta)
        self.begin(wait_ms)

    def abandon(self, wait_ms: int) -> None:
        self.drop_open_block()
        self.begin(wait_ms)

    def undo(self, count: int, again: int) -> None:
        self.drop_open_block()
        undone = []
        for _ in range(min(count, len(self.blocks) - 1)):
            undone.append(self.blocks.pop())
            expect(self.exchange.journal.undo() is undone[-1].delta, "another delta is undone")
            self.expect_head("undo")
        for _ in range(min(again, len(undone))):
            self.blocks.append(undone.pop())
            self.exchange.journal.redo(self.blocks[-1].delta)
            self.expect_head("redo")
            self.seen["redo"] += 1
        self.seen["undo"] += 1
        self.restore()
        self.begin(1)

    # --- how they are compared

    def act(self, action_id: bytes, action: OrderAction, words: Callable[[], list[Told]]) -> None:
        """Apply an action to both; a refusal changes nothing and has the same code."""
        try:
            expected: list[Told] | str = words()
        except Refused as refused:
            expected = str(refused)
        try:
            events = self.exchange.apply(action_id, action)
        except ChaindError as error:
            expect(isinstance(error, REFUSALS), f"{error!r} is no refusal")
            expect(error.code == expected, f"{action}: {error.code}, expected {expected}")
            self.seen[error.code] += 1
            return
        expect(not isinstance(expected, str), f"{action} applies, expected {expected}")
        self.agree(events, expected)

    def agree(self, events: Sequence[Event], expected: list[Told] | str) -> None:
        """Both tell the same; the money follows the events."""
        given = [told(event) for event in events]
        expect(given == expected, f"told   {given}\nexpected {expected}")
        for event in events:
            self.seen[type(event).__name__] += 1
            if isinstance(event, Done | Reduced):
                self.seen[f"{type(event).__name__} {event.reason.name}"] += 1
            market = next(one for one in MARKETS if one.symbol == event.symbol)
            for move in moves(market, event):
                self.book_move(move)

    def book_move(self, move: Move) -> None:
        account, asset, available, reserved = move
        money = self.money
        if account is None:
            money.fees[asset] = money.fees.get(asset, 0) + available
            return
        for sums, units in ((money.available, available), (money.reserved, reserved)):
            sums[account, asset] = sums.get((account, asset), 0) + units
            expect(sums[account, asset] >= 0, f"negative after {move}")

    def check_all(self) -> None:
        """Every book, every sum, every link; and the rows alone bring all of it back."""
        check_books(self.exchange)
        reference, money = self.reference, self.money
        for symbol in reference.markets:
            ours = {name: self.queue(symbol, name) for name in QUEUES}
            theirs = {name: reference.queue(symbol, name) for name in QUEUES}
            expect(ours == theirs, f"{symbol}: {ours}\nexpected {theirs}")
            last = self.exchange.last_ticks(symbol)
            expect(last == reference.last.get(symbol), f"{symbol}: last {last}")
        expect(money.available == reference.money, "balances differ")
        held = {key: units for key, units in money.reserved.items() if units}
        expect(held == reference.reserved(), "reserves are not what open orders hold")
        expect(money.fees == reference.fees, "fees differ")
        for asset in ASSETS:
            total = money.fees.get(asset, 0)
            for sums in (money.available, money.reserved):
                total += sum(units for (_, one), units in sums.items() if one == asset)
            expect(total == START_UNITS * len(ACCOUNTS), f"{asset} is not conserved: {total}")
        self.seen["checked"] += 1

    def queue(self, symbol: str, name: str) -> list[Told]:
        levels = getattr(self.exchange.journal.books[symbol], name)
        return [
            (order.id, order.lots, order.filled, order.ticks, level.ticks)
            for level in levels
            for order in level
        ]

    # --- blocks

    def begin(self, wait_ms: int) -> None:
        head = self.blocks[-1].reference
        height, now_ms = head.height + 1, head.now_ms + wait_ms
        self.agree(self.exchange.begin(height, now_ms), self.reference.begin(height, now_ms))

    def sealed(self, delta: Delta) -> Sealed:
        written = dump(self.exchange)
        again = Exchange.load(
            reversed(list(self.exchange.rows())), self.exchange.journal.digest, LIMITS
        )
        expect(dump(again) == written, "rows do not bring the books back")
        return Sealed(delta, written, self.reference.snapshot(), self.money.copy())

    def drop_open_block(self) -> None:
        self.exchange.journal.abandon()
        self.expect_head("abandon")
        self.seen["abandon"] += 1
        self.restore()

    def restore(self) -> None:
        self.reference = self.blocks[-1].reference.snapshot()
        self.money = self.blocks[-1].money.copy()

    def expect_head(self, what: str) -> None:
        expect(dump(self.exchange) == self.blocks[-1].dump, f"{what} leaves something else")

    def target(self, which: int) -> tuple[bytes, bytes]:
        """Whose and which: one of the open orders, by age."""
        orders = sorted(self.reference.orders.values(), key=lambda order: order.arrived)
        if not orders:
            return ACCOUNTS[0], bytes(32)
        order = orders[which % len(orders)]
        return order.account, order.id


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Disagreement(what)


def outcome(script: Sequence[Step]) -> tuple[Run, Exception | None]:
    """A script's run, and what goes wrong in it, if anything."""
    run = Run(Exchange(LIMITS))
    try:
        run.play(script)
    except Exception as error:  # noqa: BLE001 - a crash is a failure like any other
        return run, error
    return run, None


def shrunk(script: Sequence[Step]) -> list[Step]:
    """A part of a failing script that fails, none of whose steps can be left out."""
    left, size = list(script), max(1, len(script) // 2)
    while True:
        start, cut = 0, False
        while start < len(left):
            shorter = left[:start] + left[start + size :]
            run, failure = outcome(shorter)
            if failure is not None:
                left, cut = shorter[: run.played], True
            else:
                start += size
        if size == 1 and not cut:
            return left
        size = max(1, size // 2)


def run_script(seed: int, steps: int) -> Counter[str]:
    """What was seen in a seed's script, counted; a failure says the fewest steps that fail."""
    script = draw_script(Random(seed), steps)
    run, failure = outcome(script)
    if failure is None:
        return run.seen
    few = shrunk(script[: run.played])
    lines = "\n".join(f"    {step!r}," for step in few)
    raise Disagreement(f"seed {seed}: {outcome(few)[1]}\nscript = [\n{lines}\n]") from failure
