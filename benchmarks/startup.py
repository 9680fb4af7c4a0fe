"""Start-up time and memory of a node with many accounts, then its idle CPU and memory.

python benchmarks/startup.py --accounts 1000000
"""

import http.client
import time

import click
import msgspec
from common import Nodes, RealNode, Table, output_options, running

from chaind.cli.load_orders import FUNDING_OUTPUTS_MAX, Orders, Plan
from chaind.cli.processes import wait_until
from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import NATIVE, AccountOutput
from chaind.wallet.derivation import development_key

PER_REQUEST = 16  # transactions of 40 KB
ANSWER_S_MAX = 60.0
ADDRESS_BYTES = 20
UNITS = 1_000


def fill(nodes: Nodes, accounts: int) -> None:
    """Pay so many addresses that nobody has the key of, each once."""
    orders = Orders(Plan(nodes.genesis.to_json(), 1, 1, 0.0, 1, msgpack=True, single=False, seed=0))
    alice = development_key(0)
    raws = []
    for first in range(0, accounts, FUNDING_OUTPUTS_MAX):
        outputs = [
            AccountOutput(sha256(b"%d" % index)[:ADDRESS_BYTES], NATIVE, UNITS)
            for index in range(first, min(first + FUNDING_OUTPUTS_MAX, accounts))
        ]
        raws.append(orders.funding(alice, outputs, first).raw)
    place = nodes.places[0]
    connection = http.client.HTTPConnection("127.0.0.1", place.api_port, timeout=ANSWER_S_MAX)
    headers = {"Content-Type": "application/msgpack", "Prefer": "wait=final"}
    for first in range(0, len(raws), PER_REQUEST):
        body = b"".join(map(msgspec.msgpack.encode, raws[first : first + PER_REQUEST]))
        connection.request("POST", "/api/v1/transactions", body, headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise RuntimeError(f"not final: {answer.status} {answer.read()[:500]!r}")
        answer.read()
    connection.close()


def start_s(node: RealNode) -> tuple[float, float]:
    """Seconds from starting the process to its first answer, and to being ready."""
    begun_s = time.monotonic()
    node.start()
    if not wait_until(lambda: node.answers("/health/live"), ANSWER_S_MAX):
        raise RuntimeError("the node does not answer")
    answered_s = time.monotonic()
    node.await_ready()
    return answered_s - begun_s, time.monotonic() - begun_s


@click.command()
@click.option("--accounts", type=int, default=1_000_000, show_default=True)
@click.option("--starts", type=int, default=5, show_default=True, help="The median is shown.")
@click.option("--idle-seconds", type=float, default=30.0, show_default=True)
@output_options
def main(accounts: int, starts: int, idle_seconds: float, as_json: bool, record: bool) -> None:
    """A single validator, filled, stopped and started again."""
    table = Table("startup", f"Start-up and idling with {accounts:,} accounts")
    with running(1) as nodes:
        node = nodes.all[0]
        empty_mib = node.resident_mib()
        fill(nodes, accounts)
        filled_mib = node.resident_mib()
        answered, ready = [], []
        for _ in range(starts):
            node.stop()
            to_answer_s, to_ready_s = start_s(node)
            answered.append(to_answer_s)
            ready.append(to_ready_s)
        started_mib = node.resident_mib()
        before = node.cpu()
        time.sleep(idle_seconds)
        use = node.cpu().since(before)
        idle_mib = node.resident_mib()
    percent = 100 * (use.loop_s + use.threads_s) / idle_seconds
    table.add("start to the first answer", sorted(answered)[starts // 2], "s")
    table.add(
        "start to ready (a final block), median", sorted(ready)[starts // 2], "s", "≤ 3 (p99)"
    )
    table.add("start to ready, slowest", max(ready), "s")
    table.add("resident with an empty chain", empty_mib, "MiB", "≤ 120")
    table.add("resident after filling it", filled_mib, "MiB")
    table.add("resident after the start", started_mib, "MiB", "≤ 120")
    table.add(f"resident after {idle_seconds:.0f} s idle", idle_mib, "MiB", "≤ 120")
    table.add(f"CPU over {idle_seconds:.0f} s idle", percent, "% of a core", "≤ 1")
    table.note(f"Median of {starts} starts; asked every 20 ms.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
