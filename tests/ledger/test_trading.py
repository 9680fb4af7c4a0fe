"""Orders in blocks: what they move, the markets they are on, and what keeps them out."""

from collections.abc import Callable
from typing import Any

import pytest
from ledger_builders import ALICE, BOB, CAROL, DAVE, check_error, pay_in
from ledger_chain import TIME_MS
from trading_kit import SYMBOL, Pit, check_money, dump, events_of, order

from chaind.ledger.block import Applying, block_context
from chaind.ledger.errors import (
    AssetUnknown,
    BlockTransactionInvalid,
    InsufficientFunds,
    NotIssuer,
    TransactionMalformed,
    WitnessMismatch,
)
from chaind.ledger.execute import check_on_state
from chaind.ledger.keys import BOOKS_DIGEST
from chaind.ledger.trading import Refused
from chaind.market.errors import (
    MarketExists,
    MarketInvalid,
    MarketUnknown,
    NotionalTooLarge,
    NotionalTooSmall,
    OpenOrdersExceeded,
    OrderInvalid,
)
from chaind.market.events import Done, Matched, Reason, Triggered
from chaind.market.exchange import Exchange
from chaind.market.rows import MARKET, ORDER
from chaind.primitives.amounts import AMOUNT_MAX, UNIT
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import (
    BUY,
    SELL,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CreateMarket,
    Market,
    PlaceOrder,
    TimeInForce,
    Trigger,
)
from chaind.primitives.transaction import Transaction


def test_an_order_holds_what_it_may_pay_and_gives_it_back() -> None:
    pit = Pit()
    bid = pit.place(ALICE, BUY, 5, 10)
    ask = pit.place(BOB, SELL, 7, 12)
    executed = pit.trade(bid, ask)
    assert pit.held(ALICE) == (950, 1000)
    assert pit.held(BOB) == (1000, 993)
    check_money(pit.all_rows())
    assert [receipt.refused for receipt in executed.receipts] == [None, None]
    pit.trade(pit.cancel(ALICE, bid.txid), pit.cancel_all(BOB, SYMBOL, SELL))
    assert pit.held(ALICE) == pit.held(BOB) == (1000, 1000)
    assert not pit.state.books.journal.orders
    check_money(pit.all_rows())


def test_a_trade_moves_both_legs_at_the_makers_price_and_pays_fees() -> None:
    pit = Pit()
    ask = pit.place(BOB, SELL, 10, 9)
    pit.trade(ask)
    bid = pit.place(ALICE, BUY, 4, 11)
    executed = pit.trade(bid)
    (match,) = [one for one in events_of(executed, bid.txid) if isinstance(one, Matched)]
    assert (match.lots, match.ticks, match.maker_id, match.taker_id) == (4, 9, ask.txid, bid.txid)
    assert pit.balance(ALICE.address) == 1_000 * UNIT - 36 * UNIT
    assert pit.balance(ALICE.address, "GOLD") == 1_004 * UNIT - 4 * UNIT // 100
    assert pit.balance(BOB.address) == 1_036 * UNIT - 36 * UNIT // 100
    assert pit.balance(BOB.address, "GOLD") == 990 * UNIT
    assert pit.balance(CAROL.address) == 36 * UNIT // 100
    assert pit.balance(CAROL.address, "GOLD") == 4 * UNIT // 100
    check_money(pit.all_rows())


def test_an_amendment_holds_more_or_less() -> None:
    pit = Pit()
    bid = pit.place(ALICE, BUY, 5, 10)
    pit.trade(bid)
    pit.trade(pit.amend(ALICE, bid.txid, lots=8, ticks=11))
    assert pit.held(ALICE) == (912, 1000)
    pit.trade(pit.amend(ALICE, bid.txid, lots=2))
    assert pit.held(ALICE) == (978, 1000)
    check_money(pit.all_rows())


def test_fees_of_orders_are_paid_whatever_becomes_of_them() -> None:
    pit = Pit()
    gone = pit.act(ALICE, CancelOrder(ALICE.address, bytes(32)), fee=7)
    executed = pit.trade(gone)
    (receipt,) = executed.receipts
    assert receipt.fee == executed.fees == pit.balance(DAVE.address) == 7
    assert receipt.refused == Refused("order-not-open", (bytes(32).hex(),))
    assert executed.events == ((gone.txid, ()),)


def test_expiry_gives_back_at_the_begin_and_stops_trigger_at_the_end() -> None:
    pit = Pit()
    timed = pit.place(ALICE, BUY, 5, 9, time_in_force=TimeInForce.GTT, expires_ms=TIME_MS + 1_000)
    stop = pit.place(BOB, SELL, 3, 8, trigger=Trigger.STOP, stop_ticks=10)
    pit.trade(timed, stop)
    assert pit.held(ALICE) == (955, 1000)
    executed = pit.trade(pit.place(ALICE, BUY, 2, 10), pit.place(BOB, SELL, 2, 10))
    first, *_, last = executed.events
    assert (first[0], last[0]) == (None, None)
    (expired,) = first[1]
    assert isinstance(expired, Done)
    assert (expired.order_id, expired.reason) == (timed.txid, Reason.EXPIRED)
    assert isinstance(last[1][0], Triggered)
    assert last[1][0].order_id == stop.txid
    assert [who for who, _ in executed.events].count(None) == 2
    assert pit.held(ALICE)[0] == 980
    check_money(pit.all_rows())


def test_a_block_without_orders_tells_nothing() -> None:
    pit = Pit()
    executed = pit.trade(pit.pay(5))
    assert executed.events == ()
    assert executed.delta.books.writes == ()


def test_books_move_with_the_state() -> None:
    pit = Pit()
    first = pit.trade(pit.place(ALICE, BUY, 5, 10)).delta
    books, before = pit.state.books, dump(pit.state.books)
    pit.trade(pit.place(BOB, SELL, 2, 10), pit.place(ALICE, SELL, 3, 12))
    after, rows = dump(books), pit.all_rows()
    delta = pit.state.undo()
    assert dump(books) == before
    pit.state.redo(delta)
    assert (dump(books), pit.all_rows()) == (after, rows)
    context = block_context(pit.info, pit.genesis)
    applying = Applying(pit.state, context)
    for checked in pit.check([pit.place(BOB, SELL, 2, 10), pit.cancel_all(ALICE)]):
        applying.add(checked)
    pit.state.abandon()
    assert (dump(books), pit.all_rows()) == (after, rows)
    found = [(key, value) for key, value in rows.items() if key[:1] in (MARKET, ORDER)]
    again = Exchange.load(found, rows[BOOKS_DIGEST], books.limits)
    assert dump(again) == after
    assert books.journal.depth == pit.state.depth
    pit.state.settle(first)
    assert books.journal.depth == pit.state.depth


def test_a_block_that_cannot_be_begun_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What expires is booked before any caller can take the block back."""
    pit = Pit()
    before = pit.all_rows()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pit.state.books, "open_block", fail)
        with pytest.raises(MemoryError):
            Applying(pit.state, block_context(pit.info, pit.genesis))
    assert pit.all_rows() == before
    pit.trade(pit.pay(5))


# --- markets


def opening(symbol: str = "COIN/GOLD", **changes: Any) -> Market:
    base, _, quote = symbol.partition("/")
    return Market(
        **{
            "symbol": symbol,
            "base": base,
            "quote": quote,
            "tick_units": UNIT,
            "lot_units": UNIT,
            "reference_ticks": 5,
            "fee_account": DAVE.address,
            **changes,
        }
    )


def test_an_issuer_opens_a_market_and_orders_of_the_same_block_find_it() -> None:
    pit = Pit()
    opened = pit.act(CAROL, CreateMarket(CAROL.address, opening()))
    bid = pit.act(ALICE, PlaceOrder(ALICE.address, order(BUY, 2, 5, symbol="COIN/GOLD")))
    pit.trade(opened, bid)
    assert pit.held(ALICE) == (1000, 990)
    assert [market.symbol for market in pit.state.books.markets()] == ["COIN/GOLD", SYMBOL]
    check_money(pit.all_rows())


@pytest.mark.parametrize(
    ("who", "market", "error"),
    [
        (CAROL, opening(SYMBOL), MarketExists),
        (CAROL, opening("COIN/TIN"), AssetUnknown),
        (ALICE, opening(), NotIssuer),
    ],
)
def test_a_market_that_may_not_be(who: Any, market: Market, error: type[ChaindError]) -> None:
    keeps_out(Pit(), lambda pit: pit.act(who, CreateMarket(who.address, market)), error)


@pytest.mark.parametrize(
    ("market", "error"),
    [
        (opening(tick_units=0), MarketInvalid),
        (opening(fee_account=b"?"), TransactionMalformed),
        (opening("COIN/coin"), MarketInvalid),
    ],
)
def test_the_form_of_a_market(market: Market, error: type[ChaindError]) -> None:
    pit = Pit()
    with pytest.raises(error):
        pit.check([pit.act(CAROL, CreateMarket(CAROL.address, market))])


# --- what keeps an order out of a block


def keeps_out(
    pit: Pit, make: Callable[[Pit], Transaction], error: type[ChaindError], **values: object
) -> None:
    """The transaction is refused with this error, its block is invalid, and no row has moved."""
    transaction = make(pit)
    (checked,) = pit.check([transaction])
    with pytest.raises(ChaindError) as caught:
        check_on_state(pit.state, checked, block_context(pit.info, pit.genesis))
    check_error(caught.value, error, values)
    before, digest = pit.all_rows(), pit.state.books.journal.digest
    pit.refuses(BlockTransactionInvalid, lambda: pit.trade(pit.pay(1), transaction))
    assert pit.all_rows() == before
    assert pit.state.books.journal.digest == digest


def full(pit: Pit) -> Pit:
    pit.trade(pit.place(ALICE, BUY, 1, 10), pit.place(ALICE, BUY, 1, 10))
    return pit


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda pit: pit.place(ALICE, BUY, 101, 10), InsufficientFunds),
        (lambda pit: pit.place(ALICE, SELL, 1_001, 10), InsufficientFunds),
        (lambda pit: pit.place(ALICE, BUY, 67), InsufficientFunds),
        (lambda pit: pit.place(ALICE, BUY, 1, 10, symbol="GOLD/TIN"), MarketUnknown),
        (lambda pit: pit.cancel_all(ALICE, "GOLD/TIN"), MarketUnknown),
        (lambda pit: pit.place(ALICE, BUY, 1, 1), NotionalTooSmall),
        (lambda pit: pit.place(ALICE, BUY, 10**8, 10**10), NotionalTooLarge),
    ],
)
def test_what_no_book_can_change_keeps_an_order_out(make: Any, error: type[ChaindError]) -> None:
    keeps_out(Pit(), make, error)


def test_a_reserve_and_the_fee_come_from_one_balance() -> None:
    def make(pit: Pit, spare: int) -> Transaction:
        action = PlaceOrder(ALICE.address, order(BUY, 100, 10))
        return pit.act(ALICE, action, inputs=[pay_in(ALICE, spare)], outputs=[])

    keeps_out(Pit(), lambda pit: make(pit, 1), InsufficientFunds, available="999.99999999")
    pit = Pit()
    pit.trade(pit.act(ALICE, PlaceOrder(ALICE.address, order(BUY, 99, 10)), fee=10 * UNIT))
    assert pit.held(ALICE) == (0, 1000)


def test_an_account_has_so_many_open_orders() -> None:
    pit = full(Pit(open_orders_max=2))
    keeps_out(pit, lambda pit: pit.place(ALICE, SELL, 1, 12), OpenOrdersExceeded, count=2, limit=2)
    taker = pit.place(ALICE, SELL, 1, 12, time_in_force=TimeInForce.IOC)
    assert pit.trade(taker).receipts[0].refused is None


@pytest.mark.parametrize(
    "action",
    [
        PlaceOrder(ALICE.address, order(BUY, 1, 10)),
        CancelOrder(ALICE.address, bytes(32)),
        CancelOrders(ALICE.address),
        AmendOrder(ALICE.address, bytes(32), lots=1),
        CreateMarket(CAROL.address, opening()),
    ],
)
def test_nobody_acts_for_another(action: Any) -> None:
    pit = Pit()
    with pytest.raises(WitnessMismatch):
        pit.check([pit.act(BOB, action)])


def test_an_amendment_needs_its_funds() -> None:
    pit = Pit()
    bid = pit.place(ALICE, BUY, 50, 10)
    pit.trade(bid)
    keeps_out(pit, lambda pit: pit.amend(ALICE, bid.txid, lots=101), InsufficientFunds)


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (PlaceOrder(b"?", order(BUY, 1, 10)), TransactionMalformed),
        (PlaceOrder(ALICE.address, order(BUY, 0, 10)), OrderInvalid),
        (PlaceOrder(ALICE.address, order(BUY, 1, -1)), OrderInvalid),
        (PlaceOrder(ALICE.address, order(BUY, AMOUNT_MAX + 1, 1)), OrderInvalid),
        (PlaceOrder(ALICE.address, order(BUY, 1, 1, client_id="ä")), OrderInvalid),
        (PlaceOrder(ALICE.address, order(BUY, 1, 1, symbol="A" * 26)), TransactionMalformed),
        (CancelOrder(ALICE.address, b"short"), TransactionMalformed),
        (CancelOrders(ALICE.address, "A" * 26), TransactionMalformed),
        (AmendOrder(ALICE.address, b"short"), TransactionMalformed),
        (AmendOrder(ALICE.address, bytes(32), lots=-1), OrderInvalid),
        (AmendOrder(ALICE.address, bytes(32), ticks=AMOUNT_MAX + 1), OrderInvalid),
        (AmendOrder(ALICE.address, bytes(32), stop_ticks=-1), OrderInvalid),
    ],
)
def test_the_form_of_an_action_needs_no_state(action: Any, error: type[ChaindError]) -> None:
    pit = Pit()
    with pytest.raises(ChaindError) as caught:
        pit.check([pit.act(ALICE, action)])
    assert type(caught.value) is error
