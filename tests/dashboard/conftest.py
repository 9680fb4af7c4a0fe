"""A devnet of four real nodes and a real Chromium, both for all tests here; a tab for each test.

Law: when a test ends, its page has complained of nothing, has asked nobody but its node, and has
no request without an answer. A test that provokes a refusal says so with `page.forgive`.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / part) for part in ("benchmarks", "tests/e2e", "tests/dashboard")]

from browser import Browser, Page, chromium, find_chromium  # noqa: E402 — found by the line above
from dashboard_kit import Dashboard  # noqa: E402
from local_network import LocalNetwork  # noqa: E402

NOTICE = """
*** The dashboard was NOT tested: there is no Chromium on this machine. ***
Install it (Debian: apt-get install chromium), or name one: CHAIND_CHROMIUM=/path/to/chromium.
"""


@pytest.fixture(scope="package")
def executable() -> str:
    """Where Chromium is; without it these tests are skipped, loudly."""
    found = find_chromium()
    if found is None:
        print(NOTICE, file=sys.__stderr__)
        pytest.skip("no Chromium: the dashboard is not tested")
    return found


@pytest.fixture(scope="package")
def network(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four validators."""
    found = LocalNetwork(tmp_path_factory.mktemp("dashboard") / "net", 4)
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser(executable: str) -> AsyncIterator[Browser]:
    """One Chromium."""
    async with chromium(executable) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, network: LocalNetwork) -> AsyncIterator[Page]:
    """A tab of its own, judged by the module's law."""
    found = await browser.page()
    yield found
    assert found.complaints == []
    assert found.failures == []
    node = urlsplit(network.nodes[0].url).netloc
    hosts = {urlsplit(url).netloc for url in found.requests if url != "about:blank"}
    assert hosts <= {node}
    await found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(page: Page, network: LocalNetwork) -> Dashboard:
    """The page of node 0, and node 1 to compare it with."""
    return Dashboard(page, network.nodes[0], network.nodes[1])
