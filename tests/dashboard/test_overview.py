"""The overview: the page of one node says what another node's API says."""

import pytest
from dashboard_kit import Dashboard

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The page and its node's API, until they speak of the same view.
SAME_VIEW = """(async () => {
  const told = await (await fetch('/api/v1/consensus')).json();
  await new Promise((done) => setTimeout(done, 600));
  const rows = [...document.querySelectorAll('.views li')].map((row) => row.innerText.split('\\n'));
  const paths = [...document.querySelectorAll('validator-wheel path')];
  const rings = paths.map((path) => path.className.baseVal);
  return rows[0][0] === String(told.views[0].view) && [told, rows, rings];
})()"""
HEIGHT = "Number(document.querySelector('.tile.height .value').innerText.replaceAll(',', ''))"


async def test_blocks_are_those_of_the_chain(dashboard: Dashboard) -> None:
    await dashboard.open()
    await dashboard.pay()
    newest = (await dashboard.ask("/status"))["height"]
    height = await dashboard.page.until(f"{HEIGHT} >= {newest} && {HEIGHT}")
    rows = await dashboard.rows(".newest")
    assert int(rows[0][0]) >= newest
    assert len(rows) == min(9, height)
    for number, _, count, maker, shown in rows:
        block = await dashboard.agreed(f"/block/{number}", int(number))
        assert shown == f"{block['hash'][:10]}…{block['hash'][-10:]}"
        assert count == (str(block["transaction_count"]) if block["transaction_count"] else "empty")
        voters = (await dashboard.ask("/api/v1/validators"))["validators"]
        names = {voter["address"]: voter["name"] for voter in voters}
        assert maker == names[block["proposer"]]


async def test_the_chain_strip_shows_payments_and_the_next_block(dashboard: Dashboard) -> None:
    await dashboard.open()
    paid = await dashboard.pay()
    tile = f"document.querySelector('.strip a[href=\"#/block/{paid['height']}\"]')"
    words = await dashboard.page.until(f"{tile}?.innerText")
    count = (await dashboard.ask(f"/block/{paid['height']}"))["transaction_count"]
    assert f"{count} payment" in words
    number = int(
        await dashboard.page.evaluate("document.querySelector('.next').innerText.split('\\n')[0]")
    )
    assert number > paid["height"]
    leaders = [voter["name"] for voter in (await dashboard.ask("/api/v1/validators"))["validators"]]
    words = await dashboard.page.text(".next .block-age")
    assert words.removesuffix(" leads") in leaders


async def test_rates_are_measured_once_somebody_pays(dashboard: Dashboard) -> None:
    await dashboard.open()
    await dashboard.page.until(
        "document.querySelector('.tile.lag .value').innerText.endsWith(' ms')"
    )
    await dashboard.pay()
    await dashboard.page.until(
        "document.querySelector('.tile.latency .note').innerText.startsWith('median')"
    )
    assert (await dashboard.page.text(".tile.latency .value")).endswith("s")
    await dashboard.page.until("Number(document.querySelector('.tile.rate .value').innerText) > 0")
    line = await dashboard.page.evaluate(
        "document.querySelector('.tile.rate .line').getAttribute('d')"
    )
    assert line.count("L") == 59  # one point for each of sixty seconds


async def test_the_wheel_shows_votes_as_this_node_counted_them(dashboard: Dashboard) -> None:
    await dashboard.open()
    await dashboard.pay()
    await dashboard.page.until("document.querySelectorAll('.views li').length >= 3")
    told, rows, rings = await dashboard.page.until(SAME_VIEW)
    words = {"fast", "final", "notarized", "nullified", "open"}
    for row, view in zip(rows, told["views"], strict=False):
        assert row[0] == str(view["view"])
        assert row[1] == told["validators"][view["leader"]]["name"]
        assert row[3] in words
        block = await dashboard.agreed(f"/block/{view['height']}", view["height"])
        assert (block["view"], block["hash"]) == (view["view"], view["block_hash"])
    for index in range(4):  # the outermost ring
        kind = rings[index].removeprefix("vote ")
        view = told["views"][0]
        assert (kind == "none") == (index not in {*view["first"], *view["finalize"]})
    label = await dashboard.page.evaluate(
        "document.querySelector('validator-wheel svg').getAttribute('aria-label')"
    )
    assert label.startswith("Votes in view ")
