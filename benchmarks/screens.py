"""Pictures of every view of the dashboard: light, dark, and on a phone.

python benchmarks/screens.py
"""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import click
from browser import DESKTOP, PHONE, Page, chromium, find_chromium
from common import RESULTS, RealNode, running

BYTES_MAX = 3 << 20  # of all pictures: they are in the repository
PAYMENTS_PER_S = 12
ORDERS = 600  # on the two markets, before anybody looks
CUSTODY = {"CHAIND_CUSTODY_ENABLED": "true"}
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


async def run(executable: str, directory: Path, nodes: list[RealNode]) -> None:
    """All pictures, while people pay."""
    async with chromium(executable) as browser, asyncio.TaskGroup() as group:
        views = await asyncio.to_thread(subjects, nodes)
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
        asyncio.run(run(executable, out, nodes.all))
    sizes = [picture.stat().st_size for picture in out.glob("*.png")]
    click.echo(f"{len(sizes)} pictures, {sum(sizes) / 2**20:.2f} MiB, in {out}")
    if sum(sizes) > BYTES_MAX:
        raise click.ClickException(f"they are more than {BYTES_MAX >> 20} MiB")


if __name__ == "__main__":
    main()
