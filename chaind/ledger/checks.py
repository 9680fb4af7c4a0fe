"""`check_transaction`: everything about a transaction that needs no state.

The result carries what execution needs, worked out once per node: balance rows with their debits
and credits, the owners whose witnesses stand, the signatures still to verify. `verify_signatures`
is apart because it is the dear part: a node has it done by processes of their own.
"""

from collections.abc import Iterable, Sequence

from chaind.ledger.actions import (
    ADDRESS_LENGTHS,
    COST_MEETING,
    check_action,
    check_address,
    check_symbol,
    meetings_max,
    order_action,
    signer_of,
)
from chaind.ledger.errors import (
    BadSignature,
    FeeTooLow,
    TransactionMalformed,
    TransactionTooLarge,
    Unbalanced,
    WitnessMismatch,
    WrongChain,
)
from chaind.ledger.keys import applied_key, balance_key, coin_key, lease_key
from chaind.ledger.policies import Demand, read_witness
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.genesis import Parameters
from chaind.primitives.keys import PUBLIC_KEY_BYTES, verify_packed
from chaind.primitives.orders import OrderAction
from chaind.primitives.transaction import (
    MEMO_BYTES_MAX,
    NATIVE,
    SALT_BYTES,
    VERSION,
    AccountInput,
    Body,
    Burn,
    CoinInput,
    CoinOutput,
    Lease,
    Mint,
    Transaction,
)

COST_SIGNATURE = 35  # one unit is about a microsecond of the reference machine
COST_ROW = 3
LEASE_EXTRA_BYTES = 128  # what remembering a lease for lease_ms costs beyond the bytes of Raw
_CHAIN_TIME_MAX = 2**53
_SUM_TOO_LARGE = "the sum of amounts exceeds 2^63-1"

Move = tuple[bytes, int, int, bytes, str]  # balance row, debit, credit, address, asset


class Checked:
    """A transaction whose form is right, with what execution needs.

    `moves` is one for each touched balance, debits first seen first; `owners` the addresses that
    must have signed, None where only the state knows them.
    `applied_row` and `lease_row` are the keys that remember it, None where nothing does; `claims`
    the state rows that only one transaction can ever use: its coins and its lease.
    """

    __slots__ = (
        "after_ms",
        "applied_row",
        "claims",
        "coin_inputs",
        "coin_outputs",
        "cost",
        "demands",
        "fee",
        "has_age",
        "lease_row",
        "moves",
        "native_account_in",
        "native_out",
        "order",
        "owners",
        "room",
        "transaction",
        "txid",
        "valid_until",
    )

    transaction: Transaction
    txid: bytes
    coin_inputs: tuple[CoinInput, ...]
    coin_outputs: tuple[tuple[int, bytes, int], ...]  # (output index, address, amount)
    moves: tuple[Move, ...]
    valid_until: int | None
    applied_row: bytes | None
    claims: tuple[bytes, ...]
    lease_row: bytes | None
    native_account_in: int
    native_out: int
    demands: tuple[Demand, ...]
    after_ms: int  # chain time must have reached this
    has_age: bool  # a demand says how old spent coins must be
    owners: list[bytes] | None
    fee: int | None  # None where coin inputs decide it
    cost: int
    order: OrderAction | None  # it takes its turn after everything else of its block
    room: int  # what a block must have left of its cost: that of all the orders it may meet too

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
    owners = checked.owners = _static_owners(checked, body)
    demands: list[Demand] = []
    given: list[bytes] = []
    signatures, after_ms, has_age = 0, 0, False
    for witness in transaction.witnesses:
        demand = read_witness(len(demands), witness)
        demands.append(demand)
        given.append(demand.address)
        signatures += len(demand.signatures)
        if demand.after_ms or demand.older_blocks:
            after_ms = max(after_ms, demand.after_ms)
            has_age = has_age or demand.older_blocks > 0
    if has_age and owners is not None:
        raise TransactionMalformed(reason="older(…) can be satisfied by coins only")
    checked.demands, checked.after_ms, checked.has_age = tuple(demands), after_ms, has_age
    if owners is not None:
        check_owners(given, owners)
    elif len(set(given)) != len(given):
        raise TransactionMalformed(reason="two witnesses of one owner")
    rows = len(checked.moves) + len(checked.coin_inputs) + len(checked.coin_outputs)
    rows += 1 + (2 if body.lease else 0) + (2 if body.action else 0)
    room = checked.cost = COST_SIGNATURE * signatures + COST_ROW * rows
    checked.order = None
    if body.action is not None and (order := order_action(body.action)) is not None:
        checked.order = order
        room += COST_MEETING * meetings_max(order, parameters)
    if room > parameters.block_cost_max:
        raise TransactionTooLarge(what="cost", given=room, limit=parameters.block_cost_max)
    checked.room = room
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


def check_owners(given: list[bytes], needed: list[bytes]) -> None:
    """Raise `WitnessMismatch` unless the witnesses are the owners', in order."""
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
    body, size = transaction.body, len(transaction.raw)
    if size > parameters.transaction_bytes_max:
        raise _too_large("bytes", size, parameters.transaction_bytes_max)
    inputs = len(body.inputs)
    if inputs > parameters.inputs_max:
        raise _too_large("inputs", inputs, parameters.inputs_max)
    if len(body.outputs) > parameters.outputs_max:
        raise _too_large("outputs", len(body.outputs), parameters.outputs_max)
    if len(body.memo) > MEMO_BYTES_MAX:
        raise _too_large("memo bytes", len(body.memo), MEMO_BYTES_MAX)
    owners_max = inputs + 2  # a lease and an action may add one each
    if len(transaction.witnesses) > owners_max:  # or signatures could be stuffed unpaid
        raise _too_large("witnesses", len(transaction.witnesses), owners_max)
    if size == 64:  # would pass for an inner Merkle node
        raise TransactionMalformed(reason="Raw of exactly 64 bytes")


def _too_large(what: str, given: int, limit: int) -> TransactionTooLarge:
    return TransactionTooLarge(what=what, given=given, limit=limit)


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
        check_action(body.action)


def _check_lease(lease: Lease) -> None:
    check_address(lease.owner)
    if len(lease.id) != 32 or len(lease.intent) != 32:
        raise TransactionMalformed(reason="lease id and intent are 32 bytes")


def _collect_moves(checked: Checked, body: Body) -> None:
    """Sum inputs and outputs per balance row and per asset, and check that assets balance."""
    moves: list[Move] = []
    coins: list[CoinInput] = []
    coin_outputs: list[tuple[int, bytes, int]] = []
    native_in = native_out = 0  # of accounts; of accounts and coins
    others_in: list[tuple[str, int]] = []  # assets but the native one
    others_out: list[tuple[str, int]] = []
    for entry in body.inputs:
        if isinstance(entry, CoinInput):
            coins.append(entry)
            continue
        address, asset, amount = entry.address, entry.asset, entry.amount
        _check_entry(address, asset, amount)
        if asset == NATIVE:
            native_in += amount
        else:
            others_in.append((asset, amount))
        moves.append((balance_key(address, asset), amount, 0, address, asset))
    for index, output in enumerate(body.outputs):
        address, amount = output.address, output.amount
        if isinstance(output, CoinOutput):
            _check_entry(address, NATIVE, amount)
            native_out += amount
            coin_outputs.append((index, address, amount))
            continue
        asset = output.asset
        _check_entry(address, asset, amount)
        if asset == NATIVE:
            native_out += amount
        else:
            others_out.append((asset, amount))
        moves.append((balance_key(address, asset), 0, amount, address, asset))
    if native_in > AMOUNT_MAX or native_out > AMOUNT_MAX:
        raise TransactionMalformed(reason=_SUM_TOO_LARGE)
    if coins:
        _check_coins(coins)
    elif native_in < native_out:
        raise Unbalanced(asset="the native asset", inputs=native_in, outputs=native_out)
    if others_in or others_out:
        _check_others(others_in, others_out)
    if isinstance(body.action, Burn):
        address, asset = body.action.owner, body.action.asset
        moves.append((balance_key(address, asset), body.action.amount, 0, address, asset))
    checked.moves = _one_a_row(moves)
    checked.coin_inputs = tuple(coins)
    checked.coin_outputs = tuple(coin_outputs)
    checked.native_account_in = native_in
    checked.native_out = native_out
    checked.fee = None if coins else native_in - native_out


def _one_a_row(moves: list[Move]) -> tuple[Move, ...]:
    """Moves of one balance row added up, in the order in which rows appear."""
    if len({move[0] for move in moves}) == len(moves):
        return tuple(moves)
    sums: dict[bytes, Move] = {}
    for key, debit, credit, address, asset in moves:
        _, debits, credits, _, _ = sums.get(key, (key, 0, 0, address, asset))
        sums[key] = (key, debits + debit, credits + credit, address, asset)
    return tuple(sums.values())


def _check_coins(coins: Sequence[CoinInput]) -> None:
    for coin in coins:
        if len(coin.txid) != 32 or not 0 <= coin.index < 2**32:
            raise TransactionMalformed(reason="outpoint out of range")
    if len({(coin.txid, coin.index) for coin in coins}) != len(coins):
        raise TransactionMalformed(reason="one coin is spent twice")


def _check_others(taken: Iterable[tuple[str, int]], given: Iterable[tuple[str, int]]) -> None:
    """Assets but the native one balance exactly."""
    sums: list[dict[str, int]] = [{}, {}]
    for side, entries in zip(sums, (taken, given), strict=True):
        for asset, amount in entries:
            side[asset] = side.get(asset, 0) + amount
            if side[asset] > AMOUNT_MAX:
                raise TransactionMalformed(reason=_SUM_TOO_LARGE)
    inputs, outputs = sums
    for asset in {**inputs, **outputs}:
        if inputs.get(asset, 0) != outputs.get(asset, 0):
            raise Unbalanced(
                asset=asset, inputs=inputs.get(asset, 0), outputs=outputs.get(asset, 0)
            )


def _name_rows(checked: Checked, body: Body) -> None:
    """Work out once the keys of the rows that remember the transaction, and of those it uses up."""
    valid_until, lease = body.valid_until, body.lease
    checked.valid_until = valid_until
    checked.applied_row = None if valid_until is None else applied_key(valid_until, checked.txid)
    checked.lease_row = None if lease is None else lease_key(lease.owner, lease.id)
    claims = [coin_key(entry.txid, entry.index) for entry in checked.coin_inputs]
    if checked.lease_row is not None:
        claims.append(checked.lease_row)
    checked.claims = tuple(claims)


def _check_entry(address: bytes, asset: str, amount: int) -> None:
    if len(address) not in ADDRESS_LENGTHS:  # for every entry: not worth a call
        check_address(address)
    if asset != NATIVE:
        check_symbol(asset)
    if not 0 < amount <= AMOUNT_MAX:
        raise TransactionMalformed(reason=f"amount {amount} is not within 1 and 2^63-1")


def _static_owners(checked: Checked, body: Body) -> list[bytes] | None:
    """Owners in order of first appearance: inputs, lease, action. None where coins hide them."""
    if checked.coin_inputs or isinstance(body.action, Mint):
        return None
    addresses = [entry.address for entry in body.inputs if isinstance(entry, AccountInput)]
    return _with_others(body, addresses)


def _with_others(body: Body, owners: Iterable[bytes]) -> list[bytes]:
    """Each owner once, with those of lease and action behind."""
    found = dict.fromkeys(owners)
    if body.lease is not None:
        found[body.lease.owner] = None
    if body.action is not None and (signer := signer_of(body.action)) is not None:
        found[signer] = None
    return list(found)


def stateful_owners(body: Body, coins: Iterable[bytes], issuer: bytes | None) -> list[bytes]:
    """Owners in order of first appearance, with what the state added.

    `coins` are the owners of the coin inputs in order, `issuer` that of a minted asset.
    """
    from_coins = iter(coins)
    inputs = [
        next(from_coins) if isinstance(entry, CoinInput) else entry.address for entry in body.inputs
    ]
    owners = _with_others(body, inputs)
    return owners if issuer is None or issuer in owners else [*owners, issuer]
