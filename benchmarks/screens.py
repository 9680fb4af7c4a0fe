"""Pictures of every view of the dashboard: light, dark, and on a phone.

python benchmarks/screens.py
"""

import asyncio
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
from browser import DESKTOP, PHONE, Page, chromium, find_chromium
from common import HOST, RESULTS, RealNode, free_place, running

from chaind.cli.chains import create_mined_chain
from chaind.cli.processes import CHAIND, wait_until
from chaind.node.home import Home

BYTES_MAX = 4 << 20  # of all pictures: they are in the repository
PAYMENTS_PER_S = 12
ORDERS = 600  # on the two markets, before anybody looks
CUSTODY = {"CHAIND_CUSTODY_ENABLED": "true"}
MINER = {
    **CUSTODY,
    "CHAIND_MINER_ENABLED": "true",
    "CHAIND_MINER_ADDRESS": "judy",
    "CHAIND_MINER_PACE_PERCENT": "60",
}
RIGS = ("bob.rig", "carol.shed")
MINED_BLOCKS = 40  # before anybody looks: so many the view shows, and a network has a rate
MINED_S_MAX = 180.0
PAYERS = ("alice", "bob", "carol", "dave", "erin")
LOOKS = {
    "light": ("light", DESKTOP),
    "dark": ("dark", DESKTOP),
    "phone": ("light", PHONE),
    "phone-dark": ("dark", PHONE),
}
SETTLE_S = 3.0  # the sparklines want some seconds of history


class View(NamedTuple):
    """What is opened, what shows that it stands there, and in which looks."""

    name: str
    fragment: str
    sign: str
    looks: tuple[str, ...] = ("light", "dark", "phone")


def post(node: RealNode, path: str, body: dict[str, Any], **headers: str) -> Any:
    """The JSON answer of a POST."""
    wanted = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(node.url + path, json.dumps(body).encode(), wanted)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def get(node: RealNode, path: str) -> Any:
    """The JSON answer of a GET."""
    with urllib.request.urlopen(node.url + path, timeout=30) as answer:
        return json.load(answer)


async def pay(nodes: list[RealNode]) -> None:
    """Payments all the while, at every node in turn."""
    number = 0
    while True:
        order = {
            "from": PAYERS[number % 5],
            "to": PAYERS[(number * 3 + 1) % 5 - 1],
            "amount": f"{1 + number * 7 % 90}.{number % 4}",
        }
        await asyncio.to_thread(post, nodes[number % len(nodes)], "/transfer", order)
        number += 1
        await asyncio.sleep(1 / PAYMENTS_PER_S)


def subjects(nodes: list[RealNode]) -> list[View]:
    """All views, with something to show in each."""
    first = nodes[0]
    order = {"from": "alice", "to": "bob", "amount": "12.5", "memo": "lunch on Friday"}
    paid = post(first, "/transfer", order, **{"Idempotency-Key": "lunch-1"})["tx_id"]
    height = get(first, f"/transaction/{paid}")["height"]
    asked = {"to": "bob", "amount": "9.99", "memo": "Two books"}
    invoice = post(first, "/api/v1/invoices", asked)
    part = {"from": "carol", "to": "bob", "amount": "4", "memo": invoice["reference"]}
    post(first, "/transfer?wait=final", part)
    return [
        View("overview", "", ".views li", tuple(LOOKS)),
        View("explorer", "explorer", ".payments tbody"),
        View("block", f"block/{height}", ".signers"),
        View("transaction", f"tx/{paid}", ".flow"),
        View("address", "address/bob", ".statement tbody"),
        View("payments", "payments", ".accounts tbody"),
        View("invoice", f"invoice/{invoice['id']}", ".state"),
        View("exchange", "exchange/BTC-USD", ".trades tbody", tuple(LOOKS)),
        View("network", "network", ".voters tbody"),
    ]


MINING = View("mining", "mining", ".workers tbody", tuple(LOOKS))


async def take(page: Page, node: RealNode, view: View, directory: Path) -> None:
    """The pictures of one view."""
    for look in view.looks:
        scheme, size = LOOKS[look]
        await page.resize(size)
        await page.colours(scheme)
        await page.go(f"{node.url}/#/{view.fragment}")
        await page.until(f"document.querySelector('{view.sign}')")
        await asyncio.sleep(SETTLE_S)
        (directory / f"{view.name}-{look}.png").write_bytes(await page.picture())


@contextmanager
def mined() -> Iterator[RealNode]:
    """A node that mines, and serves two workers of other people, with some blocks behind it."""
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as directory, ExitStack() as stack:
        place = free_place(Path(directory) / "node0", mined=True)
        create_mined_chain([Home(place.home)])
        node = RealNode(place, [place], MINER)
        stack.callback(node.stop)
        node.start()
        node.await_ready()
        for rig in RIGS:
            stack.callback(end_rig, start_rig(place.stratum_port, rig))
        if not wait_until(lambda: node.status("height") >= MINED_BLOCKS, MINED_S_MAX):
            raise click.ClickException(f"no {MINED_BLOCKS} blocks in {MINED_S_MAX:g} s")
        yield node


def start_rig(port: int, name: str) -> subprocess.Popen[bytes]:
    """A miner of its own at a node's Stratum."""
    url = f"stratum+tcp://{HOST}:{port}"
    words = [*CHAIND, "mine", "--url", url, "--address", name, "--threads", "1"]
    mine = {key: text for key, text in os.environ.items() if not key.startswith("CHAIND_")}
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=mine)


def end_rig(process: subprocess.Popen[bytes]) -> None:
    """Its orderly end."""
    process.terminate()
    process.wait()


async def run(executable: str, directory: Path, nodes: list[RealNode], views: list[View]) -> None:
    """Pictures of views, while people pay."""
    async with chromium(executable) as browser, asyncio.TaskGroup() as group:
        paying = group.create_task(pay(nodes))
        page = await browser.page()
        for view in views:
            await take(page, nodes[0], view, directory)
        paying.cancel()
    if page.complaints:
        raise click.ClickException("the page complained: " + "; ".join(page.complaints))


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS / "screens",
    show_default="benchmarks/results/screens",
)
def main(out: Path) -> None:
    """Write VIEW-LOOK.png for every view."""
    executable = find_chromium()
    if executable is None:
        raise click.ClickException("there is no Chromium here: apt-get install chromium")
    out.mkdir(parents=True, exist_ok=True)
    with running(4, CUSTODY) as nodes:
        nodes.load("--exchange", "--rate", "100", "--count", str(ORDERS))
        asyncio.run(run(executable, out, nodes.all, subjects(nodes.all)))
    with mined() as node:
        asyncio.run(run(executable, out, [node], [MINING]))
    sizes = [picture.stat().st_size for picture in out.glob("*.png")]
    click.echo(f"{len(sizes)} pictures, {sum(sizes) / 2**20:.2f} MiB, in {out}")
    if sum(sizes) > BYTES_MAX:
        raise click.ClickException(f"they are more than {BYTES_MAX >> 20} MiB")


if __name__ == "__main__":
    main()
