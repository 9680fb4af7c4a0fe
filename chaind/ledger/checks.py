"""`check_transaction`: everything about a transaction that needs no state.

The result carries what execution needs, worked out once per node: balance rows with their debits
and credits, the owners whose witnesses stand, the signatures still to verify. `verify_signatures`
is apart because it is the dear part: a node has it done by processes of their own.
"""

from collections.abc import Iterable

from chaind.ledger.errors import (
    BadSignature,
    FeeTooLow,
    TransactionMalformed,
    TransactionTooLarge,
    Unbalanced,
    WitnessMismatch,
    WrongChain,
)
from chaind.ledger.keys import applied_key, balance_key, lease_key
from chaind.ledger.policies import Demand, read_witness
from chaind.primitives.address import KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.genesis import Parameters, is_asset_symbol
from chaind.primitives.keys import PUBLIC_KEY_BYTES, verify_packed
from chaind.primitives.transaction import (
    MEMO_BYTES_MAX,
    NATIVE,
    SALT_BYTES,
    VERSION,
    Body,
    Burn,
    CoinInput,
    CoinOutput,
    Issue,
    Lease,
    Mint,
    Transaction,
)

COST_SIGNATURE = 35  # one unit is about a microsecond of the reference machine
COST_ROW = 3
LEASE_EXTRA_BYTES = 128  # what remembering a lease for lease_ms costs beyond the bytes of Raw
_ADDRESS_LENGTHS = (KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES)
_CHAIN_TIME_MAX = 2**53


class Checked:
    """A transaction whose form is right, with what execution needs.

    `moves` are (row key, debit, credit, address, asset) per touched balance, debits first seen
    first; `owners` the addresses that must have signed, None where only the state knows them.
    `applied_row` and `lease_row` are the keys that remember it, None where nothing does.
    """

    __slots__ = (
        "applied_row",
        "coin_inputs",
        "coin_outputs",
        "cost",
        "demands",
        "fee",
        "lease_row",
        "moves",
        "native_account_in",
        "native_out",
        "owners",
        "transaction",
        "txid",
    )

    transaction: Transaction
    txid: bytes
    coin_inputs: tuple[CoinInput, ...]
    coin_outputs: tuple[tuple[int, bytes, int], ...]  # (output index, address, amount)
    moves: tuple[tuple[bytes, int, int, bytes, str], ...]
    applied_row: bytes | None
    lease_row: bytes | None
    native_account_in: int
    native_out: int
    demands: tuple[Demand, ...]
    owners: tuple[bytes, ...] | None
    fee: int | None  # None where coin inputs decide it
    cost: int

    def debits(self) -> Iterable[tuple[bytes, str, int]]:
        """(address, asset, amount) that this takes from accounts."""
        return ((address, asset, debit) for _, debit, _, address, asset in self.moves if debit)


def check_transaction(
    transaction: Transaction, parameters: Parameters, chain_prefix: bytes
) -> Checked:
    """Check form, limits, balance of sums and witnesses' shape; raise the rule that is broken."""
    body = transaction.body
    _check_sizes(transaction, parameters)
    _check_fields(body, chain_prefix)
    checked = Checked()
    checked.transaction = transaction
    checked.txid = transaction.txid
    _collect_moves(checked, body)
    _name_rows(checked, body)
    demands = [read_witness(index, witness) for index, witness in enumerate(transaction.witnesses)]
    checked.demands = tuple(demands)
    owners = checked.owners = _static_owners(body)
    given = [demand.address for demand in demands]
    if owners is not None:
        check_owners(given, owners)
    elif len(set(given)) != len(given):
        raise TransactionMalformed(reason="two witnesses of one owner")
    signatures = 0
    for demand in demands:
        signatures += len(demand.signatures)
        if demand.older_blocks and owners is not None:
            raise TransactionMalformed(reason="older(…) can be satisfied by coins only")
    rows = len(checked.moves) + len(checked.coin_inputs) + len(checked.coin_outputs)
    rows += 1 + (2 if body.lease else 0) + (2 if body.action else 0)
    checked.cost = COST_SIGNATURE * signatures + COST_ROW * rows
    if checked.cost > parameters.block_cost_max:
        raise TransactionTooLarge(what="cost", given=checked.cost, limit=parameters.block_cost_max)
    if checked.fee is not None:
        check_fee(checked, checked.fee, parameters)
    return checked


def check_fee(checked: Checked, fee: int, parameters: Parameters) -> None:
    """Raise `FeeTooLow` unless the fee pays for the bytes of Raw and of a lease."""
    size = checked.transaction.size
    if checked.transaction.body.lease is not None:
        size += LEASE_EXTRA_BYTES
    needed = size * parameters.min_fee_per_byte
    if fee < needed:
        raise FeeTooLow(paid=fee, needed=needed)


def check_owners(given: Iterable[bytes], needed: Iterable[bytes]) -> None:
    """Raise `WitnessMismatch` unless the witnesses are the owners', in order."""
    given, needed = tuple(given), tuple(needed)
    if given != needed:
        raise WitnessMismatch(
            given=[address.hex() for address in given], needed=[owner.hex() for owner in needed]
        )


def signature_checks(checked: Checked) -> list[bytes]:
    """What `primitives.keys.verify_packed` must find right, in the order of the demands."""
    digest = checked.transaction.sighash
    return [
        public_key + digest + signature
        for demand in checked.demands
        for public_key, signature in demand.signatures
    ]


def verify_signatures(checked: Checked) -> None:
    """Verify every signature here and now. Raises `BadSignature`."""
    for check in signature_checks(checked):
        judge_signature(check, verify_packed(check)[0])


def judge_signature(check: bytes, verdict: int) -> None:
    """Raise `BadSignature` where the verdict on a packed check is 0."""
    if not verdict:
        raise BadSignature(key=check[:PUBLIC_KEY_BYTES].hex())


def _check_sizes(transaction: Transaction, parameters: Parameters) -> None:
    def refuse(what: str, given: int, limit: int) -> TransactionTooLarge:
        return TransactionTooLarge(what=what, given=given, limit=limit)

    body, size = transaction.body, transaction.size
    if size > parameters.transaction_bytes_max:
        raise refuse("bytes", size, parameters.transaction_bytes_max)
    if len(body.inputs) > parameters.inputs_max:
        raise refuse("inputs", len(body.inputs), parameters.inputs_max)
    if len(body.outputs) > parameters.outputs_max:
        raise refuse("outputs", len(body.outputs), parameters.outputs_max)
    if len(body.memo) > MEMO_BYTES_MAX:
        raise refuse("memo bytes", len(body.memo), MEMO_BYTES_MAX)
    owners_max = len(body.inputs) + 2  # a lease and an action may add one each
    if len(transaction.witnesses) > owners_max:  # or signatures could be stuffed unpaid
        raise refuse("witnesses", len(transaction.witnesses), owners_max)
    if size == 64:  # would pass for an inner Merkle node
        raise TransactionMalformed(reason="Raw of exactly 64 bytes")


def _check_fields(body: Body, chain_prefix: bytes) -> None:
    if body.chain != chain_prefix:
        raise WrongChain(given=body.chain.hex()[:16], ours=chain_prefix.hex())
    if body.version != VERSION:
        raise TransactionMalformed(reason=f"version {body.version}, only {VERSION} is known")
    if len(body.salt) != SALT_BYTES:
        raise TransactionMalformed(reason=f"salt of {len(body.salt)} bytes")
    if not body.inputs and body.action is None:
        raise TransactionMalformed(reason="neither inputs nor an action")
    if body.valid_until is None:
        if not any(isinstance(entry, CoinInput) for entry in body.inputs):
            raise TransactionMalformed(reason="valid_until is needed without a coin input")
    elif not 0 < body.valid_until <= _CHAIN_TIME_MAX:
        raise TransactionMalformed(reason=f"valid_until {body.valid_until} is out of range")
    if body.lease is not None:
        if body.valid_until is None:  # or it could apply again once its lease is forgotten
            raise TransactionMalformed(reason="a leased transaction needs valid_until")
        _check_lease(body.lease)
    if body.action is not None:
        _check_action(body.action)


def _check_lease(lease: Lease) -> None:
    _check_address(lease.owner)
    if len(lease.id) != 32 or len(lease.intent) != 32:
        raise TransactionMalformed(reason="lease id and intent are 32 bytes")


def _check_action(action: Issue | Mint | Burn) -> None:
    if action.asset != NATIVE or not isinstance(action, Burn):
        _check_symbol(action.asset)
    low = 0 if isinstance(action, Issue) else 1
    if not low <= action.amount <= AMOUNT_MAX:
        raise TransactionMalformed(reason=f"amount {action.amount} is out of range")
    if isinstance(action, Issue):
        _check_address(action.issuer)
    elif isinstance(action, Burn):
        _check_address(action.owner)


def _check_address(address: bytes) -> None:
    if len(address) not in _ADDRESS_LENGTHS:
        raise TransactionMalformed(reason=f"address of {len(address)} bytes")


def _check_symbol(asset: str) -> None:
    if not is_asset_symbol(asset):
        raise TransactionMalformed(reason=f"asset symbol {asset[:20]!r}")


def _collect_moves(checked: Checked, body: Body) -> None:
    """Sum inputs and outputs per balance row and per asset, and check that assets balance."""
    debits: dict[bytes, int] = {}
    credits: dict[bytes, int] = {}
    rows: dict[bytes, tuple[bytes, str]] = {}  # balance row → whose it is, by first appearance
    sums_in: dict[str, int] = {NATIVE: 0}  # accounts only
    sums_out: dict[str, int] = {NATIVE: 0}
    coins: list[CoinInput] = []
    for entry in body.inputs:
        if isinstance(entry, CoinInput):
            if len(entry.txid) != 32 or not 0 <= entry.index < 2**32:
                raise TransactionMalformed(reason="outpoint out of range")
            coins.append(entry)
            continue
        address, asset, amount = entry.address, entry.asset, entry.amount
        _check_entry(address, asset, amount)
        key = balance_key(address, asset)
        rows[key] = (address, asset)
        debits[key] = debits.get(key, 0) + amount
        sums_in[asset] = sums_in.get(asset, 0) + amount
    if len(coins) > 1 and len({(coin.txid, coin.index) for coin in coins}) != len(coins):
        raise TransactionMalformed(reason="one coin is spent twice")
    coin_outputs: list[tuple[int, bytes, int]] = []
    for index, output in enumerate(body.outputs):
        address, amount = output.address, output.amount
        if isinstance(output, CoinOutput):
            _check_entry(address, NATIVE, amount)
            coin_outputs.append((index, address, amount))
            sums_out[NATIVE] += amount
            continue
        asset = output.asset
        _check_entry(address, asset, amount)
        key = balance_key(address, asset)
        rows[key] = (address, asset)
        credits[key] = credits.get(key, 0) + amount
        sums_out[asset] = sums_out.get(asset, 0) + amount
    _check_sums(sums_in, sums_out, has_coins=bool(coins))
    if isinstance(body.action, Burn):
        address, asset = body.action.owner, body.action.asset
        key = balance_key(address, asset)
        rows[key] = (address, asset)
        debits[key] = debits.get(key, 0) + body.action.amount
    checked.moves = tuple(
        [
            (key, debits.get(key, 0), credits.get(key, 0), address, asset)
            for key, (address, asset) in rows.items()
        ]
    )
    checked.coin_inputs = tuple(coins)
    checked.coin_outputs = tuple(coin_outputs)
    checked.native_account_in = sums_in[NATIVE]
    checked.native_out = sums_out[NATIVE]
    checked.fee = None if coins else sums_in[NATIVE] - sums_out[NATIVE]


def _check_sums(sums_in: dict[str, int], sums_out: dict[str, int], has_coins: bool) -> None:
    """Native inputs cover outputs, where they are all known; other assets balance exactly."""
    for sums in (sums_in, sums_out):
        for total in sums.values():
            if total > AMOUNT_MAX:
                raise TransactionMalformed(reason="the sum of amounts exceeds 2^63-1")
    if not has_coins and sums_in[NATIVE] < sums_out[NATIVE]:
        raise Unbalanced(asset="the native asset", inputs=sums_in[NATIVE], outputs=sums_out[NATIVE])
    for asset in {**sums_in, **sums_out}:
        taken, given = sums_in.get(asset, 0), sums_out.get(asset, 0)
        if asset != NATIVE and taken != given:
            raise Unbalanced(asset=asset, inputs=taken, outputs=given)


def _name_rows(checked: Checked, body: Body) -> None:
    """Work out once the keys of the rows that will remember the transaction."""
    valid_until, lease = body.valid_until, body.lease
    checked.applied_row = None if valid_until is None else applied_key(valid_until, checked.txid)
    checked.lease_row = None if lease is None else lease_key(lease.owner, lease.id)


def _check_entry(address: bytes, asset: str, amount: int) -> None:
    if len(address) not in _ADDRESS_LENGTHS:
        raise TransactionMalformed(reason=f"address of {len(address)} bytes")
    if asset != NATIVE:
        _check_symbol(asset)
    if not 0 < amount <= AMOUNT_MAX:
        raise TransactionMalformed(reason=f"amount {amount} is not within 1 and 2^63-1")


def _static_owners(body: Body) -> tuple[bytes, ...] | None:
    """Owners in order of first appearance: inputs, lease, action. None where coins hide them."""
    owners: dict[bytes, None] = {}
    for entry in body.inputs:
        if isinstance(entry, CoinInput):
            return None
        owners[entry.address] = None
    if isinstance(body.action, Mint):
        return None
    return (*owners, *_other_owners(body, owners))


def _other_owners(body: Body, owners: dict[bytes, None]) -> list[bytes]:
    found: list[bytes] = []
    if body.lease is not None and body.lease.owner not in owners:
        found.append(body.lease.owner)
    if isinstance(body.action, (Issue, Burn)):
        signer = body.action.issuer if isinstance(body.action, Issue) else body.action.owner
        if signer not in owners and signer not in found:
            found.append(signer)
    return found


def stateful_owners(body: Body, coins: Iterable[bytes], issuer: bytes | None) -> list[bytes]:
    """Owners in order of first appearance, with what the state added.

    `coins` are the owners of the coin inputs in order, `issuer` that of a minted asset.
    """
    from_coins = iter(coins)
    owners: dict[bytes, None] = {}
    for entry in body.inputs:
        owners[next(from_coins) if isinstance(entry, CoinInput) else entry.address] = None
    found = [*owners, *_other_owners(body, owners)]
    if issuer is not None and issuer not in found:
        found.append(issuer)
    return found
