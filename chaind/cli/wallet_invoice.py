"""`chaind wallet pay`: an invoice is paid once, by the URI that asks for it.

Law: the URI says all that is paid. What would be late, is paid already, or is for another chain is
refused before anything is signed. Only the node that made an invoice knows what became of it: where
another one is asked, the wallet's own key alone sees that it is not paid twice.
"""

from typing import TYPE_CHECKING, Any

import click

from chaind.cli.wallet_send import Wanted, check_key, pay_order, sending_options
from chaind.primitives.errors import Conflict, Malformed, RuleBroken

if TYPE_CHECKING:
    from chaind.primitives.genesis import Genesis
    from chaind.wallet.client import Client
    from chaind.wallet.keystore import Account
    from chaind.wallet.payment import Order
    from chaind.wallet.payment_uri import PaymentUri


class InvoiceOfAnotherChain(Malformed):
    """A URI made elsewhere."""

    code = "invoice-of-another-chain"
    text = "the invoice is for chain {given}; {url} follows {chain}, which is {prefix}"
    advice = "Name a node of the invoice's chain with --url."


class InvoiceAltered(Malformed):
    """The URI and its maker say different things."""

    code = "invoice-altered"
    text = "the URI asks for {given}; {url}, which made invoice {id}, for {asked}"
    advice = "Somebody changed the URI on its way: ask for it again, by another way."


class InvoiceLate(RuleBroken):
    """What is paid now does not count towards it."""

    code = "invoice-late"
    text = "the invoice ended at {ended}, and on the chain it is {now}: a payment would be late"
    advice = "Ask for a new invoice."


class InvoiceClosed(Conflict):
    """Somebody paid it, or its maker took it back."""

    code = "invoice-closed"
    text = "invoice {id} is {status}: {paid} of {amount} {asset} were paid"
    advice = "Nothing is to be paid. `chaind wallet history` shows what this wallet paid."


class InvoicePartlyPaid(Conflict):
    """What is missing is less than the whole."""

    code = "invoice-partly-paid"
    text = "invoice {id} asks for {amount} {asset}, and {paid} were paid: {missing} are missing"
    advice = "Pay what is missing, or another part of it, with --amount."


@click.command()
@click.argument("uri")
@sending_options
@click.option("--amount", help="Pay this much of it.  [default: all]")
def pay(uri: str, name: str, account: str, urls: tuple[str, ...], **choices: Any) -> None:
    """Pay the invoice whose payment URI is URI, and wait until it is final.

    It is paid once from an account: the idempotency key follows from the invoice, so that the same
    command finds the first payment. Another part of an invoice that is paid in parts has another
    --amount, or a --key of its own.

    \b
    Examples:
      chaind wallet pay "$URI"
      chaind wallet pay "$URI" --dry-run
      chaind wallet pay "$URI" --amount 5
    """
    from chaind.wallet.payment_uri import parse_uri

    parsed = parse_uri(uri)
    key = choices["key"] or _key_of(parsed, choices["amount"])
    check_key(key)

    async def order_of(client: "Client", genesis: "Genesis", payer: "Account") -> Wanted:
        from chaind.wallet.accounts import FIRST, address_at
        from chaind.wallet.payment import make_lease

        order = _order(parsed, genesis, client.url, choices["amount"])
        lease = make_lease(address_at(payer, FIRST), key, order)
        if await client.lease(genesis.addresses.show(lease.owner), lease.id) is None:
            await _refuse_closed(client, parsed, in_parts=choices["amount"] is not None)
        return Wanted(order, key)

    pay_order(name, account, urls, order_of, choices)


def _key_of(uri: "PaymentUri", amount: str | None) -> str:
    """The key of an invoice, or of whatever else a URI asks for; another one for each amount."""
    from chaind.primitives.hashes import sha256
    from chaind.primitives.references import invoice_of
    from chaind.wallet.payment_uri import format_uri

    reference = invoice_of(uri.memo.encode())
    if reference is None:
        whole = f"uri:{sha256(format_uri(uri).encode()).hex()}"
    else:
        whole = reference.decode("ascii")
    return whole if amount is None else f"{whole} {amount}"


def _order(uri: "PaymentUri", genesis: "Genesis", url: str, amount: str | None) -> "Order":
    from chaind.primitives.amounts import parse_amount
    from chaind.primitives.transaction import NATIVE
    from chaind.wallet.payment import Order

    prefix = genesis.chain_prefix.hex()
    if uri.chain != prefix:
        raise InvoiceOfAnotherChain(given=uri.chain, url=url, chain=genesis.name, prefix=prefix)
    asset = NATIVE if uri.asset == genesis.native_symbol else uri.asset
    target, units = genesis.addresses.parse(uri.address), parse_amount(uri.amount)
    if amount is not None:
        units = parse_amount(amount)
    return Order(target, asset, units, uri.memo.encode(), as_coin=False)


async def _refuse_closed(client: "Client", uri: "PaymentUri", *, in_parts: bool) -> None:
    """Raise unless a payment that is made now counts, as far as the node knows."""
    from chaind.primitives.amounts import format_amount
    from chaind.primitives.references import invoice_of
    from chaind.wallet.answers import units_of
    from chaind.wallet.errors import NotThere

    now_ms = (await client.status()).time_ms
    if now_ms >= uri.expires_ms:
        raise InvoiceLate(ended=_moment(uri.expires_ms), now=_moment(now_ms))
    reference = invoice_of(uri.memo.encode())
    if reference is None:
        return
    try:
        invoice = await client.invoice(reference.decode("ascii").partition(":")[2])
    except NotThere:
        return
    asked = (invoice.to, invoice.amount, invoice.asset)
    if asked != (uri.address, uri.amount, uri.asset):
        given = (uri.address, uri.amount, uri.asset)
        raise InvoiceAltered(
            given=_asked(*given), asked=_asked(*asked), url=client.url, id=invoice.id
        )
    if invoice.status not in ("unpaid", "partial"):
        raise InvoiceClosed(
            id=invoice.id,
            status=invoice.status,
            paid=invoice.paid,
            amount=invoice.amount,
            asset=invoice.asset,
        )
    if invoice.status == "partial" and not in_parts:
        missing = units_of(invoice.amount, client.url) - units_of(invoice.paid, client.url)
        raise InvoicePartlyPaid(
            id=invoice.id,
            paid=invoice.paid,
            amount=invoice.amount,
            asset=invoice.asset,
            missing=format_amount(missing),
        )


def _asked(address: str, amount: str, asset: str) -> str:
    return f"{amount} {asset} to {address}"


def _moment(time_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
