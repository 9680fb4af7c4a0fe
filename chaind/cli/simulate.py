"""`chaind simulate`: whole nodes under faults, from seeds."""

import sys
from typing import TYPE_CHECKING

import click

from chaind.cli.parameters import Number
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.simulation.campaign import Report
    from chaind.simulation.options import Options as RunOptions
    from chaind.simulation.options import Outcome

TRACE_LINES = 80  # of a failing seed
SEEDS_PER_LINE = 50


class FaultsUnknown(LocalFault):
    """No such group of faults."""

    code = "faults-unknown"
    text = "there are no faults called {name!r}, only {groups}"
    advice = "Name some of those, or all, or none."
    exit_code = 64  # EX_USAGE


class AdversaryUnknown(LocalFault):
    """No such liar."""

    code = "adversary-unknown"
    text = "there is no adversary called {name}, only {kinds}"
    advice = "Name one of those, or any, or none."
    exit_code = 64  # EX_USAGE


class SeedsInvalid(LocalFault):
    """Not a range."""

    code = "seeds-invalid"
    text = "{given!r} is no range of seeds"
    advice = "Write FIRST:END, such as 0:2000; END itself is left out."
    exit_code = 64  # EX_USAGE


class SimulationFailed(LocalFault):
    """An invariant was broken, or a run fell short."""

    code = "simulation-failed"
    text = "{failures} of {seeds} seeds failed; {missing} required points were not reached"
    advice = "The commands above replay the failures."


@click.command()
@click.option("--seed", type=int, help="One seed, told in full.")
@click.option("--seeds", metavar="FIRST:END", help="Many seeds; END is left out.")
@click.option(
    "--mode",
    type=click.Choice(("bft", "pow")),
    default="bft",
    show_default=True,
    help="Validators that vote, or miners.",
)
@click.option("--nodes", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option(
    "--faults",
    default="all",
    show_default=True,
    help="all, none, or some of: crash, pause, partition, network, messages, clock, disk.",
)
@click.option(
    "--adversary",
    default="any",
    show_default=True,
    help="How one Byzantine node lies; none, or any: each seed decides.",
)
@click.option("--overlay", is_flag=True, help="Votes are passed on, as among many validators.")
@click.option(
    "--traders",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Clients that trade on a market.",
)
@click.option("--skip", default="", help="Numbers of faults of the plan to leave out: 1,4,5.")
@click.option(
    "--minutes",
    type=Number(0.01, 1_440),
    help="Virtual minutes of faults.  [default: 62 seconds, of miners 182]",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
def simulate(
    seed: int | None,
    seeds: str | None,
    mode: str,
    nodes: int,
    faults: str,
    adversary: str,
    overlay: bool,
    traders: int,
    skip: str,
    minutes: float | None,
    jobs: int,
) -> None:
    """Run whole nodes on a virtual clock, network and disk, with faults, payers and traders.

    Validators agree, or in mode pow miners do, with real work whose times the seed draws.

    The same seed gives the same trace, whose hash is printed. A run checks that no two blocks are
    final at one height, that no node contradicts itself, that what was answered stays true, that
    money is conserved, that order books are those of a replay, and that all agree again once
    faults have ended. One that falls short of 60 virtual seconds, 30 final blocks, 300 operations
    or 5 faults fails; of miners, of 180 seconds, 100 blocks, 200 operations or 5 faults.

    \b
    Examples:
      chaind simulate --seed 7
      chaind simulate --seeds 0:2000 --nodes 4 --faults all --jobs 2
      chaind simulate --seed 7 --nodes 7 --minutes 10 --faults crash,disk
      chaind simulate --seeds 0:20 --adversary "equivocating leader"
      chaind simulate --seeds 0:200 --mode pow --nodes 4 --faults all
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("Give --seed or --seeds, not both.")
    if overlay and mode != "bft":
        raise click.UsageError("--overlay is for validators, who vote.")
    from chaind.simulation.campaign import run_all
    from chaind.simulation.options import Options

    base = Options(
        seed=0,
        nodes=nodes,
        groups=_groups(faults),
        skip=_numbers(skip),
        adversary=_adversary(adversary, mode),
        mode=mode,
        overlay=overlay,
        traders=traders,
    )
    if minutes is not None:
        base = base._replace(seconds=60 * minutes)
    wanted = _range(seeds) if seeds is not None else [0 if seed is None else seed]
    runs = [base._replace(seed=number) for number in wanted]
    done = 0

    def heard(outcome: "Outcome") -> None:
        nonlocal done
        done += 1
        if outcome.violation is not None:
            click.echo(f"seed {outcome.options.seed} FAILED: {outcome.violation}")
        elif len(runs) == 1:
            click.echo(f"seed {outcome.options.seed}: trace {outcome.trace_hash}")
        elif done % SEEDS_PER_LINE == 0:
            click.echo(f"{done} of {len(runs)} seeds")

    report = run_all(runs, jobs, heard)
    for failed in report.failures:
        _explain(failed)
    _tell(report)
    if not report.passed:
        error = SimulationFailed(
            failures=len(report.failures), seeds=report.seeds, missing=len(report.missing)
        )
        click.echo(f"Error: {error}\n{error.advice}", err=True)
        sys.exit(1)
    click.echo("verdict: held")


def _explain(failed: "Outcome") -> None:
    """The failure with fewer faults, the command that replays it, and the end of its trace."""
    from chaind.simulation.campaign import shrink
    from chaind.simulation.simulation import SHORT

    click.echo(f"\nreplay: {_command(failed.options)}")
    if failed.violation is not None and not failed.violation.startswith(SHORT):
        click.echo("leaving out faults that it does not need …")
        failed = shrink(failed)
        click.echo(f"seed {failed.options.seed}: {failed.violation}")
        click.echo(f"replay: {_command(failed.options)}")
    for fault in failed.faults:
        click.echo(f"  fault {fault}")
    for line in failed.trace[-TRACE_LINES:]:
        click.echo(f"  {line}")


def _command(options: "RunOptions") -> str:
    """What to type to see this run again."""
    from chaind.simulation.faults import GROUPS

    groups = "all" if options.groups == GROUPS else ",".join(options.groups) or "none"
    parts = ["chaind simulate", f"--seed {options.seed}", f"--nodes {options.nodes}"]
    if options.mode != "bft":
        parts.append(f"--mode {options.mode}")
    parts.append(f"--faults {groups}")
    if options.seconds is not None:
        parts.append(f"--minutes {options.seconds / 60!r}")
    if options.adversary != "any":
        parts.append(f'--adversary "{options.adversary}"')
    if options.overlay:
        parts.append("--overlay")
    if options.traders != type(options)._field_defaults["traders"]:
        parts.append(f"--traders {options.traders}")
    if options.skip:
        parts.append(f"--skip {','.join(map(str, sorted(options.skip)))}")
    return " ".join(parts)


def _tell(report: "Report") -> None:
    """Totals."""
    from chaind.simulation.campaign import TO_AGREE

    seeds = "1 seed" if report.seeds == 1 else f"{report.seeds} seeds"
    click.echo(f"\n{seeds}, traces {report.trace_hash}")
    for name, total in report.counts.items():
        click.echo(f"{total:>14,.0f} {name}")
    if report.slowest is not None:
        seconds, seed = report.slowest.counts[TO_AGREE], report.slowest.options.seed
        click.echo(f"{seconds:>14,.1f} seconds to agree at the slowest, seed {seed}")
    click.echo("reached:")
    for name, total in sorted(report.points.items()):
        click.echo(f"{total:>14,} {name}")
    for name in report.missing:
        click.echo(f"NOT REACHED: {name}")


def _groups(text: str) -> tuple[str, ...]:
    from chaind.simulation.faults import GROUPS

    if text in ("all", "none"):
        return GROUPS if text == "all" else ()
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in GROUPS:
            raise FaultsUnknown(name=name, groups=", ".join(GROUPS))
    return names


def _adversary(name: str, mode: str) -> str:
    from chaind.simulation.simulation import MODES

    kinds = MODES[mode].kinds
    if name not in ("any", "none", *kinds):
        raise AdversaryUnknown(name=name, kinds=", ".join(kinds))
    return name


def _numbers(text: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in text.split(",") if part)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of numbers", param_hint="--skip") from None


def _range(text: str) -> list[int]:
    first, _, end = text.partition(":")
    try:
        found = list(range(int(first), int(end)))
    except ValueError:
        raise SeedsInvalid(given=text) from None
    if not found:
        raise SeedsInvalid(given=text)
    return found
