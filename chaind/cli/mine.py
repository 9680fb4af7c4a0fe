"""`chaind mine`: how fast this machine mines."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from chaind.cli.parameters import Number, Whole

if TYPE_CHECKING:
    from chaind.miner.crew import Crew

THREADS_MAX = 1024


class Rate(NamedTuple):
    """Hashes of one process. On a busy machine it waits for the processor part of each second."""

    per_second: float
    per_cpu_second: float


@click.command()
@click.option("--benchmark", is_flag=True, required=True, help="Measure, on headers of no chain.")
@click.option(
    "--threads", type=Whole(1, THREADS_MAX), default=1, show_default=True, help="Processes."
)
@click.option("--affinity", is_flag=True, help="Hold each process to a core of its own.")
@click.option("--seconds", type=Number(1, 3600), default=10, show_default=True, help="How long.")
@click.option("--json", "as_json", is_flag=True, help="Print for machines.")
def mine(benchmark: bool, threads: int, affinity: bool, seconds: float, as_json: bool) -> None:
    """Search nonces with the kernel for this processor, and tell how many in a second.

    The first start compiles the kernel, which takes a while once. Every process first has to find
    the nonce of Bitcoin's block 0 in each lane of its vectors.

    \b
    Examples:
      chaind mine --benchmark
      chaind mine --benchmark --threads 2 --affinity --seconds 30
    """
    assert benchmark
    from chaind.miner.crew import Crew

    with Crew.start(threads=threads, cpus=cores(threads) if affinity else ()) as crew:
        kernel = await_ready(crew)
        rates = measure(crew, seconds)
    if as_json:
        import msgspec

        report = {"kernel": kernel, "processes": [rate._asdict() for rate in rates]}
        click.echo(msgspec.json.encode(report).decode())
        return
    click.echo(f"kernel     {kernel}")
    for index, rate in enumerate(rates):
        click.echo(
            f"process {index:<2} {rate.per_second / 1e6:.2f} MH/s "
            f"({rate.per_cpu_second / 1e6:.2f} for each second on the processor)"
        )
    click.echo(f"together   {sum(rate.per_second for rate in rates) / 1e6:.2f} MH/s")


def cores(threads: int) -> Sequence[int]:
    """One core for each process, of those that this one may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise click.UsageError(f"--affinity has {len(allowed)} cores for {threads} threads.")
    return allowed[:threads]


def await_ready(crew: "Crew") -> str:
    """The name of the kernel, once every process has it; a compilation is told of."""
    from chaind.miner.worker import Compiling, Ready

    ready: set[int] = set()
    kernel = ""
    while len(ready) < crew.size:
        for worker, answer in crew.answers(bound_s=1.0):
            if isinstance(answer, Compiling) and worker == 0:
                click.echo(f"{answer.text} …", err=True)
            elif isinstance(answer, Ready):
                kernel = answer.kernel
                ready.add(worker)
    return kernel


def measure(crew: "Crew", seconds: float) -> list[Rate]:
    """How fast each process is; new headers follow where the nonces of one are at their end."""
    from chaind.miner.worker import Exhausted, Searched

    told: list[list[Searched]] = [[] for _ in range(crew.size)]
    job = 0
    assign(crew, job)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s or not all(told):
        for worker, answer in crew.answers(bound_s=0.1):
            if isinstance(answer, Searched):
                told[worker].append(answer)
            elif isinstance(answer, Exhausted) and answer.job == job:
                job += 1
                assign(crew, job)
    return [
        Rate(
            per_second=sum(one.nonces for one in each) / sum(one.seconds for one in each),
            per_cpu_second=sum(one.nonces for one in each) / sum(one.cpu_seconds for one in each),
        )
        for each in told
    ]


def assign(crew: "Crew", job: int) -> None:
    """A header that no hash is low enough for."""
    from chaind.miner.search import PREFIX_BYTES

    crew.assign(job=job, prefix=job.to_bytes(PREFIX_BYTES, "big"), target=0)
