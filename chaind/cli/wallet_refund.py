"""`chaind wallet refund`: gives back some of a payment, from the wallet that was paid.

Law: as of `chaind.node.refunds`. The refund has the lease of its number, owned by the address that
was paid, and its key stands in its memo: so the same command with the same key finds it, at any
node and however late, and two wallets of the same words never give back more than was paid.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from chaind.cli.wallet_send import Wanted, check_key, draw_key, pay_order, sending_options
from chaind.primitives.errors import Conflict, Malformed, RuleBroken

if TYPE_CHECKING:
    from chaind.primitives.genesis import Genesis
    from chaind.wallet.answers import RefundMade, RefundsState
    from chaind.wallet.client import Client
    from chaind.wallet.keystore import Account
    from chaind.wallet.payment import Order
    from chaind.wallet.sending import Sent


class RefundNotOurs(RuleBroken):
    """The account has no part in the payment."""

    code = "refund-not-ours"
    text = "payment {txid} paid no address of account {account!r}"
    advice = "Name the account that was paid with --account; `chaind wallet history` shows it."


class RefundAddressUnclear(Malformed):
    """Several addresses of the account were paid."""

    code = "refund-address-unclear"
    text = "payment {txid} paid several addresses of the account: {addresses}"
    advice = "Say with --payee which of them gives back."


class RefundTooMuch(RuleBroken):
    """More than is left."""

    code = "refund-too-much"
    text = (
        "{asked} {asset} of payment {txid} cannot be given back: {paid} were paid, {left} are left"
    )
    advice = "Give back no more than is left; `chaind wallet send` can pay more."


class RefundAssetOpen(Malformed):
    """The payment brought several assets."""

    code = "refund-asset-open"
    text = "payment {txid} brought {assets}"
    advice = "Say with --asset which of them is given back."


class RefundOvertaken(Conflict):
    """Another refund of the payment took the number."""

    code = "refund-overtaken"
    text = "another refund of the same payment, {txid}, came first: nothing was given back"
    advice = "Run the command again, with the same key: what is left is looked up anew."


class RefundKeySpent(Conflict):
    """The key gave back something else."""

    code = "refund-key-spent"
    text = "key {key!r} gave back something else of this payment: transaction {txid}"
    advice = "Use a new key for a new refund; leave --key out to have one drawn."


class _Wish(NamedTuple):
    txid: bytes
    amount: str | None
    asset: str | None
    memo: str
    key: str


@click.command()
@click.argument("payment", metavar="TXID")
@sending_options
@click.option("--amount", help="Give back this much.  [default: all that is left]")
@click.option("--asset", help="What to give back, where the payment brought several assets.")
@click.option("--payee", help="Which address gives back, where several were paid.")
@click.option("--memo", default="", help="Up to 140 bytes, for all to read.")
def refund(
    payment: str,
    name: str,
    account: str,
    urls: tuple[str, ...],
    payee: str | None,
    **choices: Any,
) -> None:
    """Give back the payment whose transaction id is TXID, or some of it, to whoever made it.

    It goes to the address that paid, and never comes to more than was paid, however many refunds
    there are and whatever nodes are asked. GET /transaction/TXID of a node lists them.

    \b
    Examples:
      chaind wallet refund "$TXID"
      chaind wallet refund "$TXID" --amount 2.5 --memo "one chair" --key order-7
    """
    from chaind.wallet.errors import KeySpent

    key = choices["key"] or draw_key()
    check_key(key)
    wish = _Wish(_txid(payment), choices["amount"], choices["asset"], choices["memo"], key)

    async def order_of(client: "Client", genesis: "Genesis", payer: "Account") -> "Wanted | Sent":
        state = await _state(client, genesis, payer, wish, payee)
        return _wanted(state, genesis, wish, client.url)

    try:
        pay_order(name, account, urls, order_of, choices)
    except KeySpent as error:
        raise RefundOvertaken(txid=error.values["txid"]) from None


def _txid(text: str) -> bytes:
    import re

    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise click.UsageError("TXID is a transaction id: 64 hex digits.")
    return bytes.fromhex(text)


async def _state(
    client: "Client", genesis: "Genesis", payer: "Account", wish: _Wish, payee: str | None
) -> "RefundsState":
    """What the payment brought the one address of the account that gives back."""
    from chaind.wallet.scan import scan

    found = await scan(client, payer, genesis.addresses)
    own = [entry.text for entry in found.found]
    if payee is not None:
        own = [text for text in own if text == payee]
    paid = await client.payees(wish.txid)
    chosen = [text for text in own if text in paid]
    if not chosen:
        raise RefundNotOurs(txid=wish.txid.hex(), account=payer.name)
    if len(chosen) > 1:
        raise RefundAddressUnclear(txid=wish.txid.hex(), addresses=", ".join(chosen))
    return await client.refunds(wish.txid, chosen[0])


def _wanted(state: "RefundsState", genesis: "Genesis", wish: _Wish, url: str) -> "Wanted | Sent":
    """The next refund, or the one that this key made before."""
    from chaind.primitives.references import refund_key

    key = refund_key(wish.txid, wish.key).hex()
    made = next((one for one in state.refunds if one.key == key), None)
    if made is not None:
        return _earlier(made, wish)
    asset, units = _share(state, wish, url)
    return Wanted(_order(state, genesis, wish, asset, units), wish.key)


def _earlier(made: "RefundMade", wish: _Wish) -> "Sent":
    from chaind.primitives.amounts import format_amount, parse_amount
    from chaind.wallet.sending import Sent

    amount = None if wish.amount is None else format_amount(parse_amount(wish.amount))
    same = (
        amount in (None, *made.amounts.values())
        and wish.asset in (None, *made.amounts)
        and wish.memo == made.memo
    )
    if not same:
        raise RefundKeySpent(key=wish.key, txid=made.tx_id)
    return Sent(bytes.fromhex(made.tx_id), wish.key, earlier=True, height=made.height)


def _share(state: "RefundsState", wish: _Wish, url: str) -> tuple[str, int]:
    """Symbol and units of the next refund. Raises `RefundAssetOpen`, `RefundTooMuch`."""
    from chaind.primitives.amounts import parse_amount
    from chaind.wallet.answers import units_of

    txid = wish.txid.hex()
    if wish.asset is None and len(state.paid) > 1:
        raise RefundAssetOpen(txid=txid, assets=" and ".join(state.paid))
    symbol = next(iter(state.paid)) if wish.asset is None else wish.asset
    left = state.left.get(symbol, "0")
    left_units = units_of(left, url)
    units = left_units if wish.amount is None else parse_amount(wish.amount)
    if not 0 < units <= left_units:
        raise RefundTooMuch(
            asked=wish.amount or "nothing",
            asset=symbol,
            txid=txid,
            paid=state.paid.get(symbol, "0"),
            left=left,
        )
    return symbol, units


def _order(
    state: "RefundsState", genesis: "Genesis", wish: _Wish, symbol: str, units: int
) -> "Order":
    from chaind.primitives.references import (
        RefundMemo,
        refund_key,
        refund_lease_id,
        refund_memo,
    )
    from chaind.primitives.transaction import NATIVE, Lease, payment_intent
    from chaind.wallet.payment import Order

    payee, payer = (genesis.addresses.parse(text) for text in (state.payee, state.payer))
    asset = NATIVE if symbol == genesis.native_symbol else symbol
    number = state.next_number
    memo = refund_memo(
        RefundMemo(wish.txid, number, refund_key(wish.txid, wish.key)), wish.memo.encode()
    )
    lease = Lease(
        payee,
        refund_lease_id(wish.txid, number),
        payment_intent(payee, payer, asset, units, memo),
    )
    return Order(payer, asset, units, memo, as_coin=False, lease=lease)
