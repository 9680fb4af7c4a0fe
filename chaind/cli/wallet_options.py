"""What the commands of `chaind wallet` share: options, and opening the file they name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.layout import BASE_PORT, HOST
from chaind.cli.parameters import Descriptor, Filled, NodeUrl

if TYPE_CHECKING:
    from chaind.cli.wallet_files import WalletFile

F = TypeVar("F", bound=Callable[..., Any])

wallet_option = click.option(
    "--wallet",
    "name",
    type=Filled(),
    default="default",
    show_default=True,
    envvar="CHAIND_WALLET_FILE",
    help="Name of the wallet, or path of its file.",
)
password_option = click.option(
    "--password-fd",
    type=Descriptor(),
    metavar="N",
    help="Read the password from this descriptor.  [default: CHAIND_WALLET_PASSWORD, else ask]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print for machines.")
account_option = click.option(
    "--account", default="main", show_default=True, help="Which account of the wallet."
)
accounts_option = click.option(
    "--account", "names", multiple=True, help="Only this account; again for more."
)
urls_option = click.option(
    "--url",
    "urls",
    multiple=True,
    type=NodeUrl(),
    envvar="CHAIND_WALLET_URL",
    default=[f"http://{HOST}:{BASE_PORT}"],
    show_default=True,
    help="API of a node; again for more, which are asked where one does not answer.",
)


def place_options(command: F) -> F:
    """Which address of an account."""
    command = click.option(
        "--number",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        help="Which address.  [default: 0]",
    )(command)
    return click.option("--change", is_flag=True, help="Of the addresses for change.")(command)


def wallet_file(name: str) -> "WalletFile":
    """The file of a wallet, with the cost that people's passwords need."""
    from chaind.cli.wallet_files import WalletFile, wallet_path
    from chaind.wallet.keystore import LOG2_N_FLOOR

    return WalletFile(wallet_path(name), log2_n=LOG2_N_FLOOR)
