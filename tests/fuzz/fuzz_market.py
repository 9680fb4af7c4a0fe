"""Rows of assets, markets and orders: those of the state, and those that say what books did."""

import msgspec
from fuzz_law import HASH, PACKED, Decoder, rows

from chaind.ledger.keys import Asset, asset_decoder
from chaind.ledger.trading import Refused
from chaind.market.rows import MarketRow, OrderRow, market_decoder, order_decoder
from chaind.primitives.codec import encode
from chaind.primitives.orders import Kind, Market, Side, Terms, TimeInForce, Trigger
from chaind.storage.market_rows import (
    CandleRow,
    FillRow,
    OrderRecord,
    OrderStatus,
    TradeRow,
    candle_row,
    fill_row,
    order_record,
    trade_row,
)

ACCOUNT = HASH[:20]
MARKET = Market("BTC/USD", "BTC", "USD", 10**8, 10**6, 45_000, taker_fee_ppm=2_000)
BID = Terms("BTC/USD", Side.BUY, Kind.LIMIT, 5, 45_000, client_id="bid-1")
STOP = Terms(
    "BTC/USD",
    Side.SELL,
    Kind.MARKET,
    7,
    time_in_force=TimeInForce.IOC,
    trigger=Trigger.STOP,
    stop_ticks=44_000,
)
PLACED = OrderRecord.of(BID, ACCOUNT, height=7, place=1, time_ms=1_800_000_000_000)
PLACED.traded(2, 2**70, 9)  # more than an integer of a row holds
REFUSED = OrderRecord.of(STOP, ACCOUNT, height=8, place=0, time_ms=1_800_000_000_000)
REFUSED.status = OrderStatus.REFUSED
REFUSED.refused = Refused("order-not-open", ("00" * 32,))
TRADE = TradeRow(45_000, 2, 2 * 10**6, 9 * 10**10, Side.SELL, HASH, bytes(32), 1_800_000_000_000)
VAST = msgspec.structs.replace(TRADE, quote_units=2**63)  # two of them, too

MARKET_ROWS = {
    "asset-row": Decoder(rows(asset_decoder), (encode(Asset(ACCOUNT, True)),), shape=PACKED),
    "market-row": Decoder(rows(market_decoder), (encode(MarketRow(MARKET, 45_000)),), shape=PACKED),
    "order-row": Decoder(
        rows(order_decoder),
        (
            encode(OrderRow(1, ACCOUNT, BID, 45_000, 5, 2, 300_000)),
            encode(OrderRow(2, ACCOUNT, STOP, 0, 7, 0, 0)),
        ),
        shape=PACKED,
    ),
    "order-record": Decoder(rows(order_record), (encode(PLACED), encode(REFUSED)), shape=PACKED),
    "trade-row": Decoder(rows(trade_row), (encode(TRADE),), shape=PACKED),
    "fill-row": Decoder(
        rows(fill_row),
        (encode(FillRow("BTC/USD", HASH, Side.BUY, True, 45_000, 2, 9, 8, 7, 6)),),
        shape=PACKED,
    ),
    "candle-row": Decoder(
        rows(candle_row),
        (encode(CandleRow.of(TRADE)), encode(CandleRow.of(VAST).joined(VAST))),
        shape=PACKED,
    ),
}
