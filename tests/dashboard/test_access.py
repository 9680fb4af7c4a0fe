"""Accessibility of every view, by axe-core: WCAG 2.1 A and AA, and its best practices.

CHAIND_TEST_AXE names the file of another release of axe-core than the one that is installed.
"""

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE
from dashboard_kit import Dashboard

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMED = os.environ.get("CHAIND_TEST_AXE")
AXE = (Path(NAMED) if NAMED else files("axe_core_python").joinpath("axe.min.js")).read_text()
RUN = """axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map(
  (each) => ({id: each.id, help: each.help, nodes: each.nodes.map((node) => node.html)})))"""
LOOKS = [("light", DESKTOP), ("dark", PHONE)]


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light, desktop", "dark, phone"])
async def test_no_view_has_a_barrier(
    dashboard: Dashboard, scheme: str, size: tuple[int, int]
) -> None:
    page = dashboard.page
    await page.resize(size)
    await page.colours(scheme)
    paid = await dashboard.pay(memo="for everybody")
    order = {"to": "bob", "amount": "1", "memo": "books"}
    invoice = (dashboard.node.post("/api/v1/invoices", order))[1]["id"]
    await dashboard.open()
    await page.until("document.querySelectorAll('.views li').length > 0")
    await page.evaluate(AXE)
    found = {}
    for view, sign in (
        ("", ".newest tbody"),
        ("explorer", ".blocks tbody"),
        ("find/nobody", ".answer .refusal"),
        (f"block/{paid['height']}", ".signers"),
        (f"tx/{paid['tx_id']}", ".flow"),
        ("address/bob", ".statement tbody"),
        ("payments", ".accounts tbody"),
        (f"invoice/{invoice}", "qr-code svg"),
        ("mining", ".unmined"),
        ("network", ".voters tbody"),
    ):
        await dashboard.go(view)
        await page.until(f"document.querySelector({json.dumps(sign)})")
        found[view] = await page.evaluate(RUN)
    assert not any(found.values()), found
