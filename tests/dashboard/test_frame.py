"""The frame of the dashboard: theme, phone, keyboard, and what it does while nodes are away."""

import asyncio
import json

import pytest
from browser import DESKTOP, PHONE
from dashboard_kit import Dashboard, away, payments
from local_network import LocalNetwork

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIGNS = {  # of each view, what shows that all of it is there
    "": ".newest tbody",
    "explorer": ".payments tbody",
    "block/1": ".signers",
    "address/alice": ".statement tbody",
    "payments": ".accounts tbody",
    "exchange/BTC-USD": ".day dd",
    "mining": ".unmined",
    "network": ".voters tbody",
}
START_S = 180.0  # a bound on hangs: two nodes start on a machine that may be busy
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
BLOCKS_SHOWN = "[...document.querySelectorAll('.strip a .block-height')].map((e) => +e.innerText)"


async def test_the_theme_follows_the_system_until_it_is_chosen(dashboard: Dashboard) -> None:
    page = dashboard.page
    await page.colours("light")
    await dashboard.open()
    light = await page.evaluate(BACKGROUND)
    await page.colours("dark")
    dark = await page.until(f"{BACKGROUND} !== {json.dumps(light)} && {BACKGROUND}")
    await page.click("#theme")
    await page.until(f"{BACKGROUND} === {json.dumps(light)}")
    await dashboard.open("network")  # loaded anew: the choice stays, against the system
    assert await page.evaluate(BACKGROUND) == light
    await page.click("#theme")
    await page.until(f"{BACKGROUND} === {json.dumps(dark)}")


@pytest.mark.parametrize("view", SIGNS)
async def test_nothing_is_wider_than_a_phone(dashboard: Dashboard, view: str) -> None:
    page = dashboard.page
    await dashboard.pay(amount="1.00000001")  # a balance as long as they come
    await page.resize(PHONE)
    await dashboard.open(view)
    await page.until(f"document.querySelector('main {SIGNS[view]}')")
    # Whatever is too wide makes a phone draw everything smaller.
    assert await page.evaluate("innerWidth") == PHONE[0]
    # The tabs stand at the bottom, in reach of a thumb, and are high enough for one.
    box = await page.evaluate(
        "(({top, bottom}) => ({top, bottom}))"
        "(document.querySelector('nav').getBoundingClientRect())"
    )
    assert box["bottom"] == PHONE[1]
    assert box["bottom"] - box["top"] >= 44


async def test_everything_is_reached_by_the_keyboard(dashboard: Dashboard) -> None:
    page = dashboard.page
    await page.resize(DESKTOP)
    await dashboard.open("payments")
    await page.evaluate("document.activeElement.blur()")
    stops: list[str] = []
    while "from" not in stops and len(stops) < 40:
        await page.press("Tab")
        stops.append(
            await page.evaluate(
                "(e => e.name || e.id || e.dataset.view || e.innerText)(document.activeElement)"
            )
        )
    assert stops[0] == "Skip to the content"
    order = [
        stops.index(name) for name in ("overview", "exchange", "network", "q", "theme", "from")
    ]
    assert order == sorted(order)
    ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    # The address bar's view is announced: the main part takes the focus.
    await dashboard.go("network")
    await page.until("document.activeElement.id === 'main'")
    assert await page.evaluate("document.title") == "Network · devnet"


async def test_without_a_quorum_payments_wait_and_are_seen_to_wait(
    dashboard: Dashboard, network: LocalNetwork
) -> None:
    """Pending, with age and fee; then final, in one block that is long enough to be paged."""
    page = dashboard.page
    await dashboard.open("payments")
    signed = payments(network.genesis, 60)
    last = signed[-1].txid.hex()
    async with away(network, *network.nodes[2:]) as back:
        batch = [{"raw": each.raw.hex()} for each in signed]
        _, answer, _ = await asyncio.to_thread(dashboard.node.post, "/api/v1/transactions", batch)
        assert answer["accepted"] == 60
        await dashboard.shows("60 payments wait.")
        row = (await dashboard.rows(".pending"))[0]
        assert row[1].startswith("carol → dave 0.00001 COIN")
        assert row[2] == "none"
        await dashboard.go("")
        await page.until("document.querySelector('.next').innerText.includes('60 waiting')")
        await dashboard.go("network")
        await page.until("document.querySelectorAll('.peers tbody tr').length === 1")
        await dashboard.shows("not ready")
        await dashboard.shows("no quorum")
        await dashboard.go(f"tx/{last}")
        # Pending; or, where it was a living validator's turn, in a block that lacks votes.
        status, done = await page.until(
            "document.querySelector('.way') && [document.querySelector('.way').dataset.status,"
            " document.querySelectorAll('.way .done').length]"
        )
        assert (status, done) in (("pending", 1), ("included", 2))
        await back()
        await page.until("document.querySelector('.way')?.dataset.status === 'final'", START_S)
    assert "after" in await page.text(".way li:last-child")  # it was watched from the beginning
    found = await dashboard.transaction(last)
    block = await dashboard.ask(f"/block/{found['height']}?limit=500")
    count = block["transaction_count"]  # all sixty, unless a leader took the first ones already
    await dashboard.go(f"block/{found['height']}")
    await dashboard.shows(f"{count} payment")
    await page.until(f"document.querySelectorAll('main tbody tr').length === {min(50, count)}")
    if count > 50:
        await page.click("main .card > button.second")
        await page.until(f"document.querySelectorAll('main tbody tr').length === {count}")
    page.forgive("503 (Service Unavailable)")


async def test_a_restart_of_the_node_is_outlived(
    dashboard: Dashboard, network: LocalNetwork
) -> None:
    """The page says so, connects by itself, and has the blocks of meanwhile without a hole."""
    page, node = dashboard.page, dashboard.node
    await dashboard.open()
    await dashboard.pay()
    async with away(network, node) as back:
        await page.until("document.querySelector('#link-state').innerText === 'node not reachable'")
        meanwhile = await dashboard.pay(memo="while it was away")
        await back()
        await dashboard.live()
    await page.until(f"{BLOCKS_SHOWN}[0] >= {meanwhile['height']}")
    heights = await page.evaluate(BLOCKS_SHOWN)
    assert heights == list(range(heights[0], heights[0] - len(heights), -1))
    for height in heights[:3]:
        block = await dashboard.agreed(f"/block/{height}", height)
        tile = await page.text(f".strip a[href='#/block/{height}']")
        assert ("empty" in tile) == (block["transaction_count"] == 0)
    after = await dashboard.pay()
    await page.until(f"{BLOCKS_SHOWN}[0] >= {after['height']}")
    page.forgive("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    page.failures.clear()


# A network that loses every third message of the channel of blocks, and tells nobody.
LOSSY = """
window.lost = [];
const Whole = WebSocket;
window.WebSocket = class extends Whole {
  addEventListener(name, handle) {
    if (name !== 'message') return super.addEventListener(name, handle);
    super.addEventListener(name, (event) => {
      const told = JSON.parse(event.data);
      if (told.type === 'block' && told.seq % 3 === 0) window.lost.push(told.data.height);
      else handle(event);
    });
  }
};
"""


async def test_what_a_channel_left_out_is_fetched(dashboard: Dashboard) -> None:
    page = dashboard.page
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=LOSSY)
    await dashboard.open()
    first = (await dashboard.pay())["height"]
    while max(await page.evaluate("[0, ...window.lost]")) <= first:
        await dashboard.pay()
    lost = max(await page.evaluate("window.lost"))
    await dashboard.pay()  # by which the page sees that one is missing
    await page.until(
        f"(() => {{ const found = {BLOCKS_SHOWN}; return found.includes({lost})"
        " && found.every((height, index) => height === found[0] - index); })()"
    )
