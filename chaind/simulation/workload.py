"""What clients do: pay, retry through other nodes, compete for coins, use policies, mint, err.

Each client has a key of its own, coins and an account, and shares the named accounts with all.
An operation ends when its client knows what became of it, or gives up.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node.holdings import CoinInfo
from chaind.node.node import Node
from chaind.node.payments import InFlight, TransferOrder
from chaind.primitives.address import key_address, policy_address
from chaind.primitives.codec import encode
from chaind.primitives.errors import ChaindError, RuleBroken
from chaind.primitives.genesis import Allocation, Genesis
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.policy import And, Multi, Or, Pk, Policy, Sha256
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Action,
    Body,
    CoinInput,
    CoinOutput,
    Input,
    Issue,
    KeyWitness,
    Lease,
    Mint,
    Output,
    PolicyWitness,
    Transaction,
    payment_intent,
)
from chaind.simulation.client import Connection, Promises
from chaind.simulation.machine import EPOCH_MS
from chaind.simulation.program import Program, Unreachable
from chaind.simulation.world import World
from chaind.wallet.builder import sign
from chaind.wallet.derivation import DEVELOPMENT_NAMES, development_key

COIN_UNITS = 1_000_000_000
UNITS_PER_COIN = 10**8
FEE_UNITS = 4_000  # above a unit per byte of anything sent here, lease included
THINK_S = 1.4  # mean pause of a client between two operations
VALID_MS = 15_000  # within the window of the chain, whose clocks may differ
WAIT_MS = 3_000.0  # of one question for finality
COINS_READ_MAX = 100
GONE = (Unreachable, TimeoutError)
Operations = Sequence[tuple[Callable[[Any], Awaitable[None]], int]]  # and their weights


class Habits(NamedTuple):
    """How many clients there are, what each has, and how long it waits."""

    clients: int = 12
    coins: int = 12  # of each, from the start
    follow_s: float = 25.0  # a client that still knows nothing then gives up
    rewards: bool = False  # some are miners, and spend what their blocks pay


class Coin(NamedTuple):
    """A coin that its client believes to be unspent."""

    txid: bytes
    place: int
    units: int


def client_key(number: int) -> SecretKey:
    """The key of a client."""
    return SecretKey(sha256(b"client %d" % number))


def allocations(genesis: Genesis, habits: Habits) -> tuple[Allocation, ...]:
    """What clients have from the start: coins, which come first, and accounts; and named ones."""
    show = genesis.addresses.show
    owners = [key_address(client_key(n).public) for n in range(habits.clients + 4)]
    coins = [
        Allocation(address=show(owner), amount=str(COIN_UNITS // UNITS_PER_COIN), coin=True)
        for owner in owners[: habits.clients]
        for _ in range(habits.coins)
    ]
    named = [key_address(development_key(index).public) for index in range(len(DEVELOPMENT_NAMES))]
    accounts = [Allocation(address=show(who), amount="1000") for who in (*owners, *named)]
    return (*coins, *accounts)


class Client:
    """One client. `run` until told to stop."""

    def __init__(
        self,
        *,
        number: int,
        world: World,
        genesis: Genesis,
        programs: Sequence[Program],
        promises: Promises,
        habits: Habits,
    ) -> None:
        self.number = number
        self.key = client_key(number)
        self.address = key_address(self.key.public)
        self._world = world
        self._genesis = genesis
        self._prefix = genesis.chain_prefix
        self._programs = programs
        self._promises = promises
        self._rng: Random = world.dice()
        self._line = Connection(world, promises, self._rng)
        self._coins = deque(
            Coin(GENESIS_COIN_TXID, index, COIN_UNITS)
            for index in range(number * habits.coins, (number + 1) * habits.coins)
        )
        self._follow_s = habits.follow_s
        self._operations: Operations = (*_OPERATIONS, *(_OF_MINERS if habits.rewards else ()))
        self._asset = f"T{number}"
        self._issued = False
        self._known: deque[bytes] = deque(maxlen=20)  # final ones, to be asked about again

    async def run(self, stop: asyncio.Event) -> None:
        """Operation after operation, and thought in between."""
        while not stop.is_set():
            await asyncio.sleep(self._rng.expovariate(1 / THINK_S))
            work, weights = zip(*self._operations, strict=True)
            [operation] = self._rng.choices(work, weights)
            await operation(self)
            self._promises.ended_one()

    # Parts of operations.

    def _any(self) -> Program:
        return self._rng.choice(self._programs)

    def _some(self, count: int) -> list[Program]:
        return self._rng.sample(list(self._programs), min(count, len(self._programs)))

    def _now_ms(self) -> int:
        return EPOCH_MS + int(self._world.loop.time() * 1000)

    def _body(
        self,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        *,
        lease: Lease | None = None,
        action: Action | None = None,
        valid_ms: int = VALID_MS,
    ) -> Body:
        salt = self._rng.randbytes(8)
        until_ms = self._now_ms() + valid_ms
        ends = (tuple(inputs), tuple(outputs))
        return Body(VERSION, self._prefix, salt, until_ms, lease, *ends, action, b"")

    def _payment(
        self, units: int, *, lease_id: bytes | None = None, valid_ms: int = VALID_MS
    ) -> Transaction:
        target = key_address(client_key(self.number + self._rng.randint(1, 3)).public)
        lease = None
        if lease_id is not None:
            intent = payment_intent(self.address, target, NATIVE, units, b"")
            lease = Lease(self.address, lease_id, intent)
        inputs = [AccountInput(self.address, NATIVE, units + FEE_UNITS)]
        outputs = [AccountOutput(target, NATIVE, units)]
        return sign(self._body(inputs, outputs, lease=lease, valid_ms=valid_ms), self.key)

    def _spend(self, coin: Coin, fee: int = FEE_UNITS) -> Transaction:
        half = (coin.units - fee) // 2
        outputs = [
            CoinOutput(self.address, half),
            CoinOutput(self.address, coin.units - fee - half),
        ]
        body = self._body([CoinInput(coin.txid, coin.place)], outputs)
        return sign(body, self.key)

    async def _submit(self, program: Program, transaction: Transaction) -> bool:
        """Whether the node took it; a broken connection leaves that open (False)."""
        try:
            [result] = await self._line.ask(
                program, lambda node: node.intake.submit([transaction.raw], local=True)
            )
        except (*GONE, ChaindError):
            return False
        if result.error is not None:
            self._promises.refusals += 1
            return False
        self._promises.took(program, transaction.txid, transaction.body.valid_until)
        return True

    async def _follow(self, txid: bytes, first: Sequence[Program]) -> str:
        """Ask until it has ended: final, rejected, expired, or "" where the client gives up."""
        until = self._world.loop.time() + self._follow_s
        asked = list(first)
        while self._world.loop.time() < until:
            program = asked.pop(0) if asked else self._any()
            try:
                info = await self._line.status(program, txid, WAIT_MS)
            except GONE:
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
                continue
            if info is None:
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
            elif info.status in ("final", "rejected", "expired"):
                if info.status == "final":
                    self._known.append(txid)
                return info.status
        self._world.point("client gave up")
        return ""

    async def _send(self, transaction: Transaction, copies: int = 1) -> str:
        """Hand it to nodes until one takes it, then follow it."""
        for _ in range(4):
            programs = self._some(copies)
            took = [await self._submit(program, transaction) for program in programs]
            if any(took):
                taken = [one for one, yes in zip(programs, took, strict=True) if yes]
                return await self._follow(transaction.txid, taken)
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))
        return ""

    def _take_coins(self, transaction: Transaction) -> None:
        """Its coins are ours now."""
        for index, output in enumerate(transaction.body.outputs):
            if isinstance(output, CoinOutput) and output.amount > 10 * FEE_UNITS:
                self._coins.append(Coin(transaction.txid, index, output.amount))

    # Operations.

    async def pay(self) -> None:
        """From account to account; the same bytes through several nodes; sometimes leased."""
        lease_id = self._rng.randbytes(32) if self._rng.random() < 0.5 else None
        payment = self._payment(self._rng.randint(1, 10_000), lease_id=lease_id)
        await self._send(payment, copies=self._rng.choice((1, 1, 2, 3)))

    async def pay_by_name(self) -> None:
        """Through the payments API with an Idempotency-Key, retried anywhere until answered."""
        source, target = self._rng.sample(DEVELOPMENT_NAMES, 2)
        key = self._rng.randbytes(8).hex()
        order = TransferOrder(source, target, self._rng.randint(1, 1_000), NATIVE, b"", key)
        for attempt in range(8):
            programs = self._some(self._rng.choice((1, 1, 1, 2)))
            for ended in [await self._transfer(program, order) for program in programs]:
                if ended and attempt:
                    self._world.point("payment retried through another node")
                if ended:
                    return
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))
        self._world.point("client gave up")

    async def _transfer(self, program: Program, order: TransferOrder) -> bool:
        """Whether the answer ends the matter."""
        try:
            payment = await self._line.ask(program, lambda node: node.payments.transfer(order))
        except (InFlight, *GONE):
            return False
        except RuleBroken:
            return True
        except ChaindError:
            return False
        self._promises.told(program, payment.info)
        if payment.info.status == "final":
            assert order.key is not None
            self._promises.paid(order.key.encode(), payment.txid)
        return payment.info.status == "final"

    async def race_for_name(self) -> None:
        """One key, two nodes at the same time: one payment."""
        source, target = self._rng.sample(DEVELOPMENT_NAMES, 2)
        key = self._rng.randbytes(8).hex()
        order = TransferOrder(source, target, self._rng.randint(1, 1_000), NATIVE, b"", key)
        await asyncio.gather(*(self._transfer(program, order) for program in self._some(2)))

    async def spend(self) -> None:
        """A coin into two."""
        if self._coins:
            transaction = self._spend(self._coins.popleft())
            if await self._send(transaction, copies=self._rng.choice((1, 2))) == "final":
                self._take_coins(transaction)

    async def spend_twice(self) -> None:
        """One coin, several transactions, through several nodes at once: one of them."""
        if not self._coins:
            return
        coin = self._coins.popleft()
        rivals = [self._spend(coin) for _ in range(self._rng.choice((2, 2, 3)))]
        programs = self._some(len(rivals))
        ways = zip(rivals, programs, strict=False)
        took = await asyncio.gather(*(self._submit(one, rival) for rival, one in ways))
        ends = [
            await self._follow(rival.txid, [program])
            for rival, program, yes in zip(rivals, programs, took, strict=False)
            if yes
        ]
        if ends.count("final") > 1:
            self._world.fail(f"coin {coin.txid.hex()}:{coin.place} was spent twice")
        if "final" in ends and "rejected" in ends:
            self._world.point("conflicting spend rejected")

    async def replace(self) -> None:
        """A coin's spend, outbid by another with a higher fee."""
        if not self._coins:
            return
        coin = self._coins.popleft()
        program = self._any()
        first, second = self._spend(coin), self._spend(coin, 3 * FEE_UNITS)
        took = await asyncio.gather(self._submit(program, first), self._submit(program, second))
        for transaction, yes in zip((first, second), took, strict=True):
            if yes and await self._follow(transaction.txid, [program]) == "final":
                self._take_coins(transaction)

    async def use_policy(self) -> None:
        """Pay to a policy, then spend from it one of its ways."""
        preimage = self._rng.randbytes(32)
        others = [client_key(self.number + step) for step in (1, 2)]
        keys = (self.key.public, *(other.public for other in others))
        swap = And(Pk(others[0].public), Sha256(sha256(preimage)))
        policy: Policy = Or(Multi(2, keys), swap)
        encoded = encode(policy)
        vault = policy_address(encoded)
        units = 100_000
        fund = self._body(
            [AccountInput(self.address, NATIVE, units + FEE_UNITS)],
            [AccountOutput(vault, NATIVE, units)],
        )
        if await self._send(sign(fund, self.key)) != "final":
            return
        body = self._body(
            [AccountInput(vault, NATIVE, units)],
            [AccountOutput(self.address, NATIVE, units - FEE_UNITS)],
        )
        digest = Transaction(body, ()).sighash
        if self._rng.random() < 0.5:
            signatures = ((0, self.key.sign(digest)), (2, others[1].sign(digest)))
            witness = PolicyWitness(encoded, (0,), signatures, ())
        else:
            witness = PolicyWitness(encoded, (1,), ((3, others[0].sign(digest)),), (preimage,))
        if await self._send(Transaction(body, (witness,))) == "final":
            self._world.point("policy spent")

    async def mint(self) -> None:
        """An asset of one's own: issued once, then minted."""
        fee = [AccountInput(self.address, NATIVE, FEE_UNITS)]
        action: Action = (
            Mint(self._asset, 50) if self._issued else Issue(self._asset, self.address, 1_000, True)
        )
        if await self._send(sign(self._body(fee, (), action=action), self.key)) == "final":
            self._world.point("asset minted" if self._issued else "asset issued")
            self._issued = True

    async def short(self) -> None:
        """A payment that may be too late for its own deadline."""
        payment = self._payment(1, valid_ms=self._rng.randint(20, 3_000))
        await self._send(payment)

    async def err(self) -> None:
        """What no node may take: a forged signature, too much money, bytes that mean nothing."""
        program = self._any()
        payment = self._payment(5)
        kind = self._rng.randrange(3)
        if kind == 0:
            forged = KeyWitness(self.key.public, client_key(10_000).sign(payment.sighash))
            raw = Transaction(payment.body, (forged,)).raw
        elif kind == 1:
            raw = self._payment(2**60).raw
        else:
            raw = payment.raw[: self._rng.randrange(1, len(payment.raw))]
        try:
            [result] = await self._line.ask(
                program, lambda node: node.intake.submit([raw], local=True)
            )
        except (*GONE, ChaindError):
            return
        if result.error is None:
            self._world.fail(f"{program.machine.name} took an invalid transaction ({kind})")
        self._world.point("invalid transaction refused")

    async def spend_reward(self) -> None:
        """A coin of a block that this client has mined, whether it is mature or not."""
        try:
            coins = await self._line.ask(self._any(), self._coins_at)
        except (*GONE, ChaindError):
            return
        rewards = [coin for coin in coins if coin.coinbase and coin.amount > 2 * FEE_UNITS]
        if rewards:
            chosen = self._rng.choice(rewards)
            transaction = self._spend(Coin(chosen.txid, chosen.output, chosen.amount))
            if await self._send(transaction) == "final":
                self._world.point("reward of a block spent")

    async def _coins_at(self, node: Node) -> list[CoinInfo]:
        return node.queries.coins(self.address, COINS_READ_MAX)

    async def look(self) -> None:
        """What was final is final, wherever its node has come to."""
        if not self._known:
            return
        txid, program = self._rng.choice(self._known), self._any()
        try:
            info = await self._line.status(program, txid, 0.0)
        except GONE:
            return
        if info is not None and info.status in ("rejected", "expired"):
            self._world.fail(f"{program.machine.name} tells {txid.hex()} as {info.status}")


_OPERATIONS: Operations = (
    (Client.pay, 6),
    (Client.pay_by_name, 5),
    (Client.race_for_name, 2),
    (Client.spend, 3),
    (Client.spend_twice, 3),
    (Client.replace, 2),
    (Client.use_policy, 2),
    (Client.mint, 1),
    (Client.short, 2),
    (Client.err, 2),
    (Client.look, 3),
)
_OF_MINERS: Operations = ((Client.spend_reward, 3),)
