"""What the page works out itself: QR codes, sums, sentences. Run where they run: in the browser."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
import zxingcpp
from dashboard_kit import Dashboard

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCALE, QUIET = 4, 4
# The most bytes of versions 1 to 25 in level M (ISO/IEC 18004, table 7).
CAPACITIES = [
    14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412, 450, 504, 560, 624, 666,
    711, 779, 857, 911, 997,
]  # fmt: skip


async def call(dashboard: Dashboard, module: str, function: str, *arguments: Any) -> Any:
    """What a function of a module of the page gives."""
    given = ", ".join(json.dumps(each) for each in arguments)
    return await dashboard.page.evaluate(
        f"import('/dashboard/{module}.js').then(async (m) => {{"
        f" const found = await m.{function}({given});"
        " return typeof found === 'bigint' ? String(found) : found; })"
    )


def read(rows: list[list[int]]) -> str:
    """A symbol read by an independent reader."""
    size = (len(rows) + 2 * QUIET) * SCALE
    pixels = bytearray(b"\xff" * size * size)
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                for line in range((y + QUIET) * SCALE, (y + QUIET + 1) * SCALE):
                    at = line * size + (x + QUIET) * SCALE
                    pixels[at : at + SCALE] = b"\x00" * SCALE
    (found,) = zxingcpp.read_barcodes(memoryview(pixels).cast("B", shape=[size, size]))
    return bytes(found.bytes).decode()


async def symbol(dashboard: Dashboard, text: str) -> list[list[int]]:
    rows: list[list[int]] = await dashboard.page.evaluate(
        "import('/dashboard/qr_code.js').then((m) =>"
        f" m.encode({json.dumps(text)}).map((row) => [...row]))"
    )
    return rows


async def test_every_version_of_a_qr_code_is_read(dashboard: Dashboard) -> None:
    await dashboard.open()
    rng = random.Random(18_004)
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789:?&=%-"
    for version, capacity in enumerate(CAPACITIES, 1):
        text = "".join(rng.choice(alphabet) for _ in range(capacity))
        rows = await symbol(dashboard, text)
        assert (version, len(rows)) == (version, 17 + 4 * version)
        assert (version, read(rows)) == (version, text)
        if version < len(CAPACITIES):
            assert len(await symbol(dashboard, text + "x")) == 21 + 4 * version


async def test_a_qr_code_holds_any_text_up_to_its_limit(dashboard: Dashboard) -> None:
    await dashboard.open()
    for text in ("é", "zwei Bücher für 9,99 €", "日本語", "\x00\x7f"):
        assert read(await symbol(dashboard, text)) == text
    words = await dashboard.page.evaluate(
        "import('/dashboard/qr_code.js').then((m) => {"
        " const code = document.createElement('qr-code');"
        " code.setAttribute('text', 'x'.repeat(998));"
        " document.body.append(code); return code.innerText; })"
    )
    assert words == "Too long for a QR code: copy the text instead."


async def test_amounts_are_exact(dashboard: Dashboard) -> None:
    await dashboard.open()
    rng = random.Random(6)
    for _ in range(20):
        decimals = []
        for _ in range(rng.randint(1, 6)):
            value = Decimal(rng.randint(-(10**17), 10**17)).scaleb(-rng.randint(0, 8))
            decimals.append(format(value, "f"))
        total = await call(dashboard, "format", "sum", decimals)
        assert Decimal(total) == sum(map(Decimal, decimals))
    assert await call(dashboard, "format", "amount", "92233720368.54775807") == (
        "92,233,720,368.54775807"
    )
    assert await call(dashboard, "format", "units", "92233720368.54775807") == str(2**63 - 1)
    assert await call(dashboard, "format", "amount", "-1234.5") == "-1,234.5"


POLICIES = {
    f"pk({'02' * 33})": "a signature of 02020202…02020202",
    "after(0)": "chain time has reached 1970-01-01 00:00:00.000 UTC",
    "older(1440)": "the coin is at least 1,440 blocks old",
    f"multi(2,{'02' * 33},{'03' * 33},{'04' * 33})": (
        "2 signatures of these 3 keys 02020202…02020202 03030303…03030303 04040404…04040404"
    ),
    f"thresh(2,pk({'02' * 33}),sha256({'ab' * 32}),and(after(0),older(1)))": (
        "At least 2 of these 3 a signature of 02020202…02020202 the secret is revealed whose "
        "SHA-256 is abababab…abababab All of chain time has reached 1970-01-01 00:00:00.000 UTC "
        "the coin is at least 1 block old"
    ),
}


async def test_policies_are_read_out(dashboard: Dashboard) -> None:
    await dashboard.open()
    for policy, words in POLICIES.items():
        shown = await dashboard.page.evaluate(
            "import('/dashboard/transaction_words.js').then((m) => {"
            " const host = document.createElement('p');"
            f" host.append(m.policyWords({json.dumps(policy)}));"
            " document.body.append(host); return host.innerText; })"
        )
        assert " ".join(shown.split()) == words
