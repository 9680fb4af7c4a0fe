"""`chaind mine`: for a pool or a node, or only to see how fast this machine is."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

from chaind.cli.parameters import FilePath, Number, Whole

if TYPE_CHECKING:
    from chaind.miner.crew import Crew
    from chaind.miner.devices import Device

THREADS_MAX = 1024
CARDS_MAX = 64


class Rate(NamedTuple):
    """Hashes of one process. On a busy machine it waits for the processor part of each second."""

    per_second: float
    per_cpu_second: float


_URL_FORMS = "a URL has the form stratum+tcp://HOST:PORT or http://HOST:PORT, and no secret in it"


class PoolUrl(click.ParamType):  # type: ignore[type-arg]
    """stratum+tcp://HOST:PORT as (host, port), or http://HOST:PORT as it is.

    Its base class is generic in the newest releases of click alone.
    """

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        try:
            parts = urlsplit(str(value))
            host, port = parts.hostname, parts.port
        except ValueError:  # the port, or brackets
            self.fail(_URL_FORMS, param, ctx)
        if parts.scheme in ("http", "https"):
            if not host or parts.query or parts.fragment or "@" in parts.netloc:
                self.fail(_URL_FORMS, param, ctx)
            return str(value)
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if parts.scheme not in ("stratum+tcp", "stratum") or not host or not port or not plain:
            self.fail(_URL_FORMS, param, ctx)
        return host, port


@click.command()
@click.option("--url", type=PoolUrl(), help="Mine for the Stratum server, or the node, there.")
@click.option(
    "--address",
    help="Who is paid: ADDRESS or ADDRESS.WORKER; over Stratum also a name that the node keeps.",
)
@click.option("--user", help="At a node, the name beside a password that is asked for.")
@click.option("--password-fd", type=Whole(0, 1_023), help="Descriptor to read that password from.")
@click.option(
    "--cookie-file",
    type=FilePath(dir_okay=False),
    help="rpc.cookie in the node's home.  [default, for a node of this machine: that of the user's "
    "own home]",
)
@click.option("--benchmark", is_flag=True, help="Only measure, on headers of no chain.")
@click.option(
    "--threads", type=Whole(1, THREADS_MAX), default=1, show_default=True, help="Processes."
)
@click.option("--affinity", is_flag=True, help="Hold each process to a core of its own.")
@click.option("--single-core", is_flag=True, help="One process, held to one core.")
@click.option(
    "--device",
    type=click.Choice(["auto", "gpu", "cpu"]),
    default="auto",
    show_default=True,
    help="What searches; auto takes NVIDIA cards where there are any.",
)
@click.option(
    "--device-index",
    "indexes",
    type=Whole(0, CARDS_MAX - 1),
    multiple=True,
    help="A card's number in `nvidia-smi -L`; may be given again.  [default: all cards]",
)
@click.option(
    "--intensity",
    type=Whole(1, 100),
    default=100,
    show_default=True,
    help="Percent of the time that cards are busy.",
)
@click.option(
    "--seconds", type=Number(1, 86_400 * 365), help="How long.  [default: 10, and until Ctrl-C]"
)
@click.option("--json", "as_json", is_flag=True, help="Print for machines, at the end.")
def mine(
    url: tuple[str, int] | str | None,
    address: str | None,
    user: str | None,
    password_fd: int | None,
    cookie_file: str | None,
    benchmark: bool,
    threads: int,
    affinity: bool,
    single_core: bool,
    device: "Device",
    indexes: tuple[int, ...],
    intensity: int,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Search nonces with the kernel for NVIDIA cards, or with the one for this processor.

    The first start compiles the kernel, which takes a while once. Every process first has to find
    what is known around Bitcoin's block 0. A connection that breaks is made again; Ctrl-C ends the
    work and tells what came of it.

    Each card gets a process; --threads and --affinity are for processors. Cards need the extra
    `gpu` and NVIDIA's driver. At an --intensity of 100 the card's own limits of power and
    temperature hold; with less it rests between launches, and stays cooler.

    At an http:// URL the work is that of getblocktemplate, and every block pays --address. The node
    asks who is there: its rpc.cookie answers, or --user with a password from CHAIND_MINE_PASSWORD,
    --password-fd or the terminal.

    \b
    Examples:
      chaind mine --benchmark
      chaind mine --benchmark --device cpu --threads 2 --affinity --seconds 30
      chaind mine --benchmark --device gpu --device-index 0 --intensity 50
      chaind mine --url stratum+tcp://127.0.0.1:3333 --address ADDRESS.WORKER --threads 2
      chaind mine --url http://127.0.0.1:8080 --address ADDRESS --cookie-file dev/rpc.cookie
    """
    if benchmark == (url is not None):
        raise click.UsageError("Give either --benchmark or --url.")
    if (address is None) == (url is not None):
        raise click.UsageError("--url needs --address, and --benchmark has no use for it.")
    refuse_secrets(url, user, password_fd, cookie_file)
    if indexes and device == "cpu":
        raise click.UsageError("--device-index is for cards, and --device cpu has none.")
    if single_core and (threads > 1 or device == "gpu"):
        raise click.UsageError("--single-core is for one processor core: no more, and no card.")
    if single_core:
        device, affinity = "cpu", True
    from chaind.miner.devices import start_crew

    authorise = None
    if isinstance(url, str):
        from chaind.cli.mine_node import authorisation

        cookie = Path(cookie_file) if cookie_file else None
        authorise = authorisation(url, user, password_fd, cookie)
    with start_crew(
        device=device,
        indexes=indexes,
        intensity=intensity,
        threads=threads,
        cpus=cores(threads) if affinity else (),
        tell=lambda text: click.echo(text, err=True),
    ) as crew:
        kernel = await_ready(crew)
        if url is not None:
            assert address is not None
            mine_at(crew, url, address, authorise, seconds, as_json=as_json)
            return
        rates = measure(crew, 10.0 if seconds is None else seconds)
    if as_json:
        import msgspec

        report = {"kernel": kernel, "processes": [rate._asdict() for rate in rates]}
        click.echo(msgspec.json.encode(report).decode())
        return
    click.echo(f"kernel     {kernel}")
    for index, rate in enumerate(rates):
        own = f" ({rate.per_cpu_second / 1e6:.2f} for each second on the processor)"
        click.echo(
            f"process {index:<2} {rate.per_second / 1e6:.2f} MH/s{'' if crew.on_cards else own}"
        )
    click.echo(f"together   {sum(rate.per_second for rate in rates) / 1e6:.2f} MH/s")


def refuse_secrets(
    url: tuple[str, int] | str | None,
    user: str | None,
    password_fd: int | None,
    cookie_file: str | None,
) -> None:
    """Refuse what says who is there where nobody asks, or twice."""
    given = [one for one in (user, password_fd, cookie_file) if one is not None]
    if given and not isinstance(url, str):
        raise click.UsageError("--user, --password-fd and --cookie-file go with an http:// URL.")
    if user is not None and cookie_file is not None:
        raise click.UsageError("Give either --user or --cookie-file.")
    if password_fd is not None and user is None:
        raise click.UsageError("--password-fd goes with --user.")


def mine_at(
    crew: "Crew",
    url: tuple[str, int] | str,
    address: str,
    authorise: Callable[[], str] | None,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """For a pool, or for a node, which `authorise` gets us into."""
    if isinstance(url, str):
        from chaind.cli.mine_node import mine_for_node

        assert authorise is not None
        mine_for_node(crew, url, address, authorise, seconds, as_json=as_json)
    else:
        from chaind.cli.mine_pool import mine_for_pool

        mine_for_pool(crew, url, address, seconds, as_json=as_json)


def cores(threads: int) -> Sequence[int]:
    """One core for each process, of those that this one may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise click.UsageError(f"--affinity has {len(allowed)} cores for {threads} threads.")
    return allowed[:threads]


def await_ready(crew: "Crew") -> str:
    """The kernel or the cards, once every process is ready; a compilation is told of."""
    from chaind.miner.worker import Compiling, Ready

    ready: set[int] = set()
    names: set[str] = set()
    while len(ready) < crew.size:
        for worker, answer in crew.answers(bound_s=1.0):
            if isinstance(answer, Compiling) and worker == 0:
                click.echo(f"{answer.text} …", err=True)
            elif isinstance(answer, Ready):
                names.add(answer.kernel)
                ready.add(worker)
    return " + ".join(sorted(names))


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
