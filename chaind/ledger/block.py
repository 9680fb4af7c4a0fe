"""Blocks: `check_block` (only the block), `check_in_context` (the chain), `execute_block` (state).

A block applies whole or leaves no trace. `execute_block` is the one road: proposing, checking,
catching up and replaying all take it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chaind.ledger.actions import COST_MEETING
from chaind.ledger.checks import Checked
from chaind.ledger.errors import REFUSALS, BlockInvalid, BlockTransactionInvalid, RootMismatch
from chaind.ledger.execute import Context, Receipt, execute
from chaind.ledger.journal import Delta, State, next_root
from chaind.ledger.keys import (
    Asset,
    Coin,
    asset_key,
    balance_key,
    coin_key,
    supply_key,
)
from chaind.ledger.trading import Booked, check_turns, cost_of, settle_events
from chaind.market.events import Event
from chaind.primitives.amounts import AMOUNT_MAX, parse_amount
from chaind.primitives.block import BFT_BITS, BLOCK_VERSION, Block
from chaind.primitives.coinbase import Coinbase, encode_coinbase
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis, Parameters
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.orders import AmendOrder, CancelOrders
from chaind.primitives.transaction import NATIVE

GENESIS_COIN_TXID = sha256d(b"chaind genesis coins")  # outpoints of coins that block 0 makes


Told = tuple[tuple[bytes | None, tuple[Event, ...]], ...]


class Executed(NamedTuple):
    """A block's outcome: the delta to undo it, the state root after it, a receipt each.

    `events` are what it did to order books, in order: one entry for each order action (its txid,
    its events), and entries of nobody for what expired at its begin and was triggered at its end.
    `booked` is what those of nobody changed of balances.
    """

    delta: Delta
    root: bytes
    receipts: tuple[Receipt, ...]
    fees: int
    events: Told = ()
    booked: tuple[Booked, ...] = ()


def reward_of(executed: Executed, height: int, parameters: Parameters) -> int:
    """Base units that a block brings its maker: fees and subsidy."""
    return executed.fees + subsidy(height, parameters)


class ParentInfo(NamedTuple):
    """What a block's rules need to know of the block below it.

    `time_ms` is the chain time that its children see: its own in bft, its median time past in pow,
    where `times` are the last (up to) eleven header times that make it, in seconds.
    """

    hash: bytes
    height: int
    time_ms: int
    view: int
    root: bytes
    times: tuple[int, ...] = ()


def subsidy(height: int, parameters: Parameters) -> int:
    """New native units that block `height` may claim: halved every `halving_interval` blocks."""
    return parameters.subsidy_units >> min(height // parameters.halving_interval, 63)


def check_block(block: Block, parameters: Parameters) -> None:
    """Rules that need only the block: sizes, fixed bft fields, no repeated transaction."""

    def refuse(reason: str) -> BlockInvalid:
        return BlockInvalid(height=block.height, reason=reason)

    size = sum(transaction.size for transaction in block.transactions)
    if size > parameters.block_bytes_max:
        raise refuse(f"{size} bytes of transactions, at most {parameters.block_bytes_max}")
    commitment, header = block.commitment, block.header
    if commitment.time_ms is None or header.time != commitment.time_ms // 1000:
        raise refuse("header time is not the chain time in seconds")
    if (header.version, header.bits, header.nonce) != (BLOCK_VERSION, BFT_BITS, 0):
        raise refuse("version, bits and nonce are fixed in bft")
    if block.coinbase.height != commitment.height:
        raise refuse(f"coinbase says {block.coinbase.height} (BIP-34)")
    if block.coinbase_bytes != encode_coinbase(commitment.height):
        raise refuse("the coinbase of bft is a function of the height")
    if commitment.snapshot is not None or commitment.evidence:
        raise refuse("snapshot digest and evidence are not in use on this chain")
    wtxids = {transaction.wtxid for transaction in block.transactions}
    if len(wtxids) != len(block.transactions):
        raise refuse("a transaction stands in it twice")
    check_turns(block)


def check_in_context(
    block: Block,
    parent: ParentInfo,
    epoch: int,
    validators_hash: bytes,
    proposer: bytes,
    genesis: Genesis,
) -> None:
    """Rules that need the parent and the view's leader, whose address is `proposer`."""

    def refuse(reason: str) -> BlockInvalid:
        return BlockInvalid(height=block.height, reason=reason)

    commitment = block.commitment
    assert commitment.time_ms is not None, "check_block comes first"
    if block.parent != parent.hash or commitment.height != parent.height + 1:
        raise refuse(f"does not stand on block {parent.height}")
    interval_ms = max(1, genesis.parameters.min_block_interval_ms)
    if commitment.time_ms < parent.time_ms + interval_ms:
        raise refuse(f"time {commitment.time_ms} is less than {interval_ms} ms after its parent's")
    if commitment.last_certificate != (parent.view, parent.hash):
        raise refuse("last certificate is not its parent's")
    if commitment.epoch != epoch:
        raise refuse(f"epoch {commitment.epoch}, this is {epoch}")
    if commitment.view <= parent.view:
        raise refuse(f"view {commitment.view} is not after its parent's {parent.view}")
    if commitment.proposer != proposer:
        raise refuse("proposer is not the leader of its view")
    if commitment.validators_hash != validators_hash:
        raise refuse("validator-set hash is another")
    if commitment.parent_root != parent.root:
        raise RootMismatch(
            height=block.height, given=commitment.parent_root.hex(), ours=parent.root.hex()
        )


def block_context(parent: ParentInfo, genesis: Genesis) -> Context:
    """What the transactions of a block on `parent` see."""
    return Context(
        parent.height + 1,
        parent.time_ms,
        genesis.parameters,
        genesis.native_symbol,
        genesis.addresses.show,
    )


class Applying:
    """A block being applied on the head, which it begins; whoever has one abandons it on errors.

    Orders whose time has passed go first, then come transactions in their order, and `seal` lets
    the last prices trigger what waits for them before it pays the maker of the block.
    """

    __slots__ = ("_booked", "_context", "_cost_max", "_events", "_state", "cost", "receipts")

    def __init__(self, state: State, context: Context) -> None:
        self.receipts: list[Receipt] = []
        self.cost = 0
        self._events: list[tuple[bytes | None, tuple[Event, ...]]] = []
        self._booked: tuple[Booked, ...] = ()
        self._state = state
        self._context = context
        self._cost_max = context.parameters.block_cost_max
        state.begin()
        try:
            self._tell(state.books.open_block(context.height, context.chain_time_ms))
        except BaseException:
            state.abandon()
            raise

    def room_for(self, checked: Checked) -> int:
        """What a transaction may cost here at most; so many open orders bound a `CancelOrders`."""
        order = checked.order
        if isinstance(order, CancelOrders):
            return checked.cost + COST_MEETING * self._state.books.count_open(order.owner)
        return checked.room

    def has_room(self, checked: Checked) -> bool:
        """Whether the block's cost has room for all that a transaction may do."""
        return self.cost + self.room_for(checked) <= self._cost_max

    def add(self, checked: Checked) -> None:
        """Apply a transaction that there is room for, or raise what forbids it; then no trace."""
        receipt = execute(self._state, checked, self._context)
        self.receipts.append(receipt)
        self.cost += checked.cost
        order = checked.order
        if order is not None:
            own = order.order_id if isinstance(order, AmendOrder) else checked.txid
            self.cost += cost_of(own, receipt.events)
            self._events.append((checked.txid, receipt.events))

    def seal(
        self, root: bytes, proposer: bytes | None, coinbase: tuple[bytes, Coinbase] | None
    ) -> Executed:
        """End the block; `root` is its parent's. Raises what is wrong with the coinbase."""
        self._tell(self._state.books.trigger())
        fees = reward(self._state, self.receipts, self._context, proposer, coinbase)
        delta = self._state.seal()
        return Executed(
            delta,
            next_root(root, delta.writes),
            tuple(self.receipts),
            fees,
            tuple(self._events),
            self._booked,
        )

    def _tell(self, events: Sequence[Event]) -> None:
        """Book what nobody's transaction did."""
        if events:
            self._booked += settle_events(self._state, events, self._context.native_symbol)
            self._events.append((None, tuple(events)))


def execute_block(
    state: State,
    transactions: Iterable[Checked],
    context: Context,
    root: bytes,
    proposer: bytes | None,
    coinbase: tuple[bytes, Coinbase] | None = None,
) -> Executed:
    """Apply transactions and the block's own credits on the head; `root` is the parent's.

    `proposer` is credited with fees and subsidy (bft); otherwise `coinbase` = (its txid, parsed)
    pays coins. Raises `BlockInvalid` leaves; then the state is as it was.
    """
    applying = Applying(state, context)
    try:
        for index, checked in enumerate(transactions):
            if not applying.has_room(checked):
                raise BlockInvalid(height=context.height, reason="block_cost_max is exceeded")
            try:
                applying.add(checked)
            except REFUSALS as error:
                raise _blame(context.height, index, checked, error) from error
        return applying.seal(root, proposer, coinbase)
    except BaseException:
        state.abandon()
        raise


def _blame(height: int, index: int, checked: Checked, error: ChaindError) -> BlockInvalid:
    return BlockTransactionInvalid(
        height=height,
        reason=error.code,
        index=index,
        txid=checked.txid.hex(),
        cause=str(error),
    )


def reward(
    state: State,
    receipts: Sequence[Receipt],
    context: Context,
    proposer: bytes | None,
    coinbase: tuple[bytes, Coinbase] | None,
) -> int:
    """Credit fees and subsidy, or check and pay the coinbase; the fees that were paid."""
    fees = sum(receipt.fee for receipt in receipts)
    created = subsidy(context.height, context.parameters)
    if proposer is not None:
        if fees + created:
            state.add(balance_key(proposer, NATIVE), fees + created)
        if created:
            _change_native_supply(state, created)
        return fees
    assert coinbase is not None, "a block without proposer pays by its coinbase"
    txid, parsed = coinbase
    if parsed.height != context.height:
        raise BlockInvalid(height=context.height, reason=f"coinbase says {parsed.height} (BIP-34)")
    claimed = sum(output.amount for output in parsed.outputs)
    if claimed > fees + created:
        raise BlockInvalid(
            height=context.height, reason=f"coinbase claims {claimed}, {fees + created} are due"
        )
    for index, output in enumerate(parsed.outputs):
        if output.address is not None and output.amount:
            coin = Coin(output.address, output.amount, context.height, coinbase=True)
            state.put(coin_key(txid, index), coin.encode())
    if claimed != fees:  # what is not claimed counts as burnt
        _change_native_supply(state, claimed - fees)
    return fees


def _change_native_supply(state: State, change: int) -> None:
    supply = state.add(supply_key(NATIVE), change)
    assert supply <= AMOUNT_MAX, "the genesis bounds what all subsidies together create"


def apply_genesis(state: State, genesis: Genesis) -> Executed:
    """Make the rows of block 0 on an empty state."""
    state.begin()
    parse = genesis.addresses.parse
    for asset in genesis.assets:
        row = Asset(parse(asset.issuer), asset.mintable)
        state.put(asset_key(asset.symbol), row.encode())
    for index, entry in enumerate(genesis.allocations):
        address, units = parse(entry.address), parse_amount(entry.amount)
        if entry.coin:
            coin = Coin(address, units, 0, coinbase=False)
            state.put(coin_key(GENESIS_COIN_TXID, index), coin.encode())
        else:
            state.add(balance_key(address, entry.asset), units)
        state.add(supply_key(entry.asset), units)
    for market in genesis.markets:
        state.books.list_market(market.market(genesis.addresses))
    delta = state.seal()
    return Executed(delta, next_root(ZERO_HASH, delta.writes), (), 0)


def genesis_info(genesis: Genesis, root: bytes) -> ParentInfo:
    """Block 0 as the parent of block 1."""
    return ParentInfo(genesis.hash, 0, genesis.time_ms, 0, root, (genesis.time_ms // 1000,))
