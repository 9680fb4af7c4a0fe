"""Payments for people without a wallet: named accounts whose keys this node keeps.

An Idempotency-Key becomes a lease of the paying account, so that "once" is a rule of the ledger
and any node answers a retry. This module only finds out which transaction holds the lease.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from chaind.ledger.keys import lease_key
from chaind.node.chain import Chain
from chaind.node.clock import Clock
from chaind.node.custody import ACCOUNT_ID_MAX, Accounts, NamedAddress
from chaind.node.faucet import Faucet
from chaind.node.intake import Intake
from chaind.node.queries import Queries, TransactionInfo, TransactionUnknown
from chaind.primitives.address import AddressInvalid, key_address
from chaind.primitives.errors import Conflict, Malformed, NotAllowed, RuleBroken, Temporary, Unknown
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    MEMO_BYTES_MAX,
    NATIVE,
    SALT_BYTES,
    Action,
    Lease,
    Part,
    Transaction,
    payment_intent,
)
from chaind.wallet.builder import Rest, build_action, build_payout

KEY_CHARS_MAX = 255
FINAL_WAIT_MS = 30_000.0
# Of the validity window, from the chain's time on: half of it, more where this clock is ahead.
VALID_LEAST, VALID_MOST = 0.5, 0.9


class NameUnknown(Unknown):
    code = "name-unknown"
    text = "{name!r} is neither an address of this chain nor an account that this node keeps"
    advice = "Use an address, or a name or number from the list of named accounts."


class NoNamedAccounts(Unknown):
    code = "no-named-accounts"
    text = "{name!r} names an account, and this node keeps none: [custody] is not enabled"
    advice = "Give an address, or ask a node with custody."


class CustodyDisabled(NotAllowed):
    code = "custody-disabled"
    text = "this node keeps no key for {name!r}"
    advice = "Sign the transaction yourself, or ask a node that keeps this account's key."


class FaucetClosed(NotAllowed):
    code = "faucet-closed"
    text = "this node has no faucet"
    advice = "On a development chain: set [custody] enabled = true (CHAIND_CUSTODY_ENABLED=true)."


class KeyReused(RuleBroken):
    code = "idempotency-key-reused"
    text = "this Idempotency-Key stands for something else: transaction {txid}"
    advice = "Use a new key for a new payment or order."


class KeyInvalid(Malformed):
    code = "idempotency-key-invalid"
    text = "an Idempotency-Key has 1 to 255 printable ASCII characters, not {given!r}"
    advice = "Use a random one for each payment or order, such as a UUID."


class InFlight(Conflict, Temporary):
    code = "payment-in-flight"
    text = "a request with this Idempotency-Key is under way: transaction {txid}. {why}"
    advice = "Ask again with the same key."


class MemoTooLong(Malformed):
    code = "memo-too-long"
    text = "memo of {length} bytes, at most {limit} are allowed"
    advice = "Shorten it, or pay to a hash of what you want to say."


class TransferOrder(NamedTuple):
    """Who pays whom. Names, account numbers or address texts; `key` is the Idempotency-Key."""

    source: str | int
    target: str | int
    units: int
    asset: str
    memo: bytes
    key: str | None


class Spending(NamedTuple):
    """A payment of one source to one receiver or many, ready to be made. `who` is the source as the
    caller named it; with a lease it is made once. With an `action` it pays nobody, and does that.
    """

    who: str | int
    source: bytes
    parts: tuple[Part, ...]
    memo: bytes
    lease: Lease | None
    action: Action | None = None


class Payment(NamedTuple):
    """The transaction that carries a payment. `hit` says where an earlier one was found."""

    txid: bytes
    hit: str | None  # None (made now), "memory" or "state"
    info: TransactionInfo


class Payments:
    """See the module's law."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        accounts: Accounts,
        faucet: Faucet | None,
        chain: Chain,
        intake: Intake,
        queries: Queries,
        clock: Clock,
        entropy: Callable[[int], bytes],
        wait_final: Callable[[bytes, float], Awaitable[TransactionInfo]],
        troubles: Callable[[], Sequence[str]],
    ) -> None:
        self._genesis = genesis
        self._chain_prefix = genesis.chain_prefix
        self._accounts = accounts
        self._faucet = faucet
        self._chain = chain
        self._intake = intake
        self._queries = queries
        self._clock = clock
        self._entropy = entropy
        self.wait_final = wait_final
        self._troubles = troubles  # why nothing becomes final, if so
        # Leases that this run of the node has answered, oldest first.
        self._made: OrderedDict[bytes, None] = OrderedDict()

    def resolve(self, who: str | int) -> bytes:
        """Address of an address text, a name or an account number.

        Raises `NameUnknown`, or `NoNamedAccounts` where this node keeps no keys.
        """
        number = self._accounts.number(who)
        if number is not None:
            if not self._accounts.enabled:
                raise NoNamedAccounts(name=who)
            return key_address(self._accounts.key(number).public)
        if isinstance(who, str):
            try:
                return self._genesis.addresses.parse(who)
            except AddressInvalid:
                if len(who) >= 20:  # meant as an address: its own error says more
                    raise
        raise NameUnknown(name=who)

    def names(self) -> list[NamedAddress]:
        """The named accounts."""
        return self._accounts.rows()

    def create(self, name: str) -> tuple[NamedAddress, bool]:
        """The account of a name, and whether it is new. Raises what `Accounts.create` raises."""
        if not self._accounts.enabled:
            raise CustodyDisabled(name=name[:80])
        return self._accounts.create(name)

    def name_of(self, address: bytes) -> str | None:
        """The name of a named account's address."""
        row = self._accounts.named(address)
        return None if row is None else row.name

    async def transfer(self, order: TransferOrder, *, wait: bool = True) -> Payment:
        """Pay once per (source, key). Waits for finality when there is a key, or `wait` says so.

        Raises `KeyReused`, `InFlight`, `CustodyDisabled` and every rule that a payment can break.
        """
        check_memo(order.memo)
        source, target = self.resolve(order.source), self.resolve(order.target)
        intent = payment_intent(source, target, order.asset, order.units, order.memo)
        part = Part(target, order.asset, order.units)
        lease = lease_of(source, order.key, intent)
        return await self.spend(
            Spending(order.source, source, (part,), order.memo, lease), wait=wait
        )

    async def spend(self, spending: Spending, *, wait: bool = True) -> Payment:
        """Make a payment, once where it has a lease; then, or with `wait`, until it is final."""
        lease = spending.lease
        if lease is None:
            return await self._pay(spending, wait)
        earlier = await self._earlier(lease)
        if earlier is not None:
            return earlier
        try:
            payment = await self._pay(spending, wait=True)
        except Conflict:  # another node, or another request, took the lease meanwhile
            earlier = await self._earlier(lease)
            if earlier is None:
                raise
            return earlier
        if payment.info.status == "rejected":
            earlier = await self._earlier(lease)
            if earlier is not None:
                return earlier
        self._remember(lease)
        return payment

    async def faucet(self, target: str | int, units: int) -> Payment:
        """A gift on development chains.

        Raises `FaucetClosed` elsewhere, and what `Faucet.check` raises.
        """
        if self._faucet is None:
            raise FaucetClosed
        receiver = self.resolve(target)
        self._faucet.check(receiver, units)
        gift = self._build(self._faucet.key, (Part(receiver, NATIVE, units),), b"", None)
        with self._faucet.promised(gift.txid, receiver, units):
            return await self._submit(gift, wait=True)

    async def _earlier(self, lease: Lease) -> Payment | None:
        """The payment that holds the lease, final or on its way; None where it is free."""
        held = self._queries.lease(lease.owner, lease.id)
        if held is None:
            return None
        if held.intent != lease.intent:
            raise KeyReused(txid=held.txid.hex())
        if not held.final:
            try:
                info = await self.wait_final(held.txid, FINAL_WAIT_MS)
            except TransactionUnknown:
                pass  # not accepted here, and gone from the pool: the lease may be free
            else:
                if info.status in ("pending", "included"):
                    raise InFlight(txid=held.txid.hex(), why=self.why_open(info))
            held = self._queries.lease(lease.owner, lease.id)
            if held is None or not held.final:
                return None
            if held.intent != lease.intent:
                raise KeyReused(txid=held.txid.hex())
        return await self.applied(lease, held.txid)

    def why_open(self, info: TransactionInfo) -> str:
        """Why a payment has not ended yet, in words."""
        if info.status == "included" and info.confirmations:
            return f"It is in block {info.height}, which is not final: {info.confirmations} deep"
        return "; ".join(self._troubles()) or "It waits for a block"

    async def applied(self, lease: Lease, txid: bytes) -> Payment:
        """The payment of a final transaction that was made with this lease."""
        hit = "memory" if lease_key(lease.owner, lease.id) in self._made else "state"
        return Payment(txid, hit, await self.wait_final(txid, FINAL_WAIT_MS))

    def _remember(self, lease: Lease) -> None:
        self._made[lease_key(lease.owner, lease.id)] = None
        while len(self._made) > ACCOUNT_ID_MAX:
            self._made.popitem(last=False)

    async def _pay(self, spending: Spending, wait: bool) -> Payment:
        number = self._accounts.number(spending.who)
        if number is None and (row := self._accounts.named(spending.source)) is not None:
            number = row.number
        if number is None or not self._accounts.enabled:
            raise CustodyDisabled(name=spending.who)
        key = self._accounts.key(number)
        assert key_address(key.public) == spending.source
        transaction = self._build(
            key, spending.parts, spending.memo, spending.lease, spending.action
        )
        return await self._submit(transaction, wait)

    def _build(
        self,
        key: SecretKey,
        parts: Sequence[Part],
        memo: bytes,
        lease: Lease | None,
        action: Action | None = None,
    ) -> Transaction:
        parameters = self._genesis.parameters
        window_ms, chain_ms = parameters.validity_window_ms, self._chain.tip.time_ms
        least, most = (int(window_ms * share) for share in (VALID_LEAST, VALID_MOST))
        valid_until_ms = max(self._clock.now_ms(), chain_ms) + least
        rest = Rest(
            memo=memo,
            lease=lease,
            valid_until_ms=min(valid_until_ms, chain_ms + most),
            salt=self._entropy(SALT_BYTES),
            chain_prefix=self._chain_prefix,
            parameters=parameters,
        )
        if action is not None:
            return build_action(key=key, action=action, **rest)
        return build_payout(key=key, parts=parts, **rest)

    async def _submit(self, transaction: Transaction, wait: bool) -> Payment:
        [submission] = await self._intake.submit([transaction.raw], local=True)
        if submission.error is not None:
            raise submission.error
        txid = transaction.txid
        if wait:
            info = await self.wait_final(txid, FINAL_WAIT_MS)
        else:
            info = self._queries.transaction(txid)
        return Payment(txid, None, info)


def check_memo(memo: bytes) -> None:
    """Raise `MemoTooLong` for what no transaction holds."""
    if len(memo) > MEMO_BYTES_MAX:
        raise MemoTooLong(length=len(memo), limit=MEMO_BYTES_MAX)


def lease_of(source: bytes, key: str | None, intent: bytes) -> Lease | None:
    """The lease that an Idempotency-Key stands for; None without one. Raises `KeyInvalid`."""
    if key is None:
        return None
    check_key(key)
    return Lease(source, sha256(key.encode()), intent)


def check_key(key: str) -> None:
    """Raise `KeyInvalid` for what is no Idempotency-Key."""
    if not 1 <= len(key) <= KEY_CHARS_MAX or not all(map(_is_printable, key)):
        raise KeyInvalid(given=key[:80])


def _is_printable(char: str) -> bool:
    """What a string of a structured header field may hold (RFC 9651)."""
    return " " <= char <= "~"
