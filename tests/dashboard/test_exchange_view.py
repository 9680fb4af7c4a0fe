"""The exchange from the page: what it shows of a book is what another node knows."""

import zlib

import pytest
from dashboard_kit import Dashboard

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/orders?wait=final"


async def place(dashboard: Dashboard, **order: str) -> str:
    """A final order through the other node; its id."""
    body = {"symbol": "BTC/USD", "account": "trader2", **order}
    status, answer, _ = dashboard.other.post(PATH, body)
    assert status == 200, answer
    return str(answer["order_id"])


async def shown(dashboard: Dashboard, within: str, wanted: list[list[str]]) -> None:
    """Wait until a table begins so."""
    for _ in range(200):
        rows = await dashboard.rows(within)
        if [row[: len(cells)] for row, cells in zip(rows, wanted, strict=False)] == wanted:
            return
        await dashboard.page.evaluate("new Promise((done) => setTimeout(done, 50))")
    raise AssertionError(f"{within} shows {rows}, not {wanted}")


async def test_a_book_comes_to_life_and_an_order_is_placed_and_cancelled(
    dashboard: Dashboard,
) -> None:
    await dashboard.open("exchange/BTC-USD")
    await dashboard.shows("Nobody offers anything yet")
    await place(dashboard, side="sell", quantity="2", price="46000")
    await place(dashboard, side="sell", quantity="1", price="45500")
    await place(dashboard, side="buy", quantity="1.5", price="44000")
    await shown(
        dashboard,
        ".book",
        [["ask", "46,000", "2"], ["ask", "45,500", "1"], ["bid", "44,000", "1.5"]],
    )
    await dashboard.page.until("document.querySelector('depth-chart path.depth.ask')")
    # Takes the best ask and rests with what is left.
    await dashboard.fill("#order", quantity="1.25", price="45500")
    await dashboard.submit("#order")
    order_id = await dashboard.page.until(
        "document.querySelector('.order .success')?.dataset.order"
    )
    order = await dashboard.ask(f"/api/v1/orders/{order_id}")
    assert (order["status"], order["filled"]) == ("partially_filled", "1")
    await dashboard.shows("partially filled")
    await shown(dashboard, ".book", [["ask", "46,000", "2"], ["bid", "45,500", "0.25"]])
    await shown(dashboard, ".trades", [["bought", "45,500", "1"]])
    await dashboard.page.until("document.querySelector('candle-chart rect')")
    await dashboard.page.until("document.querySelector('.day')?.innerText.includes('45,500 USD')")
    await shown(dashboard, ".orders", [["BTC/USD", "buy", "45,500", "1.25", "1"]])
    await dashboard.page.click(".orders button.second")
    await dashboard.shows("trader1 has no open orders.")
    assert (await dashboard.ask(f"/api/v1/orders/{order_id}"))["status"] == "cancelled"
    await shown(dashboard, ".book", [["ask", "46,000", "2"], ["bid", "44,000", "1.5"]])


async def test_what_the_book_refuses_is_said_in_the_nodes_words(dashboard: Dashboard) -> None:
    await dashboard.open("exchange/COIN-USD")
    await dashboard.page.until("document.querySelector('#order')")
    await dashboard.fill("#order", quantity="1", price="0.00001")
    await dashboard.submit("#order")
    await dashboard.page.until(
        "document.querySelector('.order .refusal')?.dataset.code === 'price-off-tick'"
    )
    await dashboard.fill("#order", quantity="1", price="9")
    await dashboard.submit("#order")
    await dashboard.page.until(
        "document.querySelector('.order .refusal')?.dataset.code === 'price-out-of-band'"
    )
    dashboard.page.forgive("422")


async def test_the_page_computes_the_checksum_of_the_feed(dashboard: Dashboard) -> None:
    await dashboard.open()
    words = "45000:1.5:45001:2"
    found = await dashboard.page.evaluate(
        f"import('/dashboard/book_follower.js').then((module) => module.crc32('{words}'))"
    )
    assert found == zlib.crc32(words.encode())
