"""Payments from the page: what it says happened is what another node knows."""

import pytest
import zxingcpp
from browser import Page
from dashboard_kit import Dashboard
from pictures import grey

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_transfer_is_paid_once_however_often_it_is_sent(dashboard: Dashboard) -> None:
    before = await dashboard.ask("/balance/grace")
    await dashboard.open("payments")
    await dashboard.fill("#transfer", from_="alice", to="grace", amount="7.25", memo="once")
    key = await dashboard.page.text("#transfer .key")
    await dashboard.submit("#transfer")
    txid = await dashboard.page.until("document.querySelector('.pay .success')?.dataset.tx")
    paid = await dashboard.transaction(txid)
    assert paid["transaction"]["outputs"][0]["amount"] == "7.25"
    assert bytes.fromhex(paid["transaction"]["memo"]) == b"once"
    assert paid["transaction"]["lease"] is not None
    await dashboard.page.click(".pay .again")
    await dashboard.page.until("document.querySelector('.pay .success')?.dataset.hit === 'true'")
    assert (
        await dashboard.page.evaluate("document.querySelector('.pay .success').dataset.tx") == txid
    )
    await dashboard.shows("nothing more was taken")
    # Another node gives the same answer to the same key.
    body = {"from": "alice", "to": "grace", "amount": "7.25", "asset": "COIN", "memo": "once"}
    status, answer, headers = dashboard.other.post("/transfer", body, {"Idempotency-Key": key})
    assert (status, answer["tx_id"], headers["X-Idempotency-Hit"]) == (200, txid, "true")
    after = await dashboard.ask("/balance/grace")
    assert float(after["balance"]) - float(before["balance"]) == 7.25
    assert await dashboard.page.text("#transfer .key") != key


async def test_what_is_refused_is_said_in_the_nodes_words(dashboard: Dashboard) -> None:
    await dashboard.open("payments")
    await dashboard.fill("#transfer", from_="heidi", to="bob", amount="999999999")
    await dashboard.submit("#transfer")
    await dashboard.page.until("document.querySelector('.pay .refusal')")
    body = {"from": "heidi", "to": "bob", "amount": "999999999"}
    _, problem, _ = dashboard.other.post("/transfer", body)
    words = await dashboard.page.text(".pay .refusal")
    assert problem["detail"].lower() in words.lower()
    assert problem["advice"] in words
    await dashboard.fill("#transfer", to="nobody here", amount="1")
    await dashboard.submit("#transfer")
    await dashboard.page.until(
        "document.querySelector('.pay .refusal')?.dataset.code === 'name-unknown'"
    )
    dashboard.page.forgive("422", "404")


async def test_the_faucet_gives(dashboard: Dashboard) -> None:
    await dashboard.open("payments")
    await dashboard.fill("#faucet", to="judy", amount="12.5")
    await dashboard.submit("#faucet")
    txid = await dashboard.page.until("document.querySelector('.faucet .success')?.dataset.tx")
    gift = await dashboard.transaction(txid)
    assert gift["transaction"]["outputs"][0]["amount"] == "12.5"
    holds = (await dashboard.ask("/balance/judy"))["balance"]
    shown = await dashboard.page.text(".faucet .success .money")
    assert shown.replace(",", "") == f"{holds} COIN"
    # The table of accounts follows.
    rows = "[...document.querySelectorAll('.accounts tr')]"
    wanted = f"{rows}.find((row) => row.innerText.includes('judy'))"
    await dashboard.page.until(f"{wanted}?.innerText.replaceAll(',', '').includes('{holds} COIN')")
    for name, _, balance in await dashboard.rows(".accounts"):
        assert (
            balance.replace(",", "")
            == f"{(await dashboard.ask(f'/balance/{name}'))['balance']} COIN"
        )


async def scan(page: Page, selector: str) -> str:
    """What a phone reads off the screen."""
    width, height, pixels = grey(await page.picture(selector))
    (found,) = zxingcpp.read_barcodes(memoryview(pixels).cast("B", shape=[height, width]))
    return str(found.text)


async def test_an_invoice_is_scanned_paid_and_known_as_paid(dashboard: Dashboard) -> None:
    await dashboard.open("payments")
    await dashboard.fill("#invoice", to="ivan", amount="9.99", memo="zwei Bücher")
    await dashboard.submit("#invoice")
    await dashboard.page.until("document.querySelector('qr-code svg')")
    uri = await scan(dashboard.page, "qr-code")
    ivan = (await dashboard.ask("/balance/ivan"))["address"]
    assert uri.startswith(f"chaind:{ivan}?amount=9.99&asset=COIN&memo=invoice%3A")
    assert "note=zwei%20B%C3%BCcher" in uri
    number = await dashboard.page.evaluate("location.hash.split('/').at(-1)")
    assert await dashboard.page.text(".state .chip") == "unpaid"
    # A part comes from elsewhere, the rest from this page.
    reference = await dashboard.fact("Reference, as memo of the payment")
    await dashboard.pay(to="ivan", amount="1", memo=reference)
    await dashboard.page.until("document.querySelector('.state').dataset.status === 'partial'")
    assert await dashboard.page.text(".settle button") == "Pay 8.99 COIN"
    await dashboard.fill(".settle form", from_="bob")
    await dashboard.submit(".settle form")
    await dashboard.page.until("document.querySelector('.state').dataset.status === 'paid'")
    rows = await dashboard.rows("main")
    assert sorted(row[3] for row in rows) == ["1 COIN", "8.99 COIN"]
    history = (await dashboard.ask("/transactions/ivan?limit=2"))["transactions"]
    assert [entry["memo"] for entry in history] == [reference] * 2
    assert {entry["amount"] for entry in history} == {"1", "8.99"}
    await dashboard.go("payments")
    await dashboard.page.until(
        f"document.querySelector('.invoices a[href=\"#/invoice/{number}\"]')"
        "?.closest('tr').querySelector('.chip').innerText === 'paid'"
    )


async def test_an_invoice_can_be_withdrawn(dashboard: Dashboard) -> None:
    await dashboard.open("payments")
    await dashboard.fill("#invoice", to="ivan", amount="1")
    await dashboard.submit("#invoice")
    await dashboard.page.click(".inner button.second")
    await dashboard.page.until("document.querySelector('.state').dataset.status === 'cancelled'")
    number = await dashboard.page.evaluate("location.hash.split('/').at(-1)")
    assert dashboard.node.get(f"/api/v1/invoices/{number}")["status"] == "cancelled"


async def test_where_a_token_is_needed_the_page_asks_for_it(dashboard: Dashboard) -> None:
    """Behind a proxy nobody is on the node's own machine, so nothing is open."""
    page = dashboard.page
    proxied = {"X-Forwarded-For": "203.0.113.7"}
    await page.send("Network.setExtraHTTPHeaders", headers=proxied)
    await dashboard.open("payments")
    await dashboard.fill("#transfer", from_="alice", to="frank", amount="0.5")
    await dashboard.submit("#transfer")
    await page.until("document.querySelector('.pay .refusal')?.dataset.code === 'token-needed'")
    token = (dashboard.node.home / "api.token").read_text().strip()
    await dashboard.fill(".pay .token", token=token)
    await dashboard.submit(".pay .token")
    txid = await page.until("document.querySelector('.pay .success')?.dataset.tx")
    assert (await dashboard.transaction(txid))["status"] == "final"
    kept = await page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    )
    assert token not in kept
    assert token not in await page.evaluate("document.documentElement.outerHTML")
    page.forgive("401 (Unauthorized)")
