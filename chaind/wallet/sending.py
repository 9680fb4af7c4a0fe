"""Paying from a wallet: exactly once for its key, whatever happens to the answers.

Law: a payment always carries a lease, of the account's first address and made from an idempotency
key unless its order brings one.
Before money is chosen the nodes are asked what the key was used for; whatever a node then says
against the payment, the key is looked up again before it is believed. So asking again with the
same key, at any node and at any time while leases are remembered, finds the first payment or makes
the only one. Secrets come in last, when there is a plan to sign.
"""

from collections.abc import Callable
from typing import NamedTuple

from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import SALT_BYTES, Lease, Transaction
from chaind.wallet.accounts import FIRST, Place, address_at
from chaind.wallet.builder import sign
from chaind.wallet.client import Client
from chaind.wallet.client_paying import FINAL_S
from chaind.wallet.errors import (
    KeySpent,
    NodesBusy,
    NodeSilent,
    NotFinalYet,
    PaymentEnded,
    Refused,
)
from chaind.wallet.keystore import Account
from chaind.wallet.payment import Order, Plan, Terms, make_lease, plan_payment
from chaind.wallet.scan import fee_rate, funds, scan
from chaind.wallet.selection import Funds, WalletFundsLacking

# Shares of the validity window after chain time: room for nodes that are behind, and for a chain
# that stood still or a clock that is wrong.
VALID_LEAST, VALID_MOST = 0.5, 0.9
LOOKS_MAX = 5  # at a key whose payments end without being made


class Draft(NamedTuple):
    """A payment that is planned and not signed. `places` says where the owners' keys are."""

    order: Order
    key: str
    plan: Plan
    places: dict[bytes, Place]


class Sent(NamedTuple):
    """A payment that is final. `earlier` where it was made for an earlier request."""

    txid: bytes
    key: str
    earlier: bool
    height: int | None


class Sender:
    """Pays from one account. `now_ms` is the time, `entropy` draws bytes."""

    def __init__(
        self,
        client: Client,
        genesis: Genesis,
        account: Account,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        wait_s: float = FINAL_S,
    ) -> None:
        self._client = client
        self._genesis = genesis
        self._account = account
        self._now_ms = now_ms
        self._entropy = entropy
        self._wait_s = wait_s

    async def pay(
        self,
        order: Order,
        key: str,
        *,
        unlock: Callable[[Draft], Callable[[Place], SecretKey]],
        use: Callable[[Funds], Funds] = lambda funds: funds,
        rate: int | None = None,
    ) -> Sent:
        """Pay once for this key. `unlock` is shown the plan and gives the secrets that sign it.

        Raises what `earlier`, `draft` and `send` raise.
        """
        earlier = await self.earlier(order, key)
        if earlier is not None:
            return earlier
        try:
            draft = await self.draft(order, key, use=use, rate=rate)
        except WalletFundsLacking:
            earlier = await self.earlier(order, key)  # which may have taken the money meanwhile
            if earlier is None:
                raise
            return earlier
        return await self.send(draft, unlock(draft))

    async def earlier(self, order: Order, key: str) -> Sent | None:
        """The final payment that this key stands for; None where the key is free.

        Raises `KeySpent` where it was for something else, `NotFinalYet`.
        """
        lease = self._lease(order, key)
        owner = self._genesis.addresses.show(lease.owner)
        for _ in range(LOOKS_MAX):
            held = await self._client.lease(owner, lease.id)
            if held is None:
                return None
            if held.intent != lease.intent.hex():
                raise KeySpent(key=key, txid=held.tx_id)
            txid = bytes.fromhex(held.tx_id)
            state = await self._client.wait_ended(txid, self._wait_s)
            if state.status == "final":
                return Sent(txid, key, earlier=True, height=state.height)
            if not state.ended:
                raise self._open(txid, key, f"it is {state.status}")
        raise NodeSilent(url=self._client.url, reason="nodes contradict each other")

    async def draft(
        self,
        order: Order,
        key: str,
        *,
        use: Callable[[Funds], Funds] = lambda funds: funds,
        rate: int | None = None,
    ) -> Draft:
        """Choose the money. `use` leaves out what is not to be spent; `rate` is a fee per byte.

        Raises `WalletFundsLacking`, `PaymentTooLarge`, `MemoTooLarge`.
        """
        found = await scan(self._client, self._account, self._genesis.addresses)
        waiting = await self._client.pending()
        parameters = self._genesis.parameters
        terms = Terms(
            parameters=parameters,
            chain_prefix=self._genesis.chain_prefix,
            native_symbol=self._genesis.native_symbol,
            valid_until_ms=await self._valid_until_ms(parameters.validity_window_ms),
            salt=self._entropy(SALT_BYTES),
            fee_rate=fee_rate(waiting, parameters, self._client.url) if rate is None else rate,
        )
        spendable = use(await funds(self._client, found, self._genesis, waiting))
        plan = plan_payment(order, spendable, self._lease(order, key), found.change, terms)
        return Draft(order, key, plan, {entry.address: entry.place for entry in found.found})

    async def send(self, draft: Draft, key_of: Callable[[Place], SecretKey]) -> Sent:
        """Sign and hand in, until it is final. `key_of` gives the secret of one address.

        Raises `PaymentEnded` where it can never apply, `NotFinalYet` where nobody knows yet, and
        `Refused` for what a node has against it.
        """
        keys = [key_of(draft.places[owner]) for owner in draft.plan.owners]
        transaction = sign(draft.plan.body, *keys)
        try:
            return await self._hand_in(draft, transaction)
        except (NodeSilent, NodesBusy) as silence:  # of the payment or of what its key was used for
            raise self._open(transaction.txid, draft.key, str(silence)) from None

    async def _hand_in(self, draft: Draft, transaction: Transaction) -> Sent:
        try:
            submitted = await self._client.submit(transaction, patience_s=self._wait_s)
        except Refused as refusal:
            earlier = await self.earlier(draft.order, draft.key)
            if earlier is not None:
                return earlier
            if refusal.problem != "transaction-ended":
                raise
            raise PaymentEnded(txid=transaction.txid.hex(), reason=refusal) from None
        if submitted.status != "final":
            raise self._open(transaction.txid, draft.key, "it waits for a block")
        height = await self._height(transaction.txid)
        return Sent(transaction.txid, draft.key, earlier=False, height=height)

    async def _height(self, txid: bytes) -> int | None:
        """In which block a final payment is; None where nobody tells, which takes nothing back."""
        try:
            state = await self._client.transaction(txid)
        except (NodeSilent, NodesBusy):
            return None
        return state.height if state is not None else None

    async def _valid_until_ms(self, window_ms: int) -> int:
        """Half a window from now, within what the chain takes, whatever the clock here says."""
        status = await self._client.status()
        chain_ms = status.time_ms if status.chain_time_ms is None else status.chain_time_ms
        least, most = (chain_ms + int(window_ms * share) for share in (VALID_LEAST, VALID_MOST))
        return min(max(self._now_ms() + int(window_ms * VALID_LEAST), least), most)

    def _lease(self, order: Order, key: str) -> Lease:
        return make_lease(address_at(self._account, FIRST), key, order)

    def _open(self, txid: bytes, key: str, why: str) -> NotFinalYet:
        return NotFinalYet(txid=txid.hex(), key=key, bound_s=self._wait_s, why=why)
