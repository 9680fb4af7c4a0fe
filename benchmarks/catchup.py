"""How fast a new node takes over a chain that exists: transfers per second.

python benchmarks/catchup.py --count 200000
"""

import time

import click
from common import Table, output_options, running

from chaind.cli.processes import wait_until

CATCH_UP_S_MAX = 500.0


@click.command()
@click.option("--count", type=int, default=200_000, show_default=True, help="Transfers to sync.")
@output_options
def main(count: int, as_json: bool, record: bool) -> None:
    """A full node with an empty home beside one validator."""
    table = Table("catchup", "Catch-up of a new full node")
    with running(1) as nodes:
        told = nodes.load("--rate", "max", "--count", str(count))
        validator = nodes.all[0]
        goal = validator.status("height")
        before = validator.cpu()
        follower = nodes.follower()
        begun_s = time.monotonic()
        follower.start()
        if not wait_until(lambda: follower.answers("/status"), CATCH_UP_S_MAX):
            raise RuntimeError("the new node does not answer")
        open_s = time.monotonic()
        if not wait_until(lambda: follower.status("height") >= goal, CATCH_UP_S_MAX):
            raise RuntimeError(f"not at height {goal} after {CATCH_UP_S_MAX:.0f} s")
        done_s = time.monotonic()
        use, served = follower.cpu(), validator.cpu().since(before)
    final = told["final"]
    table.add("synced, from the process's start", final / (done_s - begun_s), "transfers/s")
    table.add("synced, from its first answer", final / (done_s - open_s), "transfers/s", "≥ 15,000")
    table.add("transfers", final, "")
    table.add("blocks", goal, "")
    table.add("start to the first answer", open_s - begun_s, "s")
    for name, used in (("the new node", use), ("the node that serves", served)):
        table.add(f"{name}: CPU of its event loop", used.loop_s * 1e6 / final, "µs/transfer")
        table.add(f"{name}: CPU of its threads", used.threads_s * 1e6 / final, "µs/transfer")
    table.note("The new node verifies every signature again, on its threads.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
