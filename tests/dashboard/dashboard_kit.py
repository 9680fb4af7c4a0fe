"""What the tests of the dashboard share: ways around the page, and another node to compare with."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from browser import Page
from local_network import LocalNetwork, NodeProcess, until

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import NATIVE, Transaction
from chaind.wallet.builder import build_payment
from chaind.wallet.derivation import development_key


class Dashboard:
    """The page of `node`; `other` says what is true."""

    def __init__(self, page: Page, node: NodeProcess, other: NodeProcess) -> None:
        self.page = page
        self.node = node
        self.other = other

    async def open(self, view: str = "") -> None:
        """Load the page at a view, and wait until it is live."""
        await self.page.go(f"{self.node.url}/#/{view}")
        await self.live()

    async def go(self, view: str) -> None:
        """Change the view as a link does."""
        await self.page.evaluate(f"location.hash = {json.dumps('#/' + view)}")

    async def live(self) -> None:
        """Wait until the page says that it is connected."""
        await self.page.until("document.querySelector('#link-state').innerText === 'live'")

    async def ask(self, path: str) -> Any:
        """What the other node answers."""
        return await asyncio.to_thread(self.other.get, path)

    async def agreed(self, path: str, height: int) -> Any:
        """What the other node answers once it has a block that this one showed as final."""
        await asyncio.to_thread(until, lambda: self.other.height() >= height, f"height {height}")
        return await self.ask(path)

    async def transaction(self, txid: str) -> Any:
        """A transaction that the page says is final, from the other node."""
        path = f"/transaction/{txid}"

        def final() -> Any:
            found = self.other.get(path)
            return found if found.get("status") == "final" else None

        return await asyncio.to_thread(until, final, f"{txid} final")

    async def pay(self, **more: Any) -> Any:
        """A final payment through the other node's API, as its transaction."""
        body = {"from": "alice", "to": "bob", "amount": "1", **more}
        path = "/transfer?wait=final"
        status, answer, _ = await asyncio.to_thread(self.other.post, path, body)
        assert status == 200, answer
        return await self.transaction(answer["tx_id"])

    async def rows(self, within: str) -> list[list[str]]:
        """The texts of a table's cells, row by row."""
        found: list[list[str]] = await self.page.evaluate(
            f"[...document.querySelectorAll({json.dumps(within + ' tbody tr')})]"
            ".map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
        )
        return found

    async def fact(self, name: str) -> str:
        """The value of a term on the page."""
        return str(
            await self.page.until(
                "[...document.querySelectorAll('.facts div')].find((each) => "
                f"each.querySelector('dt').innerText === {json.dumps(name)})"
                "?.querySelector('dd').innerText"
            )
        )

    async def fill(self, form: str, **fields: str) -> None:
        """Type into the fields of a form, by their names."""
        for name, words in fields.items():
            await self.page.type(f"{form} [name={name.rstrip('_')}]", words)

    async def submit(self, form: str) -> None:
        """Press the form's button."""
        await self.page.click(f"{form} button:not([type])")

    async def shows(self, words: str) -> None:
        """Wait until the view says this somewhere."""
        await self.page.until(
            f"document.querySelector('main').innerText.includes({json.dumps(words)})"
        )


@asynccontextmanager
async def away(
    network: LocalNetwork, *nodes: NodeProcess
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Kill these nodes; what is given starts them again. At the end all run and are ready."""
    for node in nodes:
        await asyncio.to_thread(node.kill)

    async def back() -> None:
        for node in nodes:
            if node.process is None:
                node.start()

    try:
        yield back
    finally:
        await back()
        await asyncio.to_thread(network.await_ready)


def payments(genesis: Genesis, count: int, *, payer: int = 2, payee: int = 3) -> list[Transaction]:
    """Signed payments between two development accounts, each another one."""
    return [
        build_payment(
            key=development_key(payer),
            target=key_address(development_key(payee).public),
            asset=NATIVE,
            units=1_000 + number,
            memo=b"",
            lease=None,
            valid_until_ms=time.time_ns() // 1_000_000 + 600_000,
            salt=number.to_bytes(8, "big"),
            chain_prefix=genesis.chain_prefix,
            parameters=genesis.parameters,
        )
        for number in range(count)
    ]
