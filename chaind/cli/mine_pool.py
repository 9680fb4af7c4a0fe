"""What `chaind mine --url` does: mine for a pool until it is over, and say what came of it."""

import asyncio
import signal
import sys
from contextlib import suppress

import click
import msgspec

from chaind import __version__
from chaind.miner.crew import Crew
from chaind.miner.mining import CrewMining, Endpoint, LiveLine, Mining
from chaind.miner.stratum_client import PoolClient
from chaind.primitives.errors import LocalFault, NotReady

LOOK_S = 1.0  # between two live lines
LOG_S = 60.0  # between two lines where nobody looks


class NeverConnected(NotReady, LocalFault):
    """Nobody gave out work, all the time."""

    code = "never-connected"
    text = "{where} was reached not once, and nothing was mined"
    advice = "Check --url, and that a pool or a node that mines runs there."
    exit_code = 69  # EX_UNAVAILABLE


class NotHandedIn(NotReady, LocalFault):
    """A block was found, and no node has said that it heard of it."""

    code = "block-not-handed-in"
    text = "blocks that {where} gave no answer to: {count}"
    advice = "See whether the node runs. Whether it has such a block, its newest blocks tell."
    exit_code = 75  # EX_TEMPFAIL


def mine_for_pool(
    crew: Crew, url: tuple[str, int], name: str, seconds: float | None, *, as_json: bool
) -> None:
    """Mine until Ctrl-C, or for `seconds`. Raises `PoolRefusal`, `NeverConnected`,
    `SchemeMismatch` or `WorkerDied`."""
    mining = Mining(
        crew=crew,
        endpoint=Endpoint(*url),
        client=lambda: PoolClient(name, "x", f"chaind/{__version__}"),
        tell=tell,
    )
    mine_with(mining, str(mining.endpoint), seconds, as_json=as_json)


def mine_with(mining: CrewMining, where: str, seconds: float | None, *, as_json: bool) -> None:
    """Mine until Ctrl-C, or for `seconds`, and say what came of it. Raises `NeverConnected`, or
    `NotHandedIn`."""
    line = LiveLine(mining)
    asyncio.run(_mine(mining, line, seconds))
    if as_json:
        report = {"hashes_per_second": mining.rates(), **mining.counts._asdict()}
        click.echo(msgspec.json.encode(report).decode())
    else:
        click.echo(line.text())
    refuse_ending(mining, where)


def refuse_ending(mining: CrewMining, where: str) -> None:
    """Raise what a person has to know when it is over. See `mine_with`."""
    if not mining.was_connected:
        raise NeverConnected(where=where)
    if mining.counts.unsent:
        raise NotHandedIn(where=where, count=mining.counts.unsent)


async def _mine(mining: CrewMining, line: LiveLine, seconds: float | None) -> None:
    running = asyncio.ensure_future(mining.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    showing = asyncio.create_task(_show(line))
    try:
        async with asyncio.timeout(seconds):
            await running
    except (TimeoutError, asyncio.CancelledError):
        pass  # it is over, as was wished
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


async def _show(line: LiveLine) -> None:
    live = sys.stderr.isatty()
    while True:
        await asyncio.sleep(LOOK_S if live else LOG_S)
        if live:
            click.echo(f"\r\x1b[K{line.text()}", err=True, nl=False)
        else:
            click.echo(line.text(), err=True)


def tell(text: str) -> None:
    """A line for people, in place of the live one."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{start}{text}", err=True)
