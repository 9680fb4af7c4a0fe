"""What the dashboard costs a browser: bytes, first paint, long tasks under load, memory over time.

python benchmarks/dashboard.py
"""

import asyncio
from importlib.resources import files
from typing import Any

import click
from browser import Browser, Page, chromium, find_chromium
from common import Nodes, Table, output_options, running

RATE_PER_S = 200
LOADS = 7  # of the page, each with an empty cache; the median counts
SETTLE_S = 3.0
VIEWS = ("", "explorer", "payments", "network")  # each is shown for a while under load

# The page's own timing of its paints, and every task of 50 ms or more from then on.
WATCH = """
window.chaindTasks = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.chaindTasks.push(each.duration);
}).observe({type: 'longtask', buffered: true});
"""
PAINT = """
performance.getEntriesByType('paint').find((each) => each.name === 'first-contentful-paint')
  ?.startTime
"""
FIGURES = """
document.querySelector('.tile.height .value')?.innerText !== '–' && performance.now()
"""
# How long a task of the event loop takes that does nothing: what others make it wait.
PROBE = """
window.chaindWaits = [];
const channel = new MessageChannel();
let sent = performance.now();
channel.port1.onmessage = () => {
  window.chaindWaits.push(performance.now() - sent);
  setTimeout(() => { sent = performance.now(); channel.port2.postMessage(0); }, 10);
};
channel.port2.postMessage(0);
"""


def percentile(values: list[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


async def first_paint(browser: Browser, url: str) -> tuple[float, float, int]:
    """(first contentful paint, first figure shown, bytes received), of a page with no cache."""
    page = await browser.page()
    try:
        await page.send("Network.setCacheDisabled", cacheDisabled=True)
        await page.go(f"{url}/")
        figure_ms = await page.until(FIGURES)
        paint_ms = await page.until(PAINT)
        sizes = "performance.getEntriesByType('resource').reduce((a, e) => a + e.transferSize, 0)"
        return paint_ms, figure_ms, int(await page.evaluate(sizes))
    finally:
        await page.close()


async def heap_bytes(page: Page) -> int:
    """What is reachable, after a collection."""
    await page.send("HeapProfiler.collectGarbage")
    return int((await page.send("Runtime.getHeapUsage"))["usedSize"])


async def under_load(page: Page, url: str, seconds: float) -> dict[str, Any]:
    """Long tasks and memory of a page that lives through the load, view after view."""
    await page.send("HeapProfiler.enable")
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    await page.go(f"{url}/")
    await page.until("document.querySelector('#link-state').innerText === 'live'")
    for view in VIEWS:  # every module is loaded before anything is measured
        await page.evaluate(f"location.hash = '#/{view}'")
        await asyncio.sleep(SETTLE_S)
    await page.evaluate("location.hash = '#/'")
    await asyncio.sleep(SETTLE_S)
    await page.evaluate(f"window.chaindTasks.length = 0; {PROBE}")
    before = await heap_bytes(page)
    for view in VIEWS:
        await page.evaluate(f"location.hash = '#/{view}'")
        await asyncio.sleep(seconds / len(VIEWS))
    await page.evaluate("location.hash = '#/'")
    await asyncio.sleep(SETTLE_S)
    waits = await page.evaluate("window.chaindWaits")
    tasks = await page.evaluate("window.chaindTasks")
    # The probe's own numbers are no memory of the page.
    await page.evaluate("window.chaindWaits.length = window.chaindTasks.length = 0")
    after = await heap_bytes(page)
    return {"waits": waits, "tasks": tasks, "before": before, "after": after}


async def measure(executable: str, nodes: Nodes, seconds: float) -> dict[str, Any]:
    """All figures of one run."""
    url = nodes.all[0].url
    async with chromium(executable) as browser:
        loads = [await first_paint(browser, url) for _ in range(LOADS)]
        page = await browser.page()
        length = str(seconds + SETTLE_S * (len(VIEWS) + 4))
        words = ("--rate", str(RATE_PER_S), "--door", "single", "--duration", length)
        load = asyncio.create_task(asyncio.to_thread(nodes.load, *words))
        found = await under_load(page, url, seconds)
        told = await load
        return {**found, "loads": loads, "told": told, "complaints": page.complaints}


@click.command()
@click.option("--seconds", type=float, default=600.0, show_default=True, help="Under load.")
@output_options
def main(seconds: float, as_json: bool, record: bool) -> None:
    """Four validators, one browser, 200 transfers a second."""
    executable = find_chromium()
    if executable is None:
        raise click.ClickException("there is no Chromium here: apt-get install chromium")
    table = Table("dashboard", "The dashboard in Chromium, at the first of four validators")
    size = sum(
        len(each.read_bytes()) for each in files("chaind.api").joinpath("dashboard").iterdir()
    )
    table.add("all files", size / 1024, "KiB", "≤ 400")
    with running(4) as nodes:
        found = asyncio.run(measure(executable, nodes, seconds))
    paints, figures, received = zip(*found["loads"], strict=True)
    table.add("received for the overview", max(received) / 1024, "KiB")
    table.add(
        "first paint, median of 7 without a cache", percentile(list(paints), 0.5), "ms", "≤ 500"
    )
    table.add("first figure of the chain, median", percentile(list(figures), 0.5), "ms")
    table.add("wait of an event, p50", percentile(found["waits"], 0.5), "ms")
    table.add("wait of an event, p99", percentile(found["waits"], 0.99), "ms", "≤ 50")
    table.add("tasks over 50 ms", len(found["tasks"]), "")
    table.add("the longest of them", max(found["tasks"], default=0.0), "ms")
    growth = (found["after"] - found["before"]) / 2**20
    table.add(f"heap growth in {seconds / 60:.1f} min", growth, "MiB", "≤ 5")
    table.add("heap at the end", found["after"] / 2**20, "MiB")
    table.add("transfers final meanwhile", found["told"]["final"], "")
    table.note(
        f"{RATE_PER_S} transfers/s at all four validators; the page shows {len(VIEWS)} views in "
        "turn, each for as long. An event waits for the task before it: its wait bounds that task."
    )
    table.note(f"The page complained of {found['complaints'] or 'nothing'}.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
