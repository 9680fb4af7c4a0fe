"""A stress run against running nodes: pay, conflict, kill, and read what the ledger then holds.

Law: requests go through the client's own way of repeating (`wallet.transport`), so that what holds
here holds for whoever uses it. What the nodes hold is read when they stand at one height with
nothing waiting.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
import msgspec

from chaind.cli.load_funds import NoDevelopmentChain
from chaind.cli.stress_kill import Gate, Killer
from chaind.cli.stress_verdict import KeyRecord, Round, Said, Verdict, judge_keys, judge_rounds
from chaind.primitives.address import key_address
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import NATIVE, SALT_BYTES, AccountInput, Transaction
from chaind.wallet.answers import Submitted, Transfer
from chaind.wallet.builder import build_payment
from chaind.wallet.client import Client
from chaind.wallet.client_paying import JSON
from chaind.wallet.derivation import DEVELOPMENT_NAMES
from chaind.wallet.errors import NodesBusy, NodeSilent, NotThere, Refused
from chaind.wallet.transport import Nodes, Reply

UNITS = 1_000  # of each payment: small beside what named accounts hold
PATIENCE_S = 120.0  # for one answer, over kills and restarts of whoever is asked
SETTLE_S = 60.0
SETTLE_POLL_S = 0.1
Show = Callable[[int, str], None]


class Unsettled(LocalFault):
    """The nodes do not come to rest, so that they cannot be compared."""

    code = "unsettled"
    text = "the nodes did not come to one height with nothing waiting within {bound_s:.0f} s"
    advice = "Somebody else pays there, or a node is behind: `chaind status` shows which."
    exit_code = 75  # EX_TEMPFAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """What to do: `keys` payments asked for `duplicates` times each, or, where there are `rounds`,
    that many times `spends` spends of a balance that affords half of them."""

    urls: tuple[str, ...]
    home: Path | None
    keys: int
    duplicates: int
    spread: bool
    kills: int
    rounds: int
    spends: int
    at_once: int
    valid_ms: int
    seed: int


async def drive(plan: Stress, show: Show) -> Verdict:
    """Run it; `show` hears how many keys or rounds are done.

    Raises `NoDevelopmentChain`, `Unsettled`, `NodeSilent`, and what `Killer` raises.
    """
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [Client([url], session) for url in plan.urls]
        genesis = await clients[0].genesis()
        if not genesis.dev:
            raise NoDevelopmentChain(url=clients[0].url, chain=genesis.name)
        gate = Gate(plan.keys, plan.kills)
        if plan.rounds:
            return await _Conflicts(plan, session, genesis, show).go(clients)
        killing = plan.home is not None and plan.kills > 0
        keys = _Keys(plan, session, genesis, gate, show)
        async with asyncio.TaskGroup() as group:
            if killing:
                assert plan.home is not None
                killer = Killer(plan.home, plan.kills, Random(plan.seed), gate, session)  # noqa: S311
                group.create_task(killer.run())
            group.create_task(keys.run())
        verdict = await keys.judge(clients)
        verdict.counts["kills"] = killer.done if killing else 0
        return verdict


def rotated(urls: tuple[str, ...], first: int) -> tuple[str, ...]:
    """The same nodes, beginning with number `first`, counted round."""
    first %= len(urls)
    return (*urls[first:], *urls[:first])


async def settle(clients: list[Client]) -> None:
    """Return when all stand at one height with nothing waiting. Raises `Unsettled`."""
    try:
        async with asyncio.timeout(SETTLE_S):
            while True:
                stands = [await client.status() for client in clients]
                heights = {stand.height for stand in stands}
                if len(heights) == 1 and not any(stand.pending for stand in stands):
                    return
                await asyncio.sleep(SETTLE_POLL_S)
    except TimeoutError:
        raise Unsettled(bound_s=SETTLE_S) from None


class _Keys:
    """Payments under Idempotency-Keys, each asked for many times at once."""

    def __init__(
        self,
        plan: Stress,
        session: aiohttp.ClientSession,
        genesis: Genesis,
        gate: Gate,
        show: Show,
    ) -> None:
        self._plan = plan
        self._session = session
        self._gate = gate
        self._show = show
        self._run = secrets.token_hex(8)  # of a second run all keys are others
        self._payee = genesis.addresses.show(key_address(SecretKey(os.urandom(32)).public))
        self._records: dict[str, KeyRecord] = {}
        self._done = 0

    async def run(self) -> None:
        """Ask for all payments, `at_once` keys at a time."""
        numbers = iter(range(self._plan.keys))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.at_once, self._plan.keys)):
                group.create_task(self._work(numbers))

    async def judge(self, clients: list[Client]) -> Verdict:
        """What was said, beside what every node holds."""
        await settle(clients)
        ledgers = []
        for client in clients:
            history = await client.history(self._payee)
            ledgers.append([(entry.memo or "", entry.tx_id) for entry in history])
        return judge_keys(self._records, ledgers)

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._gate.turn(number)
            key = f"stress-{self._run}-{number}"
            record = self._records[key] = KeyRecord()
            async with asyncio.TaskGroup() as group:
                for copy in range(self._plan.duplicates):
                    first = number + copy if self._plan.spread else number
                    group.create_task(self._ask(key, number, first, record))
            self._done += 1
            self._show(self._done, f"{len(record.said)} answer(s) of the last key")

    async def _ask(self, key: str, number: int, first: int, record: KeyRecord) -> None:
        """One request, repeated by the client until it is answered."""
        order = {
            "from": DEVELOPMENT_NAMES[number % len(DEVELOPMENT_NAMES)],
            "to": self._payee,
            "amount": format_amount(UNITS),
            "memo": key,
        }
        nodes = Nodes(
            rotated(self._plan.urls, first), self._session, token=None, pause=asyncio.sleep
        )
        try:
            reply = await nodes.ask(
                "POST",
                "/api/v1/transfers",
                body=msgspec.json.encode(order),
                headers={**JSON, "Idempotency-Key": key},
                patience_s=PATIENCE_S,
                in_flight=True,
            )
            said = Said(reply.status, reply.body, reply.decode(Transfer).tx_id)
        except Refused as refusal:
            said = Said(int(str(refusal.status)), refusal.problem.encode())
        except NotThere:
            said = Said(404, b"not-there")
        except (NodeSilent, NodesBusy):
            record.silent += 1
            return
        record.said[said] += 1


@dataclass(slots=True)
class _Balance:
    """One balance, the spends of it, and what was said of them."""

    payer: str
    payee: str
    funded: int
    price: int
    affordable: int
    said: dict[str, str]


class _Conflicts:
    """Signed spends of one balance through all nodes at once, twice as many as it affords."""

    def __init__(
        self, plan: Stress, session: aiohttp.ClientSession, genesis: Genesis, show: Show
    ) -> None:
        self._plan = plan
        self._session = session
        self._genesis = genesis
        self._show = show
        self._balances: list[_Balance] = []

    async def go(self, clients: list[Client]) -> Verdict:
        """Run all rounds, `at_once` of them at a time, and read what every node holds."""
        numbers = iter(range(self._plan.rounds))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.at_once, self._plan.rounds)):
                group.create_task(self._work(numbers))
        await settle(clients)
        return judge_rounds([await self._read(each, clients) for each in self._balances])

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            balance = await self._round(number)
            self._balances.append(balance)
            final = sum(word == "final" for word in balance.said.values())
            self._show(len(self._balances), f"{final} final of the last round")

    async def _round(self, number: int) -> _Balance:
        """Fund a new account, and spend it from everywhere."""
        payer, payee = SecretKey(os.urandom(32)), key_address(SecretKey(os.urandom(32)).public)
        show = self._genesis.addresses.show
        payer_text = show(key_address(payer.public))
        affordable = max(1, self._plan.spends // 2)
        price = _price(self._spend(payer, payee, 0))
        funded = affordable * price + price // 2
        funder = Client(rotated(self._plan.urls, number), self._session)
        source = DEVELOPMENT_NAMES[number % len(DEVELOPMENT_NAMES)]
        funding = await funder.transfer(source, payer_text, funded)
        await self._seen_by_all(bytes.fromhex(funding.tx_id))
        valid_until_ms = time.time_ns() // 1_000_000 + self._plan.valid_ms
        balance = _Balance(payer_text, show(payee), funded, price, affordable, {})
        async with asyncio.TaskGroup() as group:
            for place in range(self._plan.spends):
                transaction = self._spend(payer, payee, valid_until_ms)
                group.create_task(self._submit(transaction, place, balance.said))
        return balance

    def _spend(self, payer: SecretKey, payee: bytes, valid_until_ms: int) -> Transaction:
        return build_payment(
            key=payer,
            target=payee,
            asset=NATIVE,
            units=UNITS,
            memo=b"",
            lease=None,
            valid_until_ms=valid_until_ms,
            salt=os.urandom(SALT_BYTES),
            chain_prefix=self._genesis.chain_prefix,
            parameters=self._genesis.parameters,
        )

    async def _seen_by_all(self, txid: bytes) -> None:
        """Wait until every node has the funds final: none of them refuses for want of news."""
        for url in self._plan.urls:
            state = await Client([url], self._session).wait_ended(txid, SETTLE_S)
            if state.status != "final":
                raise Unsettled(bound_s=SETTLE_S)

    async def _submit(self, transaction: Transaction, place: int, said: dict[str, str]) -> None:
        """Hand a spend to its node, and note how it ends."""
        txid = transaction.txid.hex()
        said[txid] = "open"
        [url] = rotated(self._plan.urls, place)[:1]
        nodes = Nodes([url], self._session, token=None, pause=asyncio.sleep)
        deadline_s = time.monotonic() + PATIENCE_S
        body = msgspec.json.encode({"raw": transaction.raw.hex()})
        while said[txid] != "final" and time.monotonic() < deadline_s:
            try:
                reply: Reply = await nodes.ask(
                    "POST",
                    "/api/v1/transactions?wait=final",
                    body=body,
                    headers=JSON,
                    patience_s=max(0.0, deadline_s - time.monotonic()),
                )
            except Refused as refusal:
                said[txid] = refusal.problem
                return
            except (NodeSilent, NodesBusy):
                return
            if reply.decode(Submitted).status == "final":
                said[txid] = "final"

    async def _read(self, balance: _Balance, clients: list[Client]) -> Round:
        held, left = [], []
        for client in clients:
            held.append(frozenset(item.tx_id for item in await client.history(balance.payee)))
            holdings = await client.holdings(balance.payer)
            text = holdings.accounts.get(self._genesis.native_symbol, "0")
            left.append(parse_amount(text) if text != "0" else 0)
        return Round(balance.affordable, balance.funded, balance.price, balance.said, held, left)


def _price(transaction: Transaction) -> int:
    """What a spend takes from the balance, its fee included."""
    [source] = transaction.body.inputs
    assert isinstance(source, AccountInput)
    return source.amount
