"""The money of a load run: from the named accounts of a development chain to those of the run.

Law: the published keys are used on development chains alone, and a run begins only when all that
it will spend is final.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from chaind.cli.load_orders import Orders
from chaind.primitives.address import key_address
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction
from chaind.wallet.client import Client
from chaind.wallet.derivation import DEVELOPMENT_NAMES, development_key
from chaind.wallet.errors import Refused, shown

T = TypeVar("T")

FUNDING_PER_REQUEST = 16  # transactions of 40 KB


class NoDevelopmentChain(LocalFault):
    """The published keys have no money elsewhere, and must not get any."""

    code = "no-development-chain"
    text = "{url} follows {chain}, which is no development chain"
    advice = "Start one: `chaind devnet`, or `chaind run` with an empty home."
    exit_code = 78  # EX_CONFIG


class FundsLacking(LocalFault):
    """The named accounts are poorer than the run needs."""

    code = "funds-lacking"
    text = "the run is funded by {parts} payments, and no named account holds {part} for the next"
    advice = "Send fewer transfers (--count, --duration), or begin a new chain."
    exit_code = 78  # EX_CONFIG


class FundingRefused(LocalFault):
    """The first payments of a run did not become final."""

    code = "funding-refused"
    text = "{url} does not take the payments that fund the run: {reason}"
    advice = "Run it again once `chaind status` shows that the node is ready; else see its log."
    exit_code = 69  # EX_UNAVAILABLE


class Funder:
    """Moves money from the named accounts to those of the run."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def genesis_json(self) -> bytes:
        """The chain's document. Raises `NoDevelopmentChain`."""
        body = await self._client.genesis_json()
        genesis = Genesis.from_json(body)
        if not genesis.dev:
            raise NoDevelopmentChain(url=self._client.url, chain=genesis.name)
        return body

    async def height(self) -> int:
        """Of the newest final block."""
        return (await self._client.status()).height

    async def fund(self, orders: Orders, show: Callable[[float], None]) -> list[bytes]:
        """Pay what the run needs, until it is final; ids of the transactions that made coins.

        `show` hears of the part that is done.
        """
        per_split = orders.outputs_per_split
        coins = list(_chunks(list(orders.coin_outputs()), per_split))
        accounts = list(_chunks(list(orders.account_outputs()), per_split))
        balances = await self._balances(orders.genesis)
        made: list[Transaction] = []
        for salt, outputs in enumerate((*coins, *accounts)):
            part = sum(output.amount for output in outputs)
            richest = max(balances, key=lambda index: balances[index])
            fee = 2 * orders.fee_bound * len(outputs)  # an output has fewer bytes than a transfer
            if balances[richest] < part + fee:
                raise FundsLacking(parts=len(coins) + len(accounts), part=format_amount(part + fee))
            balances[richest] -= part + fee
            made.append(orders.funding(development_key(richest), outputs, salt))
        groups = _chunks(made, FUNDING_PER_REQUEST)
        for number, group in enumerate(groups):
            show(number / len(groups))
            await self._post(group)
        return [item.txid for item in made[: len(coins)]]

    async def _balances(self, genesis: Genesis) -> dict[int, int]:
        found = {}
        for index in range(len(DEVELOPMENT_NAMES)):
            address = genesis.addresses.show(key_address(development_key(index).public))
            native = (await self._client.holdings(address)).accounts.get(genesis.native_symbol)
            found[index] = parse_amount(native) if native else 0
        return found

    async def _post(self, group: Sequence[Transaction]) -> None:
        url = self._client.url
        try:
            results = await self._client.submit_all(group)
        except Refused as refusal:
            raise FundingRefused(url=url, reason=refusal) from None
        for result in results:
            if result.status != "final":
                reason = result.problem.detail if result.problem else f"one is {result.status}"
                raise FundingRefused(url=url, reason=shown(reason))


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
