"""`chaind headers`: block headers in files, checked by the rules that a mined chain is held to."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.cli.parameters import Whole
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.consensus.pow.headers import Progress

RECORD_BYTES = 80
PIECE_BYTES = RECORD_BYTES << 14  # headers in memory at a time, so that any file fits
HEIGHT_MAX = 2**31 - 1
NETWORKS = ("bitcoin-main",)
HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class NoHeaders(LocalFault):
    """An empty file proves nothing."""

    code = "no-headers"
    text = "{path} holds no headers"
    advice = "Give a file of 80-byte records, as a node's header dump is."
    exit_code = 65  # EX_DATAERR


class NotHeaders(LocalFault):
    """Another kind of file, or one that was cut."""

    code = "not-headers"
    text = "{path} has {length} bytes, which are not a whole number of 80-byte headers"
    advice = "Give the headers of consecutive blocks, 80 bytes each and nothing between them."
    exit_code = 65


def parse_chainwork(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A sum of work as block explorers write it: up to 64 hex digits."""
    if value is None:
        return None
    if not 1 <= len(value) <= 64 or not HEX_DIGITS.issuperset(value):
        raise click.BadParameter(f"{value!r} is not up to 64 hex digits.", ctx, param)
    return int(value, 16)


@click.group()
def headers() -> None:
    """Check block headers without their blocks.

    \b
    Example:
      chaind headers verify blockchain_headers
    """


@headers.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--params",
    "network",
    type=click.Choice(NETWORKS),
    default=NETWORKS[0],
    show_default=True,
    help="Whose rules.",
)
@click.option(
    "--from",
    "start",
    type=Whole(0, HEIGHT_MAX),
    default=0,
    show_default=True,
    help="Height of the first header in the file.",
)
@click.option(
    "--work",
    metavar="HEX",
    callback=parse_chainwork,
    help="Chainwork of the header before the first one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for machines.")
def verify(file: Path, network: str, start: int, work: int | None, as_json: bool) -> None:
    """Verify the headers in FILE: 80-byte records, one after the other, as they are mined.

    Each must name the one before it, carry the bits that the retarget rule gives, have done the
    work that they demand, and keep the time rules; the sum of the work is shown. The first header
    that breaks a rule ends the command with status 1. Above block 0 the first parent is taken on
    trust, as are the first header's bits, the retarget of a window that began before the file, and
    medians of time over headers that the file lacks.

    \b
    Examples:
      chaind headers verify blockchain_headers
      chaind headers verify part.bin --from 822528 --work 624c18bf09286e431639df40
    """
    if work is not None and start == 0:
        raise click.UsageError("--work goes with --from: there is no work before block 0.")
    from chaind.consensus.pow.headers import HeaderChain
    from chaind.primitives.work import BITCOIN_MAIN, BITCOIN_MAIN_GENESIS

    size = file.stat().st_size
    if size == 0:
        raise NoHeaders(path=file)
    if size % RECORD_BYTES:
        raise NotHeaders(path=file, length=size)
    began_s = time.perf_counter()
    chain = HeaderChain(
        parameters=BITCOIN_MAIN,
        now=int(time.time()),
        start=start,
        work_below=work or 0,
        genesis=BITCOIN_MAIN_GENESIS,
    )
    with file.open("rb") as records:
        while piece := records.read(PIECE_BYTES):
            chain.feed(piece)
    report = describe(chain.progress(), network=network, whole=start == 0 or work is not None)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(report).decode())
        return
    report["seconds"] = f"{time.perf_counter() - began_s:.1f}"
    width = max(map(len, report))
    for name, value in report.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def describe(progress: "Progress", *, network: str, whole: bool) -> dict[str, int | str]:
    """What was verified. Work is chainwork where it is `whole`, summed from block 0."""
    from chaind.primitives.hashes import display_hash

    return {
        "chain": network,
        "headers": progress.headers,
        "height": progress.height,
        "tip": display_hash(progress.hash),
        "bits": f"{progress.bits:08x}",
        "retargets": progress.retargets,
        "retargets_changing_bits": progress.changed,
        "retargets_on_trust": progress.trusted,
        "chainwork" if whole else "work_of_these": f"{progress.chainwork:064x}",
    }
