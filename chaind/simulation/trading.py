"""Traders: clients that place, amend and cancel orders on a market of their own chain.

They compete for one book through all nodes at once, so that what a block refuses, what a branch
takes back and what a node rebuilds after a crash all show in its rows.
"""

import asyncio
from collections import deque
from itertools import repeat
from typing import Any

import msgspec

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, MarketEntry
from chaind.primitives.keys import SecretKey
from chaind.primitives.orders import (
    BUY,
    NONE,
    SELL,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Kind,
    OrderAction,
    PlaceOrder,
    SelfTrade,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.primitives.transaction import NATIVE, AccountInput
from chaind.simulation.workload import FEE_UNITS, Client, Operations, client_key
from chaind.wallet.builder import sign

FIRST_NUMBER = 1_000  # of traders, beyond all other clients
ASSET = "GOLD"
SYMBOL = f"{ASSET}/COIN"
FUNDS = "1000"  # of each asset, for each trader
REFERENCE_TICKS = 1_000  # of a hundredth: a price of ten
REACH_TICKS = 60  # of most orders from there
LOTS_MAX = 40  # of a tenth
ORDERS_KNOWN = 40


def with_market(genesis: Genesis, traders: int) -> Genesis:
    """The chain with a market, and traders who have both of its assets."""
    show = genesis.addresses.show
    issuer = show(key_address(trader_key(0).public))
    funds = [
        Allocation(address=show(key_address(trader_key(number).public)), amount=FUNDS, asset=asset)
        for number in range(traders)
        for asset in (NATIVE, ASSET)
    ]
    market = MarketEntry(
        symbol=SYMBOL,
        tick="0.01",
        lot="0.1",
        reference_price="10",
        fee_account=issuer,
        min_notional="0.5",
        maker_fee_ppm=500,
        taker_fee_ppm=1_000,
    )
    return msgspec.structs.replace(
        genesis,
        assets=(*genesis.assets, AssetEntry(symbol=ASSET, issuer=issuer)),
        markets=(market,),
        allocations=(*genesis.allocations, *funds),
    )


def trader_key(number: int) -> SecretKey:
    """The key of a trader."""
    return client_key(FIRST_NUMBER + number)


class Trader(Client):
    """One trader. `run` until told to stop."""

    def __init__(self, *, number: int, **more: Any) -> None:
        super().__init__(number=FIRST_NUMBER + number, **more)
        self._operations = _OPERATIONS
        self._coins.clear()
        self._orders: deque[bytes] = deque(maxlen=ORDERS_KNOWN)  # placed, and maybe open

    async def _act(self, action: OrderAction) -> tuple[bytes, str]:
        """Sign an action, hand it in and follow it: its txid, and how it ended."""
        fee = [AccountInput(self.address, NATIVE, FEE_UNITS)]
        transaction = sign(self._body(fee, (), action=action), self.key)
        copies = self._rng.choice((1, 1, 2))
        return transaction.txid, await self._send(transaction, copies=copies)

    def _terms(self, **more: Any) -> Terms:
        rng = self._rng
        side = rng.choice((BUY, SELL))
        given = {
            "kind": Kind.LIMIT,
            "lots": rng.randint(1, LOTS_MAX),
            "ticks": REFERENCE_TICKS + rng.randint(-REACH_TICKS, REACH_TICKS),
            "self_trade": rng.choice(tuple(SelfTrade)),
        }
        return Terms(SYMBOL, side, **(given | more))

    async def _place(self, terms: Terms) -> None:
        order_id, end = await self._act(PlaceOrder(self.address, terms))
        if end == "final" and terms.rests:
            self._orders.append(order_id)

    async def place(self) -> None:
        """An order that rests, sometimes not for long, or under a name that may be taken."""
        rng = self._rng
        until_ms = rng.choice((0, 0, 0, self._now_ms() + rng.randint(1_000, 20_000)))
        terms = self._terms(
            time_in_force=TimeInForce.GTT if until_ms else TimeInForce.GTC,
            expires_ms=until_ms,
            client_id=rng.choice(("", "", "", "a", "b")),
        )
        await self._place(terms)

    async def offer(self) -> None:
        """An order that must not take."""
        await self._place(self._terms(post_only=True))

    async def take(self) -> None:
        """An order that trades at once or not at all."""
        rng = self._rng
        time_in_force = rng.choice((TimeInForce.IOC, TimeInForce.FOK))
        if rng.random() < 0.5:
            await self._place(self._terms(time_in_force=time_in_force))
        else:
            await self._place(self._terms(kind=Kind.MARKET, ticks=0, time_in_force=time_in_force))

    async def wait_for_price(self) -> None:
        """An order that a price triggers."""
        rng = self._rng
        trigger = rng.choice([one for one in Trigger if one is not NONE])
        stop_ticks = REFERENCE_TICKS + rng.randint(-REACH_TICKS, REACH_TICKS)
        await self._place(self._terms(trigger=trigger, stop_ticks=stop_ticks))

    async def amend(self) -> None:
        """One of the own orders changes, if it is still open."""
        if not self._orders:
            return
        rng = self._rng
        lots, ticks = rng.choice(((rng.randint(1, LOTS_MAX), 0), (0, REFERENCE_TICKS)))
        await self._act(AmendOrder(self.address, rng.choice(self._orders), lots, ticks))

    async def cancel(self) -> None:
        """One of the own orders, or all, through two nodes at once."""
        if not self._orders:
            return
        if self._rng.random() < 0.1:
            self._orders.clear()
            await self._act(CancelOrders(self.address))
            return
        order_id = self._orders[self._rng.randrange(len(self._orders))]
        self._orders.remove(order_id)
        await asyncio.gather(*map(self._act, repeat(CancelOrder(self.address, order_id), 2)))


_OPERATIONS: Operations = (
    (Trader.place, 8),
    (Trader.offer, 3),
    (Trader.take, 4),
    (Trader.wait_for_price, 2),
    (Trader.amend, 3),
    (Trader.cancel, 4),
    (Trader.look, 1),
)
