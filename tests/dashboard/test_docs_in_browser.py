"""The API's page in a real browser: found, tried, followed, refused, and usable by everybody.

What the page shows is compared with what another node answers.
"""

import asyncio
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from browser import DESKTOP, PHONE, Page
from local_network import LocalNetwork, until

from chaind.api.refusals import refusals
from chaind.api.routes import ROUTES
from chaind.node.payments import InFlight

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = files("axe_core_python").joinpath("axe.min.js").read_text()
VIOLATIONS = """axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations
  .map((each) => ({id: each.id, help: each.help, nodes: each.nodes.map((node) => node.html)})))"""
ANSWER = "document.querySelector('.answer pre')"
STATUS = "document.querySelector('.answer .status')?.innerText"


async def open_docs(page: Page, network: LocalNetwork, operation: str = "") -> None:
    """The page of node 0, at an operation."""
    await page.go(f"{network.nodes[0].url}/docs#/{operation}")
    await page.until("!!document.querySelector('main h1')")


async def answered(page: Page) -> Any:
    """Send what is filled in; the JSON that is shown."""
    await page.evaluate("document.querySelector('.answer').replaceChildren()")
    await page.click("button.send")
    await page.until(f"!!{ANSWER}")
    return json.loads(await page.evaluate(f"{ANSWER}.innerText"))


async def write_body(page: Page, body: object) -> None:
    """Replace the body of the request."""
    await page.evaluate("document.querySelector('#body').select()")
    await page.type("#body", json.dumps(body))


async def other(network: LocalNetwork, path: str, true: Callable[[Any], bool]) -> Any:
    """What node 1 answers once that is so."""

    def look() -> Any:
        found = network.nodes[1].get(path)
        return found if true(found) else None

    return await asyncio.to_thread(until, look, path)


async def test_a_route_is_found_by_its_error_code_tried_and_followed(
    page: Page, network: LocalNetwork
) -> None:
    await open_docs(page, network)
    listed = "[...document.querySelectorAll('#routes a')].map((each) => each.dataset.id)"
    telling = {
        route.operation
        for route in ROUTES
        for leaves in refusals(route).values()
        if any(leaf.code == InFlight.code for leaf in leaves)
    }
    await page.press("/", text="/")
    await page.send("Input.insertText", text="in-flight")
    await page.until(f"{listed}.length === {len(telling)}")
    assert set(await page.evaluate(listed)) == telling
    await page.press("Enter")
    await page.until("document.querySelector('main h1').innerText.startsWith('Pay from')")
    await page.press("Escape")
    await write_body(page, {"from": "alice", "to": "bob", "amount": "0.25", "memo": "it's tried"})
    curl = await page.evaluate("document.querySelector('.curl-line').textContent")
    assert curl == (
        "curl -s -X POST -H 'Content-Type: application/json' "
        """-d '{"from":"alice","to":"bob","amount":"0.25","memo":"it'\\''s tried"}' """
        f"{network.nodes[0].url}/api/v1/transfers"
    )
    paid = await answered(page)
    assert await page.evaluate(STATUS) == "202"
    truth = await other(
        network, f"/transaction/{paid['tx_id']}", lambda found: found.get("status") == "final"
    )
    await page.evaluate("document.querySelector('.answer .bar + .bar button').click()")
    await page.until("!!document.querySelector('#p-path-id')")
    shown = await answered(page)
    assert shown["transaction"] == truth["transaction"]
    assert bytes.fromhex(shown["transaction"]["memo"]) == b"it's tried"


async def test_a_refusal_is_told_in_words(page: Page, network: LocalNetwork) -> None:
    await open_docs(page, network, "post_transfer")
    await write_body(page, {"from": "alice", "to": "bob", "amount": "-1"})
    problem = await answered(page)
    assert (problem["code"], await page.evaluate(STATUS)) == ("amount-invalid", "400")
    notice = await page.text(".answer .notice")
    assert problem["detail"] in notice
    assert problem["advice"] in notice
    explained = await page.evaluate("document.querySelector('#answer-400').textContent")
    assert "amount-invalid" in explained
    assert problem["advice"] in explained
    page.forgive("400 (Bad Request)")


async def test_the_token_is_sent_and_never_shown(page: Page, network: LocalNetwork) -> None:
    secret = (network.nodes[0].home / "api.token").read_text().strip()
    await open_docs(page, network, "get_webhooks")
    assert (await answered(page))["code"] == "token-needed"
    page.forgive("401 (Unauthorized)")
    await page.type("#token", secret)
    assert await answered(page) == {"webhooks": [], "count": 0}
    curl = await page.evaluate("document.querySelector('.curl-line').textContent")
    assert 'Authorization: Bearer $TOKEN"' in curl
    assert secret not in await page.evaluate("document.body.innerText")
    stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert secret not in stored


async def test_blocks_are_heard_live(page: Page, network: LocalNetwork) -> None:
    await open_docs(page, network, "get_ws")
    await page.type("#channels", "blocks")
    await page.type("#from", "1")
    await page.click("button.send")
    heard = "[...document.querySelectorAll('.messages pre')].map((e) => JSON.parse(e.innerText))"
    first = await page.until(f"{heard}.find((each) => each.data?.height)")
    truth = await other(network, f"/block/{first['data']['height']}", bool)
    assert first["data"]["hash"] == truth["hash"]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["light, desktop", "dark, phone"]
)
async def test_every_route_fits_and_has_no_barrier(
    page: Page, network: LocalNetwork, scheme: str, size: tuple[int, int]
) -> None:
    await page.resize(size)
    await page.colours(scheme)
    await open_docs(page, network)
    await page.evaluate(AXE)
    operations = await page.evaluate(
        "[...document.querySelectorAll('#routes a')].map((each) => each.dataset.id)"
    )
    assert len(operations) > 30
    found = {"": await page.evaluate(VIOLATIONS)}
    for operation in operations:
        await page.evaluate(f"location.hash = '#/{operation}'")
        await page.until(f"document.querySelector('[aria-current]')?.dataset.id === '{operation}'")
        assert await page.evaluate("document.documentElement.scrollWidth") <= size[0], operation
        if operation in ("post_transfer", "get_statement", "get_ws"):  # axe takes its time
            await page.evaluate(
                "for (const e of document.querySelectorAll('details')) e.open = true"
            )
            found[operation] = await page.evaluate(VIOLATIONS)
    assert not any(found.values()), found


async def test_the_keyboard_walks_and_the_theme_stays(page: Page, network: LocalNetwork) -> None:
    await open_docs(page, network)
    operations = await page.evaluate(
        "[...document.querySelectorAll('#routes a')].map((each) => each.dataset.id)"
    )
    for key, place in (("j", 0), ("j", 1), ("k", 0)):
        await page.press(key, text=key)
        await page.until(f"location.hash === '#/{operations[place]}'")
    await page.colours("light")
    await page.click("#theme")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    await open_docs(page, network)
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
