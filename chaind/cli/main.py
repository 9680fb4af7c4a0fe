"""The `chaind` command: the group, and what a failure looks like.

Law: an error of the tree is one sentence, what to do about it, and its exit status; only a defect
of the program shows a traceback. Modules here import what is heavy inside their functions, so
that `--help` comes at once.
"""

import os
import platform
import signal
import sys
from pathlib import Path

import click

from chaind import __version__
from chaind.cli import statuses, streams
from chaind.cli.audit import audit
from chaind.cli.custody import custody
from chaind.cli.devnet import devnet
from chaind.cli.exchange import exchange
from chaind.cli.headers import headers
from chaind.cli.init import init
from chaind.cli.load import load
from chaind.cli.mine import mine
from chaind.cli.rollback import rollback
from chaind.cli.run import run
from chaind.cli.simulate import simulate
from chaind.cli.status import status
from chaind.cli.stress import stress
from chaind.cli.variables import is_utf8, name_variable
from chaind.cli.wallet import wallet
from chaind.cli.webhooks import webhooks
from chaind.primitives.errors import ChaindError, LocalFault
from chaind.wallet.errors import NotThere, Refused


class Commands(click.Group):
    """A group that turns errors of the tree into messages."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what no command can pass on: bytes that are not UTF-8."""
        for number, argument in enumerate(args, start=1):
            if not is_utf8(argument):
                raise click.UsageError(f"Argument {number} is not text in UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; errors of the tree become a message and an exit status."""
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            name_variable(error)
            raise
        except OSError as error:
            # A look at a path before it is opened: below a directory that is closed to this user.
            if error.filename is None or error.errno is None:
                raise
            ctx.exit(_tell(_fault(os.fsdecode(error.filename), "look at", error.errno)))
        except (KeyboardInterrupt, click.Abort) as error:
            # A prompt turns Ctrl-C and the end of its input into the same.
            ended = isinstance(error.__context__, EOFError)
            click.echo("\nNothing more was typed." if ended else "\nInterrupted.", err=True)
            ctx.exit(1 if ended else 128 + signal.SIGINT)
        except ChaindError as error:
            ctx.exit(_tell(error))


def _tell(error: ChaindError) -> int:
    """Say what happened and what to do, unless a node said that already; the exit status."""
    told = isinstance(error, Refused | NotThere) and error.values["hint"]
    click.echo(f"Error: {error}\n{'' if told else error.advice}".rstrip(), err=True)
    return error.exit_code if isinstance(error, LocalFault) else 1


def _fault(path: str, operation: str, number: int) -> LocalFault:
    from chaind.storage.files import fault

    return fault(Path(path), operation, number, os.strerror(number))


@click.group(
    cls=Commands,
    epilog=statuses.describe(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="chaind", message="%(prog)s %(version)s")
def commands() -> None:
    """chaind: a blockchain node that pays, trades and mines.

    \b
    Examples:
      chaind devnet                      four validators on this machine
      chaind run                         one node, as ./chaind.toml says
      chaind init --home n1 --genesis genesis.json
      chaind status --url http://127.0.0.1:8081
      chaind load --rate 500             transfers, and how long they take
      chaind stress --home devnet        pay with the same keys again and again, and count
      chaind wallet create               keys of your own, to pay with
      chaind custody create till         name an account whose key a node keeps
      chaind webhooks listen             receive what a node tells of payments
      chaind exchange book BTC-USD       the best prices of a market; place, cancel, watch
      chaind exchange replay FILE        a LOBSTER file through the matching engine
      chaind headers verify FILE         mined headers, by Bitcoin's rules
      chaind mine --benchmark            how many hashes in a second
      chaind rollback --home n1 --to 9   a mined chain back to where two of them parted
      chaind simulate --seed 7           whole nodes under faults, on a virtual clock
    """


@commands.command()
def version() -> None:
    """Print the versions of chaind and Python.

    \b
    Example:
      chaind version
    """
    click.echo(
        f"chaind {__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )


for _command in (
    audit,
    custody,
    devnet,
    exchange,
    headers,
    init,
    load,
    mine,
    rollback,
    run,
    simulate,
    status,
    stress,
    wallet,
    webhooks,
):
    commands.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    streams.prepare()
    try:
        commands(prog_name="chaind")
    except OSError as error:
        # Of files that the program opens its rooms speak themselves: this is the output.
        if error.filename is not None or error.errno is None:
            raise
        sys.exit(_tell(_fault("the output", "write", error.errno)))
    finally:
        streams.drop_unwritten()


if __name__ == "__main__":
    main()
