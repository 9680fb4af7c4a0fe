"""A chain with markets, two traders of the node's own, and words to trade with."""

import time
from typing import Any

from api_kit import ALICE, BOB, COIN_AMOUNT, STRANGER, VALIDATOR, Door

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, MarketEntry, Validator
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import (
    FIXED_NAMES,
    TRADER_NAMES,
    development_key,
    exchange_key,
    faucet_key,
)

TRADERS = tuple(development_key(FIXED_NAMES.index(name)) for name in TRADER_NAMES)
HOLDINGS = {"": "1000", "USD": "1000000", "BTC": "100"}


def trading_changes(**parameters: Any) -> dict[str, Any]:
    """What makes `api_kit.make_genesis` a chain with BTC/USD and COIN/USD. alice has only COIN."""
    addresses = Genesis(
        name="test",
        dev=True,
        time_ms=time.time_ns() // 1_000_000,
        validators=(Validator(public_key=VALIDATOR.public.hex(), name="v0"),),
        allocations=(),
    ).addresses

    def show(key: SecretKey) -> str:
        return addresses.show(key_address(key.public))

    fees = show(exchange_key())
    allocations = [
        Allocation(address=show(key), amount=amount, asset=asset)
        for key in TRADERS
        for asset, amount in HOLDINGS.items()
    ]
    allocations += [
        *(Allocation(address=show(key), amount="1000") for key in (ALICE, BOB)),
        Allocation(address=show(faucet_key()), amount="1000000"),
        Allocation(address=show(STRANGER), amount=COIN_AMOUNT, coin=True),
    ]
    return {
        "allocations": tuple(allocations),
        "assets": tuple(AssetEntry(symbol=asset, issuer=fees) for asset in ("USD", "BTC")),
        "markets": (
            MarketEntry(
                symbol="BTC/USD",
                tick="0.5",
                lot="0.001",
                reference_price="45000",
                min_notional="10",
                maker_fee_ppm=1_000,
                taker_fee_ppm=2_000,
                fee_account=fees,
            ),
            MarketEntry(
                symbol="COIN/USD", tick="0.01", lot="1", reference_price="2", fee_account=fees
            ),
        ),
        **parameters,
    }


class Trader:
    """One of the two, over HTTP."""

    def __init__(self, door: Door, name: str) -> None:
        self.door = door
        self.name = name

    async def place(
        self,
        side: str,
        quantity: str,
        price: str | None = None,
        status: int = 200,
        **more: Any,
    ) -> Any:
        body = {"symbol": "BTC/USD", "side": side, "quantity": quantity, "account": self.name}
        if price is not None:
            body["price"] = price
        return await self.door.post("/api/v1/orders?wait=final", {**body, **more}, status)

    async def balance(self) -> dict[str, str]:
        accounts: dict[str, str] = (await self.door.get(f"/balance/{self.name}"))["accounts"]
        return accounts
