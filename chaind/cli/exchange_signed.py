"""Orders of one's own key: what the options ask for in ticks and lots, signed with a wallet."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from chaind.primitives.errors import RuleBroken

if TYPE_CHECKING:
    from chaind.primitives.orders import CancelOrder, OrderAction, Terms
    from chaind.wallet.client_trading import TradingClient
    from chaind.wallet.trading_answers import MarketInfo


class NotInSteps(RuleBroken):
    """A price or quantity that no order of the market can have."""

    code = "not-in-steps"
    text = "{what} {given} is not a multiple of {step}, the {name} of {symbol}"
    advice = "`chaind exchange markets` shows the tick and the lot of every market."


def terms_of(market: "MarketInfo", given: dict[str, Any]) -> "Terms":
    """The order that the fields ask for, in ticks and lots. Raises `NotInSteps`."""
    from chaind.primitives.orders import Kind, Side, Terms, TimeInForce, Trigger
    from chaind.wallet.client_trading import steps_of

    def steps(what: str, step: str, name: str) -> int:
        text = given.get(what)
        found = 0 if text is None else steps_of(text, step)
        if found is None:
            raise NotInSteps(what=what, given=text, step=step, name=name, symbol=market.symbol)
        return found

    kind = given["type"]
    is_market = kind in ("market", "stop_loss", "take_profit")
    trigger = Trigger.NONE
    if kind.startswith("stop"):
        trigger = Trigger.STOP
    elif kind.startswith("take"):
        trigger = Trigger.TAKE_PROFIT
    usual = "ioc" if kind == "market" else "gtc"
    return Terms(
        symbol=market.symbol,
        side=Side[given["side"].upper()],
        kind=Kind.MARKET if is_market else Kind.LIMIT,
        lots=steps("quantity", market.lot, "lot"),
        ticks=steps("price", market.tick, "tick"),
        time_in_force=TimeInForce[given.get("time_in_force", usual).upper()],
        expires_ms=given.get("expires_ms", 0),
        post_only=given.get("post_only", False),
        trigger=trigger,
        stop_ticks=steps("stop_price", market.tick, "tick"),
        client_id=given.get("client_order_id", ""),
    )


async def sign_and_submit(
    client: "TradingClient",
    choices: dict[str, Any],
    action_of: "Callable[[bytes], OrderAction]",
) -> str:
    """Sign an action with the first address of a wallet's account; the id of what is final."""
    import os
    import time

    from chaind.cli.wallet_online import chain_of
    from chaind.cli.wallet_options import wallet_file
    from chaind.cli.wallet_secrets import read_password
    from chaind.primitives.address import key_address
    from chaind.primitives.transaction import SALT_BYTES
    from chaind.wallet.accounts import FIRST, find_account, key_at

    file = wallet_file(choices["wallet"])
    public = file.read_open()
    account = find_account(public, choices["wallet_account"] or "main")
    await chain_of(client, public)
    contents = file.unseal(read_password(choices["password_fd"], new=False))
    key = key_at(contents, account, FIRST)
    submitted = await client.submit_action(
        key,
        action_of(key_address(key.public)),
        now_ms=time.time_ns() // 1_000_000,
        salt=os.urandom(SALT_BYTES),
    )
    return submitted.tx_id


async def cancel_all_signed(client: "TradingClient", choices: dict[str, Any]) -> dict[str, str]:
    """Take all orders back that are asked for; as `ActedAnswer` says it."""
    from chaind.primitives.orders import CancelOrders, Side

    symbol = (choices["symbol"] or "").replace("-", "/", 1)
    side = None if choices["side"] is None else Side[choices["side"].upper()]
    txid = await sign_and_submit(client, choices, lambda owner: CancelOrders(owner, symbol, side))
    return {"status": "cancelled", "tx_id": txid}


async def cancel_signed(
    client: "TradingClient", order_id: str, choices: dict[str, Any]
) -> dict[str, str]:
    """Take one order back; as `ActedAnswer` says it."""
    name = bytes.fromhex((await client.order(order_id)).order_id)
    txid = await sign_and_submit(client, choices, partial(_cancel_of, name))
    status = (await client.order(order_id)).status
    return {"status": status, "tx_id": txid, "order_id": order_id}


def _cancel_of(order_id: bytes, owner: bytes) -> "CancelOrder":
    from chaind.primitives.orders import CancelOrder

    return CancelOrder(owner, order_id)
