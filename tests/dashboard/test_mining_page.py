"""The views of a chain of miners: mining, and what the others say where nobody votes."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browser import PHONE, Page
from dashboard_kit import Dashboard
from local_network import COMMAND, LocalNetwork, NodeProcess, free_ports
from test_access import AXE, RUN

sys.path.append(str(Path(__file__).parents[1] / "miner"))
from stratum_kit import StratumClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


class MinedNetwork(LocalNetwork):
    """One node, which mines for judy and serves Stratum."""

    def __init__(self, home: Path) -> None:
        words = [*COMMAND, "init", "--home", str(home), "--mode", "pow"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        api, p2p, self.stratum = free_ports(3)
        self.nodes = [NodeProcess(home, api, p2p)]
        self.nodes[0].extra = {
            "CHAIND_MINER_ENABLED": "true",
            "CHAIND_MINER_ADDRESS": "judy",
            "CHAIND_MINER_PACE_PERCENT": "100",
            "CHAIND_MINER_STRATUM_PORT": str(self.stratum),
        }


@pytest.fixture(scope="module")
def mined(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinedNetwork]:
    found = MinedNetwork(tmp_path_factory.mktemp("mined") / "net")
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def mining(browser: Any, mined: MinedNetwork) -> AsyncIterator[Dashboard]:
    """A tab of its own, which complains of nothing."""
    page: Page = await browser.page()
    yield Dashboard(page, mined.nodes[0], mined.nodes[0])
    assert (page.complaints, page.failures) == ([], [])
    await page.close()


@asynccontextmanager
async def rig(mined: MinedNetwork) -> AsyncIterator[StratumClient]:
    """A worker with a share."""
    client = await StratumClient("bob.rig").join(mined.stratum)
    await client.until(lambda: client.job)
    for number in count():
        share = await asyncio.to_thread(client.search, number)
        if await client.send(share) == "accepted":
            break
    try:
        yield client
    finally:
        await client.leave()


async def test_the_view_shows_work_workers_and_who_mined(
    mining: Dashboard, mined: MinedNetwork
) -> None:
    page = mining.page
    async with rig(mined):
        await mining.open("mining")
        await page.until("document.querySelector('.workers tbody')")
        (worker,) = await mining.rows(".workers")
        assert worker[:2] == ["bob.rig", "connected"]
        assert int(worker[3]) >= 1
        told = await mining.ask("/api/v1/mining/workers")
        assert told["workers"][0]["name"] == worker[0]
    await page.until("document.querySelector('.workers tbody .chip').innerText === 'away'")
    for row in await mining.rows(".recent"):
        assert row[2] in ("judy", "bob")
        assert row[4] in ("final", "on top")
    heights = [int(row[0]) for row in await mining.rows(".recent")]
    assert heights == list(range(heights[0], heights[0] - len(heights), -1))
    recent = (await mining.ask("/api/v1/mining/recent?blocks=100"))["blocks"]
    makers = {block["height"]: block["miners"][0]["user"] for block in recent}
    for row in await mining.rows(".recent"):
        assert makers[int(row[0])] == row[2]
    await page.until("document.querySelector('.miners').innerText.includes('judy')")
    assert (await page.text(".tile.node .note")).startswith("1 process of its own")


async def test_a_block_on_top_is_shown_as_what_it_is(mining: Dashboard) -> None:
    page = mining.page
    words = "Final block"
    while words == "Final block":  # it was buried while the page was loading
        newest = (await mining.ask("/api/v1/mining/recent?blocks=1"))["blocks"][0]
        await mining.open(f"block/{newest['hash']}")
        words = await page.until("document.querySelector('.kicker')?.innerText")
    assert words == "Not final yet"
    await mining.shows("may still be reorganised away")
    assert await page.text("main h1") == f"Block {newest['height']}"
    older = await page.evaluate("document.querySelector('[rel=prev]').getAttribute('href')")
    before = (await mining.ask(f"/block/{newest['hash']}"))["previous_hash"]
    assert older == f"#/block/{before}"


async def test_the_figures_are_the_nodes_and_move_with_blocks(mining: Dashboard) -> None:
    page = mining.page
    await mining.open("mining")
    height = "Number(document.querySelector('.tile.height .value').innerText)"
    first = await page.until(f"{height} > 0 && {height}")
    await page.until(f"{height} > {first}")
    told = await mining.ask("/api/v1/mining")
    assert told["height"] > first
    assert (await page.text(".tile.difficulty .note")).startswith("bits 1f")
    assert "× 10⁻" in await page.text(".tile.difficulty .value")
    await page.until("document.querySelector('.tile.network .value').innerText.endsWith('H/s')")
    assert "pays 50 COIN" in await page.text(".tile.height .note")


async def test_command_lines_can_be_copied_whole(mining: Dashboard, mined: MinedNetwork) -> None:
    await mining.open("mining")
    await mining.page.until("document.querySelector('.join copy-text')")
    lines = await mining.page.evaluate(
        "[...document.querySelectorAll('.join copy-text')].map((e) => e.getAttribute('text'))"
    )
    url = f"stratum+tcp://127.0.0.1:{mined.stratum}"
    alice = (await mining.ask("/api/v1/accounts"))["accounts"][0]["address"]
    assert lines == [
        url,
        f"chaind mine --url {url} --address {alice}.rig",
        f"minerd -a sha256d -o {url} -u {alice}.rig -p x",
    ]


async def test_nobody_votes_and_nobody_says_so(mining: Dashboard) -> None:
    """The other views on a chain of miners."""
    page = mining.page
    await mining.open()
    await page.until("document.querySelector('.next .block-age').innerText.startsWith('mined on')")
    await page.until("document.querySelector('.newest tbody')")
    assert not await page.evaluate("document.querySelector('.mined').hidden")
    assert await page.evaluate("getComputedStyle(document.querySelector('.votes')).display") == (
        "none"
    )
    assert await page.text(".tile.lag h2") == "Blocks on top"
    assert int(await page.text(".tile.lag .value")) > 0
    for view, sign in (("network", ".voters a"), ("block/1", ".facts")):
        await mining.go(view)
        await page.until(f"document.querySelector({json.dumps(sign)})")
        words = await page.evaluate("document.querySelector('main').innerText")
        for wrong in ("null", "undefined", "validators live", "No certificate", "\nView\n"):
            assert wrong not in words, (view, wrong)
    await mining.shows("Work: it lies deeper")


async def test_a_phone_shows_it_and_nothing_is_in_anybodys_way(
    mining: Dashboard, mined: MinedNetwork
) -> None:
    page = mining.page
    await page.resize(PHONE)
    async with rig(mined):
        await mining.open("mining")
        await page.until("document.querySelector('.workers tbody')")
        await page.until("document.querySelector('.miners tbody')")
        assert await page.evaluate("innerWidth") == PHONE[0]
        await page.evaluate(AXE)
        assert await page.evaluate(RUN) == []


async def test_validators_make_the_blocks_of_their_chain(dashboard: Dashboard) -> None:
    await dashboard.open("mining")
    await dashboard.shows("Blocks of this chain are made by its validators")
    assert await dashboard.page.evaluate("document.title") == "Mining · devnet"


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [
        ("hashes", 0, "0.00 H/s"),
        ("hashes", 999.4, "999 H/s"),
        ("hashes", 999.6, "1.00 kH/s"),
        ("hashes", 36_100_000, "36.1 MH/s"),
        ("hashes", 8e20, "800 EH/s"),
        ("difficulty", 0, "0"),
        ("difficulty", 3.9036e-6, "3.90 × 10⁻⁶"),
        ("difficulty", 1.5e-12, "1.50 × 10⁻¹²"),
        ("difficulty", 0.25, "0.25"),
        ("difficulty", 12.3456, "12.35"),
        ("difficulty", 123_456_789.4, "123,456,789"),
    ],
)
async def test_numbers_of_any_size_are_short(
    dashboard: Dashboard, function: str, value: float, words: str
) -> None:
    await dashboard.open("mining")
    said = await dashboard.page.evaluate(
        f"import('/dashboard/format.js').then((m) => m.{function}({json.dumps(value)}))"
    )
    assert said == words
