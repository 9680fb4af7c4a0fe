"""Every final movement of money, in the order of the chain: the audit trail.

Law: nothing is stored for it. Movements are worked out from the genesis, final blocks and their
index rows, so that every node tells the same ones at the same positions, whenever it is asked.
Summed by address, asset and form they are what the addresses hold.
"""

import asyncio
import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple, get_args

from chaind.ledger.block import subsidy
from chaind.node.chain import Chain
from chaind.node.events import Event, FinalEvent
from chaind.primitives.amounts import parse_amount
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import NATIVE
from chaind.storage.chain_store import ChainStore
from chaind.storage.indexes import COUNTERPARTIES_MAX, addresses_of, paid_by_coinbase
from chaind.storage.schema import BlockRow, Location, TransactionRow

EXAMINED_MAX = 500  # movements and blocks looked at for one page: some ms of the loop

Kind = Literal["genesis", "payment", "issue", "burn", "reward", "trade"]
Held = Literal["account", "coin"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Position(NamedTuple):
    """A place in the trail: height, transaction within the block, movement within that.

    Behind its transactions stands what a block moved by itself on order books, then its reward,
    with a part for each address that a coinbase pays; block 0 has a place per allocation.
    """

    height: int
    place: int
    part: int

    def __str__(self) -> str:
        return f"{self.height}.{self.place}.{self.part}"


START = Position(0, 0, 0)


class Movement(NamedTuple):
    """What one transaction, or the block itself, changed of one holding.

    `units` are signed and all of the change; `fee` is the part of it that was the fee, where the
    account paid it. `txid` is None where no transaction moved it. `counterparties` are the other
    addresses of the transaction, at most `COUNTERPARTIES_MAX`. What an order reserves, has left
    and trades is of the kind trade.
    """

    position: Position
    time_ms: int
    kind: Kind
    txid: bytes | None
    account: bytes
    asset: str
    held: Held
    units: int
    fee: int
    counterparties: tuple[bytes, ...]
    memo: bytes


class Selection(NamedTuple):
    """Which movements are wanted; None and no kinds mean all."""

    account: bytes | None = None
    asset: str | None = None
    kinds: tuple[Kind, ...] = ()

    def admits(self, movement: Movement) -> bool:
        """Whether it is one of them."""
        return (
            self.account in (None, movement.account)
            and self.asset in (None, movement.asset)
            and (not self.kinds or movement.kind in self.kinds)
        )


EVERYTHING = Selection()


class Page(NamedTuple):
    """Movements in order, and where the next page starts. `at_tip`: nothing final lies behind."""

    movements: list[Movement]
    next: Position
    at_tip: bool


class Feed:
    """The trail of one node. `handle` is subscribed to the node's events."""

    def __init__(self, genesis: Genesis, chain: Chain, store: ChainStore) -> None:
        self._genesis = genesis
        self._chain = chain
        self._store = store
        self._proposers = {validator.address for validator in genesis.validators}
        self._waiting: set[asyncio.Future[None]] = set()
        self.released = False

    @property
    def tip(self) -> Position:
        """Where the movements of the next block will start."""
        return Position(self._chain.final.height + 1, 0, 0)

    def page(self, start: Position, selection: Selection, limit: int) -> Page:
        """At most `limit` movements from `start` on; fewer, or none, where many do not match.

        Raises `BlockDamaged`.
        """
        found: list[Movement] = []
        at = start
        for examined, (movement, following) in enumerate(self._walk(start, selection), 1):
            at = following
            if movement is not None and selection.admits(movement):
                found.append(movement)
            if len(found) >= limit or examined >= EXAMINED_MAX:
                return Page(found, at, at >= self.tip)
        return Page(found, max(at, self.tip), at_tip=True)

    def find(self, position: Position) -> Movement | None:
        """The movement at a position, if there is one."""
        found = self.page(position, EVERYTHING, 1).movements
        return found[0] if found and found[0].position == position else None

    async def beyond(self, height: int, timeout_s: float | None = None) -> None:
        """Return when a block above `height` is final, at the bound, or when the node ends."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while self._chain.final.height <= height and not self.released:
                    future: asyncio.Future[None] = loop.create_future()
                    self._waiting.add(future)
                    future.add_done_callback(self._waiting.discard)
                    await future
        except TimeoutError:
            return

    def handle(self, event: Event) -> None:
        """Wake whoever waits for a block."""
        if isinstance(event, FinalEvent):
            self._wake()

    def release(self) -> None:
        """The node ends: nobody waits any longer, and nothing can be read."""
        self.released = True
        self._wake()

    def _wake(self) -> None:
        for future in tuple(self._waiting):
            if not future.done():
                future.set_result(None)

    def _walk(
        self, start: Position, selection: Selection
    ) -> Iterator[tuple[Movement | None, Position]]:
        """Movements from `start` to the tip, each with the position behind it.

        No movement comes with the end of a block, so that whoever counts gets on.
        """
        height, place, part = start
        if height == 0:
            yield from self._of_genesis(start)
            height, place, part = 1, 0, 0
        account = selection.account
        if account is not None and account not in self._proposers:
            yield from self._of_account(account, Position(height, place, part))
            return
        for level in range(height, self._chain.final.height + 1):
            yield from self._of_block(Position(level, place, part))
            place = part = 0

    def _of_genesis(self, start: Position) -> Iterator[tuple[Movement | None, Position]]:
        for place, entry in enumerate(self._genesis.allocations):
            if place >= start.place:
                movement = Movement(
                    Position(0, place, 0),
                    self._genesis.time_ms,
                    "genesis",
                    None,
                    self._genesis.addresses.parse(entry.address),
                    entry.asset,
                    "coin" if entry.coin else "account",
                    parse_amount(entry.amount),
                    0,
                    (),
                    b"",
                )
                yield movement, Position(0, place + 1, 0)
        yield None, Position(1, 0, 0)

    def _of_account(
        self, account: bytes, start: Position
    ) -> Iterator[tuple[Movement | None, Position]]:
        """By its indexes. Proposers get more than those tell."""
        yield from heapq.merge(
            self._activity_of(account, start),
            self._rewards_of(account, start),
            key=lambda found: found[1],
        )

    def _activity_of(
        self, account: bytes, start: Position
    ) -> Iterator[tuple[Movement | None, Position]]:
        """What transactions moved: of one row more than a page takes."""
        since = Location(start.height, start.place)
        for txid in self._store.activity_from(account, since, EXAMINED_MAX + 1):
            row = self._row(txid)
            if row.height > self._chain.final.height:  # on disk, and not told yet
                return
            first = start.part if (row.height, row.place) == since else 0
            yield from _followed(movements_of(txid if row.payer else None, row), first)

    def _rewards_of(
        self, account: bytes, start: Position
    ) -> Iterator[tuple[Movement | None, Position]]:
        """What coinbases paid: of one more than a page takes."""
        for height in self._store.rewarded_from(account, start.height, EXAMINED_MAX + 1):
            if height > self._chain.final.height:  # on disk, and not told yet
                return
            block, row = self._store.block(height), self._store.block_row(height)
            assert block is not None, "written with its reward"
            assert row is not None, "written with its reward"
            own = self._store.block_trades(height) if self._trades() else None
            for movement in self._rewards(block, row, row.transactions + (own is not None)):
                if movement.account == account and movement.position >= start:
                    place, part = movement.position[1:]
                    yield movement, Position(height, place, part + 1)

    def _of_block(self, start: Position) -> Iterator[tuple[Movement | None, Position]]:
        height, place, part = start
        row = self._store.block_row(height)
        assert row is not None, "every final block has one"
        own = self._store.block_trades(height) if self._trades() else None
        if row.transactions or own or subsidy(height, self._genesis.parameters):
            block = self._store.block(height)
            assert block is not None, "its row is there"
            for number in range(place, row.transactions):
                txid = block.transactions[number].txid
                yield from _followed(movements_of(txid, self._row(txid)), part)
                part = 0
            if own is not None and place <= row.transactions:
                yield from _followed(movements_of(None, own), part)
            behind = row.transactions + (own is not None)
            if place <= behind:
                first = start.part if start.place == behind else 0
                rewards = self._rewards(block, row, behind)[first:]
                for movement, following in _followed(rewards, 0):
                    is_last = movement is rewards[-1]
                    yield movement, Position(height + 1, 0, 0) if is_last else following
                if rewards:
                    return
        yield None, Position(height + 1, 0, 0)

    def _trades(self) -> bool:
        """Whether there are markets, without which no block moves anything by itself."""
        return bool(self._chain.state.books.journal.books)

    def _rewards(self, block: Block, row: BlockRow, place: int) -> list[Movement]:
        """What the proposer was credited, or the coinbase paid as coins, address by address."""
        height, proposer = block.height, block.commitment.proposer
        held: Held = "coin"
        paid = paid_by_coinbase(block.coinbase)
        if proposer is not None:
            units = self._store.reward(proposer, height)
            held, paid = "account", {proposer: units} if units else {}
        return [
            Movement(
                Position(height, place, part),
                row.time_ms,
                "reward",
                None,
                address,
                NATIVE,
                held,
                units,
                0,
                (),
                b"",
            )
            for part, (address, units) in enumerate(paid.items())
        ]

    def _row(self, txid: bytes) -> TransactionRow:
        row = self._store.transaction_row(txid)
        assert row is not None, "written with its block"
        return row


def _followed(movements: list[Movement], first: int) -> Iterator[tuple[Movement | None, Position]]:
    """Movements of one transaction from number `first` on, each with the position behind it."""
    for movement in movements[first:]:
        height, place, part = movement.position
        yield movement, Position(height, place, part + 1)


def movements_of(txid: bytes | None, row: TransactionRow) -> list[Movement]:
    """What a transaction changed: accounts first, then coins, each holding once."""
    sums: dict[tuple[Held, bytes, str], int] = {}
    for address, asset, units in row.moves:
        sums["account", address, asset] = sums.get(("account", address, asset), 0) + units
    for address, units in row.coins:
        sums["coin", address, NATIVE] = sums.get(("coin", address, NATIVE), 0) + units
    # What the payer lost most of paid the fee; nothing where another owner's money did.
    paid = [key for key in sums if key[1:] == (row.payer, NATIVE)]
    fee_of = min(paid, key=lambda key: sums[key], default=None)
    addresses = list(addresses_of(row))
    kinds = _kinds(row)
    return [
        Movement(
            Position(row.height, row.place, part),
            row.time_ms,
            "trade" if row.trades else kinds.get(asset, "payment"),
            txid,
            address,
            asset,
            held,
            units,
            row.fee if (held, address, asset) == fee_of else 0,
            tuple(islice((one for one in addresses if one != address), COUNTERPARTIES_MAX)),
            row.memo,
        )
        for part, ((held, address, asset), units) in enumerate(sums.items())
    ]


def _kinds(row: TransactionRow) -> dict[str, Kind]:
    """Assets that a transaction made more or less of, which payments never do."""
    sums: dict[str, int] = {NATIVE: row.fee}  # fees go to the proposer
    for _, asset, units in row.moves:
        sums[asset] = sums.get(asset, 0) + units
    for _, units in row.coins:
        sums[NATIVE] += units
    return {asset: "issue" if units > 0 else "burn" for asset, units in sums.items() if units}
