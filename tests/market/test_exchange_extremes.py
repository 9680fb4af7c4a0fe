"""The largest numbers that anybody can bring about: nothing that follows fails to be written."""

from market_books import check_books, dump

from chaind.ledger.trading import apply_order
from chaind.market.errors import NotionalTooLarge
from chaind.market.exchange import Exchange
from chaind.primitives.amounts import AMOUNT_MAX, UNIT
from chaind.primitives.codec import encode
from chaind.primitives.orders import (
    BAND_PPM_MAX,
    BUY,
    FEE_PPM_MAX,
    IOC,
    LIMIT,
    MARKET,
    PPM,
    SELL,
    STOP,
    AmendOrder,
    Market,
    PlaceOrder,
    Side,
    Terms,
)

SELLER, BUYER = b"s" * 20, b"b" * 20
ORDER_ID = bytes(32)


def terms(side: Side, lots: int, ticks: int) -> Terms:
    return Terms("BIG/COIN", side, LIMIT, lots, ticks, *((IOC,) if side is BUY else ()))


def test_an_order_that_is_amended_for_ever_pays_more_fees_than_a_row_has_integers_for() -> None:
    exchange = Exchange()
    exchange.begin(0, 0)
    exchange.list_market(
        Market("BIG/COIN", "BIG", "COIN", UNIT, 1, AMOUNT_MAX, 0, FEE_PPM_MAX, 0, BAND_PPM_MAX)
    )
    exchange.journal.seal()
    paid = filled = 0
    for number in range(1, 63):
        quantity = 2**number
        price = AMOUNT_MAX // quantity
        exchange.begin(number, 0)
        if number == 1:
            exchange.apply(ORDER_ID, PlaceOrder(SELLER, terms(SELL, quantity, price)))
        else:
            exchange.apply(bytes(32), AmendOrder(SELLER, ORDER_ID, quantity, price))
        bid = bytes([number]) * 32
        lots = quantity - 1 - filled  # all but one
        _, match, _ = exchange.apply(bid, PlaceOrder(BUYER, terms(BUY, lots, price)))
        paid += match.maker_fee_units
        filled += lots
        exchange.journal.seal()
        assert -(-exchange.journal.orders[ORDER_ID].fee_ppm_units // PPM) == paid
    assert paid > 2**64
    loaded = Exchange.load(exchange.rows(), exchange.journal.digest)
    assert dump(loaded) == dump(exchange)
    check_books(loaded)
    last = PlaceOrder(BUYER, terms(BUY, 1, price))
    events = []
    for one in (exchange, loaded):
        one.begin(63, 0)
        events.append(one.apply(b"l" * 32, last))
        one.journal.seal()
    assert events[0] == events[1]


def test_a_stop_price_beyond_all_prices_is_refused_in_numbers_that_can_be_written() -> None:
    exchange = Exchange()
    exchange.begin(0, 0)
    exchange.list_market(Market("BIG/COIN", "BIG", "COIN", UNIT, 1, 1, 0, 0, 0, BAND_PPM_MAX))
    stop = Terms("BIG/COIN", BUY, MARKET, 2, 0, IOC, trigger=STOP, stop_ticks=5)
    exchange.apply(ORDER_ID, PlaceOrder(BUYER, stop))
    amendment = AmendOrder(BUYER, ORDER_ID, stop_ticks=AMOUNT_MAX)
    events, refused = apply_order(exchange, bytes(32), amendment)
    assert not events
    assert refused is not None
    assert refused.code == NotionalTooLarge.code
    assert encode(refused)
