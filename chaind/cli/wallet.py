"""`chaind wallet`: the group, and the commands that need no node.

Law: a secret is printed by `create` and `export` alone, on standard output, because it was asked
for. Modules that are heavy are imported inside the commands.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.parameters import Descriptor, FilePath
from chaind.cli.wallet_invoice import pay
from chaind.cli.wallet_online import balance, history, utxos
from chaind.cli.wallet_options import (
    account_option,
    json_option,
    password_option,
    place_options,
    wallet_file,
    wallet_option,
)
from chaind.cli.wallet_refund import refund
from chaind.cli.wallet_send import send
from chaind.cli.wallet_statement import statement

if TYPE_CHECKING:
    from chaind.cli.wallet_files import WalletFile
    from chaind.primitives.address import AddressFormat
    from chaind.wallet.keystore import Contents
    from chaind.wallet.secret import Secret

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def wallet() -> None:
    """Keep keys of your own, encrypted, and pay with them.

    The password is typed, or comes by --password-fd or CHAIND_WALLET_PASSWORD, never as an
    argument. Addresses, balances and plans need none.

    \b
    Examples:
      chaind wallet create
      chaind wallet address
      chaind wallet balance
      chaind wallet send chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4 12.5
    """
    from chaind.cli.wallet_secrets import forbid_core_dumps

    forbid_core_dumps()


def _passphrase_options(command: F) -> F:
    command = click.option(
        "--passphrase-fd", type=Descriptor(), metavar="N", help="Read it from this descriptor."
    )(command)
    return click.option(
        "--passphrase", "ask_passphrase", is_flag=True,
        help="Ask for a BIP-39 passphrase, which is needed beside the words for ever.",
    )(command)  # fmt: skip


_genesis_option = click.option(
    "--genesis",
    type=FilePath(path_type=Path, exists=True, dir_okay=False),
    help="Write addresses as the chain of this genesis file does.  [default: as chaind's own]",
)


@wallet.command()
@wallet_option
@password_option
@_passphrase_options
@_genesis_option
@click.option(
    "--words",
    type=click.Choice(["12", "15", "18", "21", "24"]),
    default="12",
    show_default=True,
    help="How many words; 12 are 128 bits.",
)
@json_option
def create(
    name: str,
    password_fd: int | None,
    ask_passphrase: bool,
    passphrase_fd: int | None,
    genesis: Path | None,
    words: str,
    as_json: bool,
) -> None:
    """Make a wallet and print the words that bring it back.

    \b
    Examples:
      chaind wallet create
      chaind wallet create --wallet savings --words 24
      chaind wallet create --wallet ./till.keystore --password-fd 3 3< password.txt
    """
    import os

    from chaind.wallet.mnemonic import entropy_bytes, mnemonic_from_entropy
    from chaind.wallet.secret import Secret

    mnemonic = Secret(mnemonic_from_entropy(os.urandom(entropy_bytes(int(words)))))
    file, address = _make(name, mnemonic, password_fd, ask_passphrase, passphrase_fd, genesis)
    if as_json:
        answer = {"wallet": str(file.path), "address": address, "words": mnemonic.reveal()}
        click.echo(json.dumps(answer))
        return
    click.echo(f"{file.path} holds a new wallet. Its first address is\n\n  {address}\n")
    click.echo("These words bring it back. Write them down; whoever reads them can spend:\n")
    click.echo(f"  {mnemonic.reveal()}")


@wallet.command()
@wallet_option
@password_option
@_passphrase_options
@_genesis_option
@click.option(
    "--words-fd", type=Descriptor(), metavar="N", help="Read the words from this descriptor."
)
@json_option
def restore(
    name: str,
    password_fd: int | None,
    ask_passphrase: bool,
    passphrase_fd: int | None,
    genesis: Path | None,
    words_fd: int | None,
    as_json: bool,
) -> None:
    """Make a wallet again from its words (BIP-39, English).

    \b
    Examples:
      chaind wallet restore
      chaind wallet restore --wallet found --words-fd 3 3< words.txt
    """
    from chaind.cli.wallet_secrets import read_secret
    from chaind.wallet.mnemonic import read_mnemonic
    from chaind.wallet.secret import Secret

    words = read_secret("words", words_fd, "words")
    mnemonic = Secret(read_mnemonic(words.reveal()))
    file, address = _make(name, mnemonic, password_fd, ask_passphrase, passphrase_fd, genesis)
    if as_json:
        click.echo(json.dumps({"wallet": str(file.path), "address": address}))
    else:
        click.echo(f"{file.path} holds the wallet of these words. Its first address is {address}")


def _make(
    name: str,
    mnemonic: "Secret[str]",
    password_fd: int | None,
    ask_passphrase: bool,
    passphrase_fd: int | None,
    genesis: Path | None,
) -> "tuple[WalletFile, str]":
    """Write the wallet of these words; its file and first address."""
    from chaind.cli.wallet_secrets import read_password, read_secret
    from chaind.wallet.accounts import FIRST, address_at, new_wallet
    from chaind.wallet.secret import Secret

    file = wallet_file(name)
    file.refuse_existing()
    passphrase = Secret("")
    if ask_passphrase or passphrase_fd is not None:
        passphrase = read_secret("passphrase", passphrase_fd, "passphrase", twice=True)
    contents = new_wallet(_address_format(genesis), mnemonic, passphrase)
    file.create(contents, read_password(password_fd, new=True))
    public = contents.open
    return file, public.addresses.show(address_at(public.accounts[0], FIRST))


def _address_format(genesis: Path | None) -> "AddressFormat":
    from chaind.primitives.genesis import DEFAULT_ADDRESSES, Genesis

    return DEFAULT_ADDRESSES if genesis is None else Genesis.load(genesis).addresses


@wallet.command()
@click.argument("account")
@wallet_option
@password_option
def account(account: str, name: str, password_fd: int | None) -> None:
    """Add an account of the wallet's own words (BIP-44), called ACCOUNT.

    \b
    Example:
      chaind wallet account savings
    """
    from chaind.cli.wallet_secrets import read_password
    from chaind.wallet.accounts import add_derived

    password = read_password(password_fd, new=False)
    contents = wallet_file(name).change(password, lambda old: add_derived(old, account))
    _show_added(contents, account)


@wallet.command(name="import")
@click.argument("account")
@wallet_option
@password_option
@_genesis_option
@click.option("--address", help="Only watch this address.")
@click.option("--xpub", help="Only watch the addresses of this extended public key.")
@click.option("--secret-fd", type=Descriptor(), metavar="N", help="Read the key (WIF) from here.")
def import_account(
    account: str,
    name: str,
    password_fd: int | None,
    genesis: Path | None,
    address: str | None,
    xpub: str | None,
    secret_fd: int | None,
) -> None:
    """Add a key in wallet import format, or an address or extended public key to watch.

    What is added is called ACCOUNT. A wallet without words is made where there is none yet.

    \b
    Examples:
      chaind wallet import till
      chaind wallet import shop --address chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4
      chaind wallet import old --wallet keys --secret-fd 3 3< key.txt
    """
    from chaind.cli.wallet_secrets import read_password, read_secret
    from chaind.wallet import accounts
    from chaind.wallet.derivation import ExtendedPublic
    from chaind.wallet.wif import decode_wif, wif_version

    if (address is not None) + (xpub is not None) + (secret_fd is not None) > 1:
        raise click.UsageError("Give one of --address, --xpub and --secret-fd.")
    file = wallet_file(name)
    is_new = not file.path.exists()
    addresses = _address_format(genesis) if is_new else file.read_open().addresses

    password = read_password(password_fd, new=is_new)
    if address is not None:
        target = addresses.parse(address)
        add = partial(accounts.add_watched_address, name=account, address=target)
    elif xpub is not None:
        add = partial(accounts.add_watched_xpub, name=account, xpub=ExtendedPublic.parse(xpub))
    else:
        wif = read_secret("key", secret_fd, "secret")
        key = decode_wif(wif.reveal(), wif_version(addresses))
        add = partial(accounts.add_key, name=account, key=key)
    if is_new:
        contents = add(accounts.empty_wallet(addresses))
        file.create(contents, password)
    else:
        contents = file.change(password, add)
    _show_added(contents, account)


def _show_added(contents: "Contents", name: str) -> None:
    from chaind.wallet.accounts import FIRST, address_at, find_account

    added = find_account(contents.open, name)
    click.echo(f"{name}  {contents.open.addresses.show(address_at(added, FIRST))}")


@wallet.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the wallets that have names, and their accounts.

    \b
    Example:
      chaind wallet list
    """
    from chaind.cli.wallet_files import SUFFIX, list_wallets

    found = [
        {
            "wallet": path.name.removesuffix(SUFFIX),
            "accounts": [entry.name for entry in wallet_file(str(path)).read_open().accounts],
        }
        for path in list_wallets()
    ]
    if as_json:
        click.echo(json.dumps({"wallets": found}))
        return
    for entry in found:
        click.echo(f"{entry['wallet']}  {', '.join(entry['accounts'])}")


@wallet.command()
@wallet_option
@json_option
def info(name: str, as_json: bool) -> None:
    """Show a wallet's file and its accounts.

    \b
    Examples:
      chaind wallet info
      chaind wallet info --wallet savings --json
    """
    from chaind.cli.status import table
    from chaind.wallet.accounts import FIRST, address_at
    from chaind.wallet.keystore import cost_of

    file = wallet_file(name)
    public = file.read_open()
    entries: list[dict[str, Any]] = [
        {
            "account": entry.name,
            "kind": "words" if entry.path else "key" if entry.keyed else "watch",
            "path": entry.path or "-",
            "address": public.addresses.show(address_at(entry, FIRST)),
        }
        for entry in public.accounts
    ]
    cost = cost_of(file.read(), file.path)
    if as_json:
        click.echo(json.dumps({"wallet": str(file.path), "log2_n": cost, "accounts": entries}))
        return
    click.echo(f"{file.path}, scrypt 2^{cost}\n")
    columns = ("account", "kind", "path", "address")
    click.echo(table([columns, *(tuple(entry[key] for key in columns) for entry in entries)]))


@wallet.command()
@wallet_option
@account_option
@place_options
@click.option("--base58", is_flag=True, help="In Base58Check, where it has that form.")
def address(name: str, account: str, number: int, change: bool, base58: bool) -> None:
    """Print an address to be paid at.

    \b
    Examples:
      chaind wallet address
      chaind wallet address --account savings --number 3
    """
    from chaind.wallet.accounts import Place, address_at, find_account

    public = wallet_file(name).read_open()
    found = address_at(find_account(public, account), Place(int(change), number))
    short = base58 and len(found) == 20
    click.echo(public.addresses.show_base58(found) if short else public.addresses.show(found))


@wallet.command()
@wallet_option
@password_option
@account_option
@place_options
@click.option("--words", is_flag=True, help="The words of the whole wallet instead.")
@click.option("--xpub", is_flag=True, help="The account's extended public key instead.")
def export(
    name: str,
    password_fd: int | None,
    account: str,
    number: int,
    change: bool,
    words: bool,
    xpub: bool,
) -> None:
    """Print a secret key in wallet import format (WIF), or what the options say.

    Whoever has one key of an account *and* its extended public key has the whole account
    (BIP-32): give away one of them, never both.

    \b
    Examples:
      chaind wallet export
      chaind wallet export --words
      chaind wallet export --account savings --xpub
    """
    from chaind.cli.wallet_secrets import read_password
    from chaind.wallet.accounts import NoWords, Place, SingleAddress, find_account, key_at
    from chaind.wallet.wif import encode_wif, wif_version

    if words and xpub:
        raise click.UsageError("Give one of --words and --xpub.")
    file = wallet_file(name)
    if xpub:
        found = find_account(file.read_open(), account)
        if not found.xpub:
            raise SingleAddress(name=account)
        click.echo(found.xpub)
        return
    contents = file.unseal(read_password(password_fd, new=False))
    if words:
        if not contents.sealed.mnemonic:
            raise NoWords
        click.echo(contents.sealed.mnemonic)
        return
    found = find_account(contents.open, account)
    key = key_at(contents, found, Place(int(change), number))
    click.echo(encode_wif(key, wif_version(contents.open.addresses)))


for _command in (balance, history, pay, refund, send, statement, utxos):
    wallet.add_command(_command)
