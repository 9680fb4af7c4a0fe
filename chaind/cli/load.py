"""`chaind load`: transfers at a rate, or as many as go, and how long they took.

Every option is an environment variable too: CHAIND_LOAD_RATE for --rate. These are no settings of
a node, and `chaind run` leaves them alone.
"""

import json
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.layout import BASE_PORT, HOST
from chaind.cli.load_progress import Progress
from chaind.cli.parameters import NodeUrl, Number, Whole
from chaind.cli.variables import refuse_given, refuse_unknown_variables, take_variables
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.cli.load_drive import Load
    from chaind.cli.load_tally import Tally

R = TypeVar("R")

DURATION_S = 10.0
SINGLE_CONNECTIONS, BATCH_CONNECTIONS = 64, 8
ACCOUNTS_MAX = 1_000_000
RATE_MIN = 0.001  # one in a quarter of an hour
RATE_MAX = 200_000  # one core signs, or checks, some 25,000 a second
_OF_TRANSFERS = (
    "accounts",
    "mix",
    "share",
    "door",
    "batch_size",
    "form",
    "wait",
    "connections",
    "in_flight",
)
MIXES = {"accounts": 0.0, "mixed": 0.5, "coins": 1.0}


class Unfinished(LocalFault):
    """Accepted transfers did not become final while the run waited."""

    code = "unfinished"
    text = "{count} accepted transfer(s) were not final {bound_s:.0f} s after the last that was"
    advice = "Ask the nodes: `chaind status`, /health/ready."
    exit_code = 75  # EX_TEMPFAIL


def parse_rate(_ctx: click.Context, _param: click.Parameter, text: str) -> float | None:
    """A positive number; None for "max"."""
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not RATE_MIN <= rate <= RATE_MAX:  # NaN is not, either
        raise click.BadParameter(f"{text!r} is neither from {RATE_MIN} to {RATE_MAX} nor max")
    return rate


@click.command()
@click.option(
    "--url",
    "urls",
    multiple=True,
    type=NodeUrl(),
    default=[f"http://{HOST}:{BASE_PORT}"],
    show_default=True,
    help="API of a node; again for more, which take turns. In the variable: apart by commas.",
)
@click.option(
    "--rate",
    callback=parse_rate,
    metavar="N|max",
    default="100",
    show_default=True,
    help="Transfers a second, or as many as become final.",
)
@click.option(
    "--duration",
    type=Number(0.1, 1e6),
    help=f"Seconds.  [default: {DURATION_S:.0f}, or until --count are sent]",
)
@click.option("--count", type=Whole(1, 100_000_000), help="Transfers.")
@click.option("--accounts", type=Whole(1, ACCOUNTS_MAX), default=1_000, show_default=True)
@click.option(
    "--mix",
    type=click.Choice(list(MIXES)),
    default="accounts",
    show_default=True,
    help="Pay from accounts, with coins, or both by --share.",
)
@click.option("--share", type=Number(0, 1), help="Part of coins in a mix.  [default: 0.5]")
@click.option(
    "--door",
    type=click.Choice(["single", "batch"]),
    default="batch",
    show_default=True,
    help="One transfer a request, or many.",
)
@click.option(
    "--batch-size",
    type=Whole(1, 5_000),
    help="Transfers a request.  [default: 500, or 50 ms of the rate]",
)
@click.option(
    "--format", "form", type=click.Choice(["json", "msgpack"]), default="msgpack", show_default=True
)
@click.option(
    "--wait",
    type=click.Choice(["accepted", "final"]),
    default="final",
    show_default=True,
    help="What is measured beside the answers: nothing, or finality.",
)
@click.option(
    "--connections",
    type=Whole(1, 1_000),
    help=f"Requests at once.  [default: {SINGLE_CONNECTIONS} single, {BATCH_CONNECTIONS} batch]",
)
@click.option(
    "--in-flight",
    type=Whole(1, 10_000_000),
    default=20_000,
    show_default=True,
    help="With --rate max and --wait final: how many may be sent and not yet final.",
)
@click.option(
    "--exchange",
    is_flag=True,
    help="Trade instead: a market maker and a random trader; --rate counts their actions.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result for machines.")
@click.option("--seed", type=Whole(0), help="Picks the accounts.  [default: the time]")
def load(**options: Any) -> None:
    """Send transfers, or orders, to a development chain and measure what becomes of them.

    Fresh accounts are funded from the named ones first, and everything is signed ahead. The loop is
    open: what is due is sent, whatever became of those before it. Latencies count from when a
    request was due, to its answer and, of a sample, to when its node says that it is final.

    \b
    Examples:
      chaind load
      chaind load --rate max --duration 20
      chaind load --rate 50 --door single --format json --count 500
      chaind load --url http://127.0.0.1:8080 --url http://127.0.0.1:8081 --mix mixed --share 0.1
      chaind load --exchange --rate 200 --duration 60
      CHAIND_LOAD_RATE=max CHAIND_LOAD_JSON=true chaind load
    """
    refuse_unknown_variables(load)
    if options["exchange"]:
        trade(options)
        return
    from chaind.cli.load_drive import FINAL_S_MAX
    from chaind.cli.load_tally import table

    plan = make_load(options)
    with Progress() as progress:
        tally = run_load(plan, progress)
    summary = {
        "urls": list(plan.urls),
        "rate": "max" if plan.rate is None else plan.rate,
        "batch_size": plan.batch_size,
        "connections": plan.connections,
        "seed": plan.seed,
        **tally.summary(),
    }
    click.echo(json.dumps(summary) if options["as_json"] else table(summary))
    missing = tally.accepted - tally.final
    if plan.wait_final and missing > 0:
        raise Unfinished(count=missing, bound_s=FINAL_S_MAX)


def trade(options: dict[str, Any]) -> None:
    """Make the markets live, and print what came of it."""
    from chaind.cli.load_exchange import ExchangeLoad, drive_exchange
    from chaind.cli.load_tally import table

    refuse_given(list(_OF_TRANSFERS), "goes with transfers, not with --exchange")
    plan = ExchangeLoad(
        urls=options["urls"],
        rate=options["rate"],
        duration_s=_duration_s(options),
        count=options["count"],
        seed=_seed(options),
    )
    with Progress() as progress:
        tally = on_loop(drive_exchange(plan, progress.stage))
    rate = "max" if plan.rate is None else plan.rate
    summary = {"urls": list(plan.urls), "rate": rate, "seed": plan.seed, **tally.summary()}
    click.echo(json.dumps(summary) if options["as_json"] else table(summary))
    missing = tally.sent - tally.final - sum(tally.refused.values())
    if missing > 0:
        raise Unfinished(count=missing, bound_s=0.0)


def _duration_s(options: dict[str, Any]) -> float:
    """Seconds that were asked for; without end where a count was."""
    chosen: float | None = options["duration"]
    if chosen is not None:
        return chosen
    return DURATION_S if options["count"] is None else float("inf")


def _seed(options: dict[str, Any]) -> int:
    chosen: int | None = options["seed"]
    return time.time_ns() // 1_000_000 if chosen is None else chosen


def make_load(options: dict[str, Any]) -> "Load":
    """The load that the options ask for."""
    from chaind.cli.load_drive import Load

    rate, count, single = options["rate"], options["count"], options["door"] == "single"
    share = options["share"]
    if options["mix"] != "mixed":
        refuse_given(["share"], "goes with --mix mixed")
    if single:
        refuse_given(["batch_size"], "goes with --door batch")
    if rate is not None or options["wait"] != "final":
        refuse_given(["in_flight"], "goes with --rate max and --wait final")
    batch_size = 1 if single else options["batch_size"] or _batch_size(rate)
    return Load(
        urls=options["urls"],
        rate=rate,
        duration_s=_duration_s(options),
        count=count,
        accounts=options["accounts"],
        coin_share=MIXES[options["mix"]] if share is None else share,
        batch_size=batch_size,
        single=single,
        msgpack=options["form"] == "msgpack",
        wait_final=options["wait"] == "final",
        connections=options["connections"] or (SINGLE_CONNECTIONS if single else BATCH_CONNECTIONS),
        in_flight_max=options["in_flight"],
        seed=_seed(options),
    )


def _batch_size(rate: float | None) -> int:
    """Large where throughput is asked for; with a rate, for 20 requests a second."""
    return 500 if rate is None else max(1, min(500, int(rate / 20)))


def run_load(plan: "Load", progress: Progress) -> "Tally":
    """Drive it, and show how far it is."""
    from chaind.cli.load_drive import drive

    return on_loop(drive(plan, progress.sending, progress.stage))


def on_loop(work: "Coroutine[Any, Any, R]") -> R:
    """Run it on an event loop of its own; the first fault of its tasks is raised bare."""
    import asyncio

    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except* LocalFault as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        fault = error
    raise fault


take_variables(load)
