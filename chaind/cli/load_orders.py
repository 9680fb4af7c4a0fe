"""What a load run sends: fresh accounts, the money they need first, and signed batches.

Law: all of it follows from the plan, the numbers of the transfers and the time of signing, so that
any process can sign any batch. Payers take turns and every coin is spent once: no transfer of a run
waits for another one. The keys come from the published mnemonic, for development chains alone.
"""

import asyncio
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from random import Random
from typing import NamedTuple

import msgspec

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import HASH_BYTES
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    NATIVE,
    SALT_BYTES,
    VERSION,
    AccountInput,
    AccountOutput,
    Body,
    CoinInput,
    CoinOutput,
    Output,
    Transaction,
)
from chaind.wallet.builder import build_payment, sign
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    HARDENED,
    derive,
    seed_from_mnemonic,
)

LOAD_ACCOUNT = 1_000_001  # an account number that no person is given, beside the faucet's
UNITS = 1_000  # what a transfer pays
FEE_BYTES = 400  # no transfer of a run is longer: what is set aside for its fee
FUNDING_OUTPUTS_MAX = 1_000
FUNDING_OUTPUT_BYTES = 64  # no output is longer
COINS_MAX = 1_000_000  # 30 MB of splitting transactions; a longer run pays from accounts
INLINE_MAX = 2_000  # transfers that are signed sooner than a process is started
JOB_TRANSFERS = 500  # what a process signs at a time: some 40 ms


class Plan(NamedTuple):
    """What is to be sent. `coin_share` of the transfers spend coins, the rest pay from accounts.

    `single` sends one transaction a request, not a list of one. `seed` picks the accounts.
    """

    genesis_json: bytes
    accounts: int
    total: int
    coin_share: float
    batch_size: int
    msgpack: bool
    single: bool
    seed: int

    @property
    def coins(self) -> int:
        """Transfers that spend a coin."""
        return int(self.total * self.coin_share)

    @property
    def batches(self) -> int:
        """Requests of the whole run."""
        return -(-self.total // self.batch_size)


class Batch(NamedTuple):
    """One request's body, and the ids of what it holds, one after the other."""

    body: bytes
    txids: bytes

    def __len__(self) -> int:
        return len(self.txids) // HASH_BYTES

    def ids(self) -> list[bytes]:
        """The ids apart."""
        return [
            self.txids[start : start + HASH_BYTES]
            for start in range(0, len(self.txids), HASH_BYTES)
        ]


class Orders:
    """See the module's law. `splits` are the ids of the transactions that made the coins."""

    def __init__(self, plan: Plan, splits: Sequence[bytes] = ()) -> None:
        self.plan = plan
        self.splits = splits
        self.genesis = Genesis.from_json(plan.genesis_json)
        self._root = seed_from_mnemonic(DEVELOPMENT_MNEMONIC)
        self._keys: dict[int, SecretKey] = {}

    def key(self, index: int) -> SecretKey:
        """Key of account `index` of the run."""
        found = self._keys.get(index)
        if found is None:
            path = f"m/44'/1'/{LOAD_ACCOUNT}'/{self.plan.seed % HARDENED}/{index}"
            found = self._keys[index] = derive(self._root, path)
        return found

    @cached_property
    def chain_prefix(self) -> bytes:
        """What binds a transaction to the chain; the genesis works it out anew each time."""
        return self.genesis.chain_prefix

    @cached_property
    def fee_bound(self) -> int:
        """Base units that pay for any transfer of the run."""
        return FEE_BYTES * self.genesis.parameters.min_fee_per_byte

    @cached_property
    def outputs_per_split(self) -> int:
        """Outputs of a funding transaction."""
        parameters = self.genesis.parameters
        room = parameters.transaction_bytes_max // FUNDING_OUTPUT_BYTES
        return max(1, min(FUNDING_OUTPUTS_MAX, parameters.outputs_max, room))

    def account_outputs(self) -> Iterator[Output]:
        """What every account needs for its turns, as far as it pays from its account."""
        plan = self.plan
        turns = -(-plan.total // plan.accounts) if plan.total > plan.coins else 0
        for index in range(plan.accounts if turns else 0):
            owner = key_address(self.key(index).public)
            yield AccountOutput(owner, NATIVE, turns * (UNITS + self.fee_bound))

    def coin_outputs(self) -> Iterator[Output]:
        """A coin for every transfer that spends one."""
        for number in range(self.plan.coins):
            owner = key_address(self.key(number % self.plan.accounts).public)
            yield CoinOutput(owner, UNITS + self.fee_bound)

    def funding(self, payer: SecretKey, outputs: Sequence[Output], salt: int) -> Transaction:
        """A payment of the payer's account to all these outputs."""
        source = key_address(payer.public)
        paid = sum(output.amount for output in outputs)
        fee_rate = self.genesis.parameters.min_fee_per_byte

        def build(fee: int) -> Transaction:
            inputs = (AccountInput(source, NATIVE, paid + fee),)
            salt_bytes = salt.to_bytes(SALT_BYTES, "big")
            until = self._valid_until()
            chain = self.chain_prefix
            return sign(
                Body(VERSION, chain, salt_bytes, until, None, inputs, tuple(outputs), None, b""),
                payer,
            )

        bare = build(0)
        return build((bare.size + 8) * fee_rate) if fee_rate else bare  # 8: the fee's own digits

    def batch(self, number: int) -> Batch:
        """Request `number` of the run, signed now."""
        plan = self.plan
        first = number * plan.batch_size
        rng = Random(f"{plan.seed}/{number}")  # noqa: S311 — who is paid is no secret
        until = self._valid_until()
        transfers = [
            self._transfer(index, rng, until)
            for index in range(first, min(first + plan.batch_size, plan.total))
        ]
        return Batch(self._encode(transfers), b"".join(item.txid for item in transfers))

    def _transfer(self, index: int, rng: Random, until: int) -> Transaction:
        plan = self.plan
        coin = int(index * plan.coin_share)
        target = key_address(self.key(rng.randrange(plan.accounts)).public)
        salt = index.to_bytes(SALT_BYTES, "big")
        if int((index + 1) * plan.coin_share) > coin:  # spread evenly among the others
            return self._spend(coin, target, salt)
        return build_payment(
            key=self.key(index % plan.accounts),
            target=target,
            asset=NATIVE,
            units=UNITS,
            memo=b"",
            lease=None,
            valid_until_ms=until,
            salt=salt,
            chain_prefix=self.chain_prefix,
            parameters=self.genesis.parameters,
        )

    def _spend(self, coin: int, target: bytes, salt: bytes) -> Transaction:
        split, output = divmod(coin, self.outputs_per_split)
        inputs = (CoinInput(self.splits[split], output),)
        outputs = (CoinOutput(target, UNITS),)
        chain = self.chain_prefix
        body = Body(VERSION, chain, salt, None, None, inputs, outputs, None, b"")
        return sign(body, self.key(coin % self.plan.accounts))

    def _encode(self, transfers: Sequence[Transaction]) -> bytes:
        if self.plan.msgpack:
            return b"".join(msgspec.msgpack.encode(item.raw) for item in transfers)
        forms = [{"raw": item.raw.hex()} for item in transfers]
        return msgspec.json.encode(forms[0] if self.plan.single else forms)

    def _valid_until(self) -> int:
        """Half the window ahead: clocks may differ, and a stock of batches is used up later."""
        window_ms = self.genesis.parameters.validity_window_ms
        return time.time_ns() // 1_000_000 + window_ms // 2


_orders: Orders  # of a signing process


def _begin(plan: Plan, splits: Sequence[bytes]) -> None:
    global _orders
    _orders = Orders(plan, splits)


def _sign(first: int, count: int) -> list[Batch]:
    return [_orders.batch(number) for number in range(first, first + count)]


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start meanwhile never hear Ctrl-C: who started them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stock:
    """Signed batches in order, at most `ahead` before they are taken.

    A few are signed on the spot, many by a process for each core.
    """

    def __init__(self, orders: Orders, ahead: int) -> None:
        self._orders = orders
        self._ahead = ahead
        self._ready: deque[Batch] = deque()
        self._jobs: deque[asyncio.Future[list[Batch]]] = deque()
        self._asked = 0  # batches signed or being signed
        self._taken = 0
        self._pool: ProcessPoolExecutor | None = None
        plan = orders.plan
        self._job_batches = max(1, JOB_TRANSFERS // plan.batch_size)
        if plan.total > INLINE_MAX:
            self._pool = ProcessPoolExecutor(
                len(os.sched_getaffinity(0)),
                multiprocessing.get_context("spawn"),  # the event loop does not survive a fork
                _begin,
                (plan, tuple(orders.splits)),
            )

    def close(self) -> None:
        """End the processes; what they had not begun is not signed."""
        for job in self._jobs:
            job.cancel()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def batches_total(self) -> int:
        """How many `take` gives in all."""
        return self._orders.plan.batches

    async def fill(self, show: Callable[[float], None] = lambda _part: None) -> None:
        """Return once `ahead` batches are signed, or all; `show` hears of the part that is."""
        self._order()
        while self._jobs:
            await self._harvest()
            show(len(self._ready) / self._asked)

    async def take(self) -> Batch | None:
        """The next batch; None after the last."""
        while not self._ready:
            self._order()
            if self._jobs:
                await self._harvest()
            elif not self._ready:
                return None
        self._taken += 1
        batch = self._ready.popleft()
        self._order()
        return batch

    def _order(self) -> None:
        """Have batches signed up to the bound."""
        wanted = min(self._orders.plan.batches, self._taken + self._ahead)
        while self._asked < wanted:
            count = min(self._job_batches, wanted - self._asked)
            first, self._asked = self._asked, self._asked + count
            if self._pool is None:
                self._ready += map(self._orders.batch, range(first, first + count))
                continue
            loop = asyncio.get_running_loop()
            with _deaf():
                self._jobs.append(loop.run_in_executor(self._pool, _sign, first, count))

    async def _harvest(self) -> None:
        await asyncio.wait((self._jobs[0],))
        while self._jobs and self._jobs[0].done():
            self._ready += self._jobs.popleft().result()
