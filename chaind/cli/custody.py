"""`chaind custody`: the named accounts whose keys a node keeps.

Law: a secret leaves by `export` alone, on standard output or into a file that its owner alone may
read, because it was asked for. Modules that are heavy are imported inside the commands.
"""

import json
from pathlib import Path

import click

from chaind.cli.node_door import ask_node, node_options
from chaind.cli.parameters import Descriptor, FilePath
from chaind.primitives.errors import LocalFault

ROUTE = "/api/v1/custody/accounts"
COLUMNS = ("id", "name", "address")
json_option = click.option("--json", "as_json", is_flag=True, help="Print for machines.")


class NoKeystore(LocalFault):
    """The home has no seed of its own."""

    code = "no-keystore"
    text = "there is no {path}: that node keeps no encrypted seed"
    advice = (
        "Name the home of a node that was started with custody and a password. Keys of the "
        "published mnemonic, or of a mnemonic file, follow from its words."
    )
    exit_code = 66  # EX_NOINPUT


class AccountUnknown(LocalFault):
    """Nobody gave an account this name."""

    code = "named-account-unknown"
    text = "{path} has no account {name!r}"
    advice = "`chaind custody list` shows the names; a number from 1 to 1000000 needs none."
    exit_code = 65  # EX_DATAERR


class ExportExists(LocalFault):
    """Secrets never replace a file."""

    code = "export-exists"
    text = "{path} is there already"
    advice = "Name another file with --out."
    exit_code = 73  # EX_CANTCREAT


@click.group()
def custody() -> None:
    """Named accounts whose keys a node keeps, and pays from when it is asked.

    The node needs [custody] enabled = true. With a password (CHAIND_CUSTODY_PASSWORD, or as
    chaind.toml says) it keeps a seed of its own in custody.keystore in its home, encrypted.

    \b
    Examples:
      chaind custody create till
      chaind custody list
      chaind custody export till
    """


@custody.command(name="list")
@node_options
@json_option
def list_(url: str, home: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Show the accounts of a node that have names.

    \b
    Example:
      chaind custody list --home devnet/node0
    """
    from chaind.cli.status import table

    answer = ask_node(url, home, token_file, "GET", ROUTE)
    if as_json:
        click.echo(json.dumps(answer))
        return
    rows = [tuple(_cell(entry.get(key)) for key in COLUMNS) for entry in answer["accounts"]]
    click.echo(table([COLUMNS, *rows]))


@custody.command()
@click.argument("name")
@node_options
@json_option
def create(name: str, url: str, home: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Call an account NAME; one that has the name already is shown again.

    \b
    Example:
      chaind custody create till --home devnet/node0
    """
    answer = ask_node(url, home, token_file, "POST", ROUTE, {"name": name})
    click.echo(json.dumps(answer) if as_json else "  ".join(_cell(answer[key]) for key in COLUMNS))


def _cell(value: object) -> str:
    from chaind.wallet.errors import printable

    return printable(str(value))


@custody.command()
@click.argument("account", default="")
@click.option(
    "--home",
    type=FilePath(path_type=Path, file_okay=False),
    help="Data directory of the node.  [default: the user's own, as for `chaind run`]",
)
@click.option(
    "--password-fd",
    type=Descriptor(),
    metavar="N",
    help="Read the password from this descriptor.  [default: CHAIND_CUSTODY_PASSWORD, else ask]",
)
@click.option("--words", is_flag=True, help="The words that all keys follow from instead.")
@click.option(
    "--out",
    type=FilePath(path_type=Path, dir_okay=False),
    help="Write into this new file, closed to others.  [default: standard output]",
)
@json_option
def export(
    account: str,
    home: Path | None,
    password_fd: int | None,
    words: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print the secret key of ACCOUNT (a name or number) in wallet import format, or the words.

    \b
    Examples:
      chaind custody export till --home shop
      chaind custody export --words --home shop --out words.txt
    """
    from chaind.cli.wallet_secrets import forbid_core_dumps
    from chaind.storage.files import OsFiles

    if bool(account) == words:
        raise click.UsageError("Give an account, or --words.")
    if out is not None and out.exists():
        raise ExportExists(path=out)
    forbid_core_dumps()
    kind, secret = _secret(account, home, password_fd)
    whose = "every account of this node" if words else f"account {account}"
    click.echo(f"Warning: whoever reads this can spend from {whose}.", err=True)
    text = json.dumps({"account": account or None, kind: secret}) if as_json else secret
    if out is None:
        click.echo(text)
        return
    OsFiles().write_atomic(out.resolve(), f"{text}\n".encode())
    click.echo(json.dumps({"file": str(out)}) if as_json else f"{out} holds it.")


def _secret(account: str, home: Path | None, password_fd: int | None) -> tuple[str, str]:
    """What is exported: its kind, and the text. The words where no account is named."""
    from chaind.cli.custody_seed import custody_file
    from chaind.cli.wallet_secrets import read_secret
    from chaind.node.config import CUSTODY_PASSWORD_VARIABLE, NodeSection
    from chaind.node.custody import Accounts, NameFile
    from chaind.node.home import Home
    from chaind.storage.files import OsFiles
    from chaind.wallet.wif import encode_wif, wif_version

    place = Home(home or NodeSection().home_path())
    if not place.custody.exists():
        raise NoKeystore(path=place.custody)
    password = read_secret("password", password_fd, "password", variable=CUSTODY_PASSWORD_VARIABLE)
    contents = custody_file(place).unseal(password)
    if not account:
        return "words", contents.sealed.mnemonic
    names = NameFile(OsFiles(), place.custody_names)
    accounts = Accounts(contents.sealed.seed, names.read())
    number = accounts.number(account)
    if number is None:
        raise AccountUnknown(path=place.custody, name=account[:80])
    return "wif", encode_wif(accounts.key(number), wif_version(contents.open.addresses))
