"""A chain with a market, and words to trade on it: GOLD for COIN, a lot 1 GOLD, a tick 1 COIN."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger_builders import ALICE, BOB, CAROL, DAVE, Person, pay_in, pay_out
from ledger_chain import SHOW, TIME_MS, Chain

from chaind.ledger.actions import order_action
from chaind.ledger.block import Executed
from chaind.ledger.keys import BALANCE, COIN, SUPPLY, Coin, decode_units
from chaind.market.events import Event
from chaind.market.rows import MARKET, ORDER, market_decoder, order_decoder
from chaind.market.turns import in_turn
from chaind.primitives.amounts import UNIT
from chaind.primitives.genesis import (
    Allocation,
    AssetEntry,
    Genesis,
    MarketEntry,
    Parameters,
    Validator,
)
from chaind.primitives.orders import (
    BUY,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Kind,
    PlaceOrder,
    Side,
    Terms,
    TimeInForce,
)
from chaind.primitives.transaction import NATIVE, Action, Transaction

sys.path.append(str(Path(__file__).parents[1] / "market"))
from market_books import check_books as check_books
from market_books import dump as dump

SYMBOL = "GOLD/COIN"
FEE_PPM = 10_000  # of either side: a hundredth
TRADERS = (ALICE, BOB)
START = {NATIVE: 1_000 * UNIT, "GOLD": 1_000 * UNIT}


class Pit(Chain):
    """ALICE and BOB have 1000 of each asset, CAROL issues GOLD and is paid the fees."""

    def make_genesis(self, supply: str, parameters: Parameters) -> Genesis:
        funds = [
            Allocation(address=SHOW.show(who.address), amount=supply, asset=asset)
            for who in TRADERS
            for asset in START
        ]
        return Genesis(
            name="pit",
            time_ms=TIME_MS,
            addresses=SHOW,
            validators=(Validator(public_key=DAVE.public.hex()),),
            allocations=tuple(funds),
            assets=(AssetEntry(symbol="GOLD", issuer=SHOW.show(CAROL.address)),),
            markets=(
                MarketEntry(
                    symbol=SYMBOL,
                    tick="1",
                    lot="1",
                    reference_price="10",
                    min_notional="2",
                    maker_fee_ppm=FEE_PPM,
                    taker_fee_ppm=FEE_PPM,
                    band_ppm=500_000,
                    fee_account=SHOW.show(CAROL.address),
                ),
            ),
            parameters=parameters,
        )

    def act(self, who: Person, action: Action, fee: int = 0, **fields: Any) -> Transaction:
        inputs = [pay_in(who, fee)] if fee else []
        return self.transaction(who, action=action, **{"inputs": inputs, **fields})

    def place(self, who: Person, side: Side, lots: int, ticks: int = 0, **more: Any) -> Transaction:
        """A limit order, or without a price a market order."""
        return self.act(who, PlaceOrder(who.address, order(side, lots, ticks, **more)))

    def cancel(self, who: Person, order_id: bytes) -> Transaction:
        return self.act(who, CancelOrder(who.address, order_id))

    def cancel_all(self, who: Person, symbol: str = "", side: Side | None = None) -> Transaction:
        return self.act(who, CancelOrders(who.address, symbol, side))

    def amend(self, who: Person, order_id: bytes, **values: Any) -> Transaction:
        return self.act(who, AmendOrder(who.address, order_id, **values))

    def in_turn(self, transactions: Sequence[Transaction]) -> list[Transaction]:
        """Others as they come, then orders in their turns."""
        orders = {
            one.txid: one for one in transactions if order_action(one.body.action) is not None
        }
        actions = [(txid, one.body.action) for txid, one in orders.items()]
        others = [one for one in transactions if one.txid not in orders]
        return [*others, *(orders[txid] for txid in in_turn(self.info.hash, actions))]

    def trade(self, *transactions: Transaction) -> Executed:
        """A block of these."""
        return self.add(self.block(*self.in_turn(transactions)))

    def held(self, who: Person) -> tuple[int, int]:
        """Whole COIN and GOLD in a balance."""
        return tuple(self.balance(who.address, asset) // UNIT for asset in START)  # type: ignore[return-value]

    def all_rows(self) -> dict[bytes, bytes]:
        """Every row at the head."""
        keys = {*self.rows, *self.state.changed_since_final()}
        found = {key: self.state.get(key) for key in sorted(keys)}
        return {key: value for key, value in found.items() if value is not None}


def order(side: Side, lots: int, ticks: int = 0, **more: Any) -> Terms:
    if not ticks:
        more = {"kind": Kind.MARKET, "time_in_force": TimeInForce.IOC} | more
    more = {"symbol": SYMBOL, "side": side, "kind": Kind.LIMIT} | more
    return Terms(**more, lots=lots, ticks=ticks)


def events_of(executed: Executed, txid: bytes | None) -> tuple[Event, ...]:
    return tuple(event for who, events in executed.events if who == txid for event in events)


def check_money(rows: dict[bytes, bytes]) -> None:
    """Coins, balances and the reserves of open orders come to the supply of every asset."""
    steps, held, supply = {}, {}, {}
    for key, value in sorted(rows.items()):  # markets before orders
        if key[:1] == BALANCE:
            asset, units = key[2 + key[1] :].decode(), decode_units(value)
        elif key[:1] == COIN:
            asset, units = NATIVE, Coin.decode(value).amount
        elif key[:1] == SUPPLY:
            supply[key[1:].decode()] = decode_units(value)
            continue
        elif key[:1] == MARKET:
            market = market_decoder.decode(value).market
            steps[market.symbol] = market
            continue
        elif key[:1] == ORDER:
            row = order_decoder.decode(value)
            market = steps[row.terms.symbol]
            if row.terms.side is BUY:
                symbol, units = market.quote, row.lots * row.ticks * market.step_units
            else:
                symbol, units = market.base, row.lots * market.lot_units
            asset = NATIVE if symbol == "COIN" else symbol
        else:
            continue
        assert 0 < units < 2**63
        held[asset] = held.get(asset, 0) + units
    assert held == {asset: units for asset, units in supply.items() if units}


def fund(who: Person, units: int, source: Person = ALICE) -> dict[str, Any]:
    """Fields of a payment in COIN."""
    return {"inputs": [pay_in(source, units)], "outputs": [pay_out(who, units)]}
