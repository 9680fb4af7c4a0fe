"""The dear invariants, at the end of a run: money, replay, and every promise once more."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chaind.ledger.checks import Checked
from chaind.ledger.errors import REFUSALS
from chaind.ledger.execute import check_on_state
from chaind.ledger.journal import FinalState
from chaind.ledger.keys import BOOKS_DIGEST
from chaind.market.exchange import Exchange
from chaind.market.rows import MARKET, ORDER
from chaind.node.node import Node
from chaind.node.queries import TransactionUnknown
from chaind.node.replay import Replay, begin_store
from chaind.node.tally import Holdings, Tally
from chaind.node.tracker import lost_for_ever
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import ZERO_HASH
from chaind.primitives.orders import BUY, SELL
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.disk import CrashDisk
from chaind.simulation.program import Program
from chaind.simulation.world import World
from chaind.storage.chain_store import ChainStore
from chaind.storage.kv import MemoryStore
from chaind.storage.log import AppendLog
from chaind.storage.segment import Position


class Replayed(NamedTuple):
    """Final blocks executed once more: where that has come to, and its sums."""

    replay: Replay
    store: ChainStore
    tally: Tally


class Audit:
    """Holds nodes against the blocks that they made final."""

    under_way_max = 12  # blocks of the views in hand, and what liars propose there

    def __init__(self, world: World, genesis: Genesis, checks: Checks, promises: Promises) -> None:
        self._world = world
        self._genesis = genesis
        self._checks = checks
        self._promises = promises

    def all(self, programs: Sequence[Program]) -> None:
        """Everything, for all of these programs, which run."""
        nodes = [
            (node.chain.final.height, program.machine.name, node)
            for program in programs
            if (node := program.node) is not None
        ]
        self._states(sorted(nodes, key=lambda item: item[:2]))
        for _, name, node in nodes:
            for txid, accepted in self._promises.accepted.items():
                if name in accepted.machines:
                    self._accepted(name, node, txid)
            self._no_bans(name, node, programs)
            self._nothing_left(name, node)
            self._books(name, node)
        self._promises.all_in_the_end()

    def _nothing_left(self, name: str, node: Node) -> None:
        """What was wanted is there or given up: memory does not grow with every fault."""
        left = len(node.bodies._wants) + len(node.bodies._compact) + len(node.chain._candidates)
        if left > self.under_way_max:
            self._world.fail(f"{name} still holds or wants {left} blocks that are not final")

    def _books(self, name: str, node: Node) -> None:
        """Order books are what the rows at the head say, however they came to be so."""
        state, store = node.chain.state, node._disk.store
        keys = {key for table in (MARKET, ORDER) for key, _ in store.state_rows(table)}
        keys |= {key for key in state.changed_since_final() if key[:1] in (MARKET, ORDER)}
        found = ((key, state.get(key)) for key in sorted(keys))
        rows = [(key, value) for key, value in found if value is not None]
        limits = self._genesis.parameters.order_limits
        digest = state.get(BOOKS_DIGEST) or ZERO_HASH
        fresh = Exchange.load(rows, digest, limits)
        if list(state.books.rows()) != rows:
            self._world.fail(f"{name}: its order books are not those of its rows")
        if state.books.journal.digest != digest:
            self._world.fail(f"{name}: the digest of its order books is not that of its rows")
        for market in fresh.markets():
            for side in (BUY, SELL):
                there = state.books.depth(market.symbol, side, sys.maxsize)
                if there != fresh.depth(market.symbol, side, sys.maxsize):
                    self._world.fail(f"{name}: {market.symbol} has other levels than its rows make")

    def _no_bans(self, name: str, node: Node, programs: Sequence[Program]) -> None:
        """Whatever happened on the way, honest nodes do not think ill of each other."""
        now_ms = node.clock.now_ms()
        for other in programs:
            for who in (other.node_key.node_id, other.machine.host):
                if node.network.scores.is_banned(who, now_ms=now_ms):
                    self._world.fail(f"{name} has banned {other.machine.name}, which is honest")

    def _states(self, nodes: Sequence[tuple[int, str, Node]]) -> Replayed:
        """Each node's final rows and root against a replay up to where it stands."""
        database = MemoryStore()
        bodies = AppendLog.open(
            CrashDisk(), Path("/replay"), "bodies", 1 << 30, 1 << 24, salt=bytes, lossy=True
        )
        store = begin_store(database, bodies, self._genesis)
        replay, tally = Replay(self._genesis, store), Tally(self._genesis)
        todo = iter(self._checks.blocks)
        for height, name, node in nodes:
            while replay.tip.height < height:
                self._apply(replay, tally, next(todo))
            rows = list(store.state_rows(b""))
            if node.chain.final.root != replay.tip.root:
                self._world.fail(f"{name}: the root at height {height} is not that of a replay")
            if list(node._disk.store.state_rows(b"")) != rows:
                self._world.fail(f"{name}: rows at height {height} are not those of a replay")
            holdings = Holdings(self._genesis.native_symbol)
            for key, value in rows:
                complaint = holdings.row(key, value)
                if complaint is not None:
                    self._world.fail(f"height {height}: {complaint}")
            for words in holdings.against(tally):
                self._world.fail(f"height {height}: {words}")
        return Replayed(replay, store, tally)

    def _apply(self, replay: Replay, tally: Tally, block: Block) -> None:
        for words in tally.block(block, replay.tip.time_ms):
            self._world.fail(f"block {block.height}: {words}")
        replay.apply(block, replay.check(block), Position(0, 0), None)

    def _accepted(self, name: str, node: Node, txid: bytes) -> None:
        """What a node has accepted has ended truthfully there, or can still be told to wait."""
        shown = f"{name} has accepted {txid.hex()}, and"
        try:
            info = node.queries.transaction(txid)
        except TransactionUnknown:
            self._world.fail(f"{shown} does not know it any more")
            return
        final_height = self._checks.final_txids.get(txid)
        if info.status == "final" and info.height != final_height:
            self._world.fail(f"{shown} tells height {info.height}, it is {final_height}")
        if info.status in ("rejected", "expired") and final_height is not None:
            self._world.fail(f"{shown} tells it as {info.status}: it is final at {final_height}")
        if info.status == "pending":
            checked = node.tracker.get(txid)
            assert checked is not None, "what is accepted and pending is open"
            self._pending(shown, node, checked)

    def _pending(self, shown: str, node: Node, checked: Checked) -> None:
        """Waiting is truthful only while something is in the way that can still go."""
        valid_until = checked.transaction.body.valid_until
        if valid_until is not None and node.chain.final.time_ms >= valid_until:
            self._world.fail(f"{shown} tells it as pending, after its time")
            return
        try:
            check_on_state(FinalState(node.chain.state), checked, node.chain.final_context())
        except REFUSALS as error:
            if lost_for_ever(error, checked, node.queries.is_final):
                self._world.fail(f"{shown} tells it as pending, though {error}")
            else:
                self._world.point("accepted and still waiting in the end")
            return
        self._world.fail(f"{shown} has not brought it into a block, though nothing is in the way")
