"""`chaind stress`: payments asked for many times, under kills, and a verdict of what they did."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaind.cli.descriptors import raise_limit
from chaind.cli.layout import BASE_PORT, HOST
from chaind.cli.parameters import FilePath, NodeUrl, Number, Whole
from chaind.cli.variables import refuse_given, refuse_unknown_variables, take_variables
from chaind.primitives.errors import ChaindError, LocalFault

if TYPE_CHECKING:
    from chaind.cli.stress_drive import Stress
    from chaind.cli.stress_verdict import Verdict


class Inconclusive(LocalFault):
    """Nothing was broken, but not everything was seen."""

    code = "inconclusive"
    text = "nothing broke, but {count} payment(s) were refused, or not answered to all who asked"
    advice = (
        "See the answers above: custody must be on and the named accounts funded. Run it again "
        "once `chaind status` shows that the nodes are ready."
    )
    exit_code = 75  # EX_TEMPFAIL


@click.command()
@click.option(
    "--url",
    "urls",
    multiple=True,
    type=NodeUrl(),
    help=f"API of a node; again for more.  [default: http://{HOST}:{BASE_PORT}]",
)
@click.option(
    "--home",
    type=FilePath(path_type=Path, file_okay=False),
    help="In place of --url: all nodes of the devnet of this directory.",
)
@click.option("--keys", type=Whole(1, 1_000_000), default=100, show_default=True)
@click.option(
    "--duplicates",
    type=Whole(1, 1_000),
    default=8,
    show_default=True,
    help="Requests at once with each key.",
)
@click.option("--spread", is_flag=True, help="Each duplicate to another node than the last.")
@click.option(
    "--kill",
    "kills",
    type=Whole(0, 100_000),
    default=0,
    show_default=True,
    help="So many times kill -9 a node of --home and start it again; the next when all are ready.",
)
@click.option(
    "--conflicts",
    "rounds",
    type=Whole(1, 1_000_000),
    help="Instead of keys: so many rounds of spends of one balance through all nodes at once.",
)
@click.option(
    "--spends",
    type=Whole(2, 1_000),
    default=64,
    show_default=True,
    help="Spends a round; the balance affords half of them.",
)
@click.option(
    "--valid",
    "valid_s",
    type=Number(1, 600),
    default=5.0,
    show_default=True,
    help="Seconds until a spend that the balance does not afford has expired.",
)
@click.option(
    "--at-once", type=Whole(1, 1_000), default=16, show_default=True, help="Keys or rounds at once."
)
@click.option("--seed", type=Whole(0), help="Picks victims and instants.  [default: the time]")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict for machines.")
def stress(**options: Any) -> None:
    """Try to be charged twice, on a development chain.

    Every key pays once from a named account, whoever is asked and however often. The verdict counts
    answers and compares them with what every node then holds; last, one node's chain is replayed
    and its supply added up. Exit status 1 where any promise was broken: a key charged twice,
    answers of one key that differ, an acknowledged payment lost, supply that does not add up.
    Every option is an environment variable too: CHAIND_STRESS_KEYS for --keys.

    \b
    Examples:
      chaind stress
      chaind stress --home devnet --keys 1000 --duplicates 32 --spread
      chaind stress --home devnet --keys 10000 --duplicates 32 --kill 100
      chaind stress --home devnet --conflicts 10 --spends 64
    """
    refuse_unknown_variables(stress)
    plan = make_plan(options)
    raise_limit()
    from chaind.cli.load_tally import table

    with progress(plan.rounds or plan.keys) as show:
        verdict = run_stress(plan, show)
    audit_supply(plan.urls[0], verdict)
    summary = {"urls": list(plan.urls), "seed": plan.seed, **verdict.summary()}
    click.echo(json.dumps(summary) if options["as_json"] else table(summary))
    if verdict.faults.total():
        sys.exit(1)
    if verdict.open:
        raise Inconclusive(count=verdict.open)


def make_plan(options: dict[str, Any]) -> "Stress":
    """The run that the options ask for. Raises `NoDevnet`."""
    from chaind.cli.stress_drive import Stress
    from chaind.cli.stress_kill import running_devnet

    urls, home, rounds = options["urls"], options["home"], options["rounds"]
    if urls and home is not None:
        raise click.UsageError("Give either --url or --home.")
    if options["kills"] and home is None:
        raise click.UsageError("--kill goes with --home: it has to start the nodes again.")
    if options["kills"] and rounds is not None:
        raise click.UsageError("--kill goes with keys: with --conflicts no node dies.")
    if rounds is None:
        refuse_given(["spends", "valid_s"], "goes with --conflicts")
    else:
        refuse_given(["keys", "duplicates", "spread"], "goes with keys: --conflicts has none")
    if home is not None:
        home = home.resolve()
        urls = [node.url for node in running_devnet(home)]
    urls = urls or [f"http://{HOST}:{BASE_PORT}"]
    seed = options["seed"]
    return Stress(
        urls=tuple(urls),
        home=home,
        keys=options["keys"],
        duplicates=options["duplicates"],
        spread=options["spread"],
        kills=options["kills"],
        rounds=rounds or 0,
        spends=options["spends"],
        at_once=options["at_once"],
        valid_ms=int(options["valid_s"] * 1_000),
        seed=time.time_ns() // 1_000_000 if seed is None else seed,
    )


@contextmanager
def progress(length: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on standard error for a person; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _done, _news: None
        return
    bar = click.progressbar(
        length=length,
        label="paying",
        file=sys.stderr,
        item_show_func=lambda news: news or "",
    )
    with bar:
        yield lambda done, news: bar.update(done - bar.pos, news)


def run_stress(plan: "Stress", show: Callable[[int, str], None]) -> "Verdict":
    """Drive it on an event loop of its own; the first fault of its tasks is raised bare."""
    import asyncio

    import uvloop

    from chaind.cli.stress_drive import drive

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(drive(plan, show))
    except* ChaindError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        fault = error
    raise fault


def audit_supply(url: str, verdict: "Verdict") -> None:
    """Replay the chain of a node, and count what does not add up there."""
    from chaind.cli.audit import ProgressBar
    from chaind.cli.audit_url import audit_url
    from chaind.cli.stress_verdict import SUPPLY

    bar = ProgressBar()
    report = audit_url(url, None, 0, bar)
    bar.close()
    verdict.faults[SUPPLY] += len(report.violations) or not report.consistent
    verdict.counts["audited_height"] = report.height


take_variables(stress)
