"""From blocks alone to a database: the final chain executed once more from where a store stands.

Takes the one road that every block takes, `execute_block`, and writes the same rows. Audits replay
into a store of their own, recovery into one that lags behind its body log. Signatures are not
verified here: whoever believes the source need not, whoever does not checks them beside this.
"""

from collections.abc import Sequence

from chaind.ledger.block import Executed, apply_genesis, reward_of
from chaind.ledger.checks import Checked, check_transaction
from chaind.ledger.journal import State, load_books
from chaind.market.exchange import Exchange
from chaind.node.rules import rules_of, tip_info
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.votes import Certificate
from chaind.storage.chain_store import ChainStore, FinalBlock
from chaind.storage.kv import KeyValue
from chaind.storage.log import AppendLog
from chaind.storage.schema import TipRow
from chaind.storage.segment import Position


class EmptyState:
    """State before the genesis."""

    def get(self, _key: bytes) -> bytes | None:
        """See `ledger.journal.Reader`."""
        return None


def genesis_of(genesis: Genesis) -> tuple[Executed, TipRow]:
    """Block 0 executed, and the tip that it makes."""
    books = Exchange(genesis.parameters.order_limits)
    executed = apply_genesis(State(EmptyState(), books=books), genesis)
    return executed, TipRow(0, genesis.hash, executed.root, genesis.time_ms, 0)


def begin_store(database: KeyValue, bodies: AppendLog, genesis: Genesis) -> ChainStore:
    """A store at block 0 in an empty database."""
    executed, tip = genesis_of(genesis)
    return ChainStore.begin(database, bodies, genesis.hash, executed.delta.writes, tip)


def open_state(store: ChainStore, genesis: Genesis) -> State:
    """The live state on what a store holds, with the books that follow from it."""
    books = load_books(store.state_rows, store, genesis.parameters.order_limits)
    return State(store, books=books)


class Replay:
    """Applies final blocks, in order, on top of `store`. Batches are unsynced: `sync` the last."""

    def __init__(self, genesis: Genesis, store: ChainStore) -> None:
        self._genesis = genesis
        self._store = store
        self._state = open_state(store, genesis)
        self._prefix = genesis.chain_prefix
        leaders = [validator.address for validator in genesis.validators]
        self._rules = rules_of(genesis, lambda view: leaders[view % len(leaders)])
        self.tip = tip_info(genesis, store.tip, store)

    def check(self, block: Block) -> tuple[Checked, ...]:
        """The block's transactions checked without state. Raises `REFUSALS`."""
        parameters = self._genesis.parameters
        self._rules.check_block(block)
        return tuple(
            check_transaction(transaction, parameters, self._prefix)
            for transaction in block.transactions
        )

    def apply(
        self,
        block: Block,
        checked: Sequence[Checked],
        position: Position,
        certificate: Certificate | None,
        *,
        sync: bool = False,
    ) -> Executed:
        """Execute one block and write its rows. Raises `REFUSALS`; then nothing has changed."""
        parent = self.tip
        self._rules.check_in_context(block, parent)
        executed = self._rules.execute(self._state, block, checked, parent)
        info = self._rules.info(block, parent, executed.root)
        final = FinalBlock(
            block,
            position,
            executed.root,
            executed.delta.writes,
            executed.receipts,
            certificate,
            reward_of(executed, block.height, self._genesis.parameters),
            info.time_ms,
            self._store.market.take(block.height, info.time_ms, executed.receipts, executed.events),
            executed.booked,
        )
        self._store.write([final], sync=sync)
        self._state.settle(executed.delta)
        self.tip = info
        return executed
