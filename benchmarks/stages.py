"""What one committed transfer costs a node, stage by stage: real code, one thread, CPU time.

    python benchmarks/stages.py

Every stage runs over a whole batch between two readings of the process's CPU clock, so that the
clock costs nothing beside it. Two nodes' worth of parts are driven by hand: one builds each block,
the other rebuilds it from its pool. What binds the stages together in a node (event loop, sockets,
consensus messages) is in the difference to `throughput.py`.
"""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from common import Table, output_options

from chaind.cli.chains import development_genesis
from chaind.cli.daemon import DATABASE_CACHE_BYTES, GC_THRESHOLDS, WRITE_BUFFER_BYTES
from chaind.cli.load_orders import Orders, Plan
from chaind.ledger.checks import check_transaction, verify_signatures
from chaind.ledger.execute import check_on_state
from chaind.ledger.journal import FinalState
from chaind.ledger.keys import decode_units
from chaind.mempool.pool import Pool, PoolLimits
from chaind.node.chain import Body, Candidate, Chain
from chaind.node.recovery import open_disk
from chaind.node.replay import open_state
from chaind.node.tracker import Tracker
from chaind.primitives.address import key_address
from chaind.primitives.amounts import format_amount
from chaind.primitives.block import Block
from chaind.primitives.genesis import Allocation, Genesis, Validator
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import Transaction
from chaind.storage.chain_store import FinalBlock
from chaind.storage.files import OsFiles
from chaind.storage.indexes import block_rows
from chaind.storage.kv import LevelStore

VALIDATOR = SecretKey(b"\x07" * 32)
BUDGET_US = 30  # the design's, aim 20
WARM_BLOCKS = 3
STAGES = {
    "decode": "bytes to a transaction with its two ids",
    "check": "every rule that needs no state",
    "signature": "one secp256k1 verification",
    "admit": "rules on the final state, into the pool",
    "journal": "append and follow, one sync a batch",
    "build": "select, execute, root, assemble",
    "rebuild": "from the pool, Merkle root checked",
    "execute": "on the journaled state, root",
    "body log": "encode and append, one sync a block",
    "finalise": "state, index and block rows, one synced batch",
    "index rows": "part of finalise, making them again",
    "settle": "chain, pool and tracker forget",
}
SHARED = ("decode", "check", "admit", "body log", "finalise", "settle")
SUMS = {
    "one validator": (*SHARED, "journal", "build"),
    "a follower of the leader": (*SHARED, "rebuild", "execute"),
}


class Clock:
    """CPU of the process by stage: threads that LevelDB compacts on count too."""

    def __init__(self) -> None:
        self._spent_ns: dict[str, int] = {}
        self._transfers: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str, transfers: int) -> Iterator[None]:
        """Everything inside belongs to this stage, and is for so many transfers."""
        begun_ns = time.process_time_ns()
        yield
        spent_ns = time.process_time_ns() - begun_ns
        self._spent_ns[name] = self._spent_ns.get(name, 0) + spent_ns
        self._transfers[name] = self._transfers.get(name, 0) + transfers

    def clear(self) -> None:
        """Forget what was spent on warming up."""
        self._spent_ns.clear()
        self._transfers.clear()

    def us(self, name: str) -> float:
        """Microseconds of a stage per transfer."""
        return self._spent_ns[name] / self._transfers[name] / 1000


class Parts:
    """What a node holds, without loop and network."""

    def __init__(self, directory: Path, genesis: Genesis, clock: Clock) -> None:
        directory.mkdir()
        self.genesis = genesis
        self.clock = clock
        database = LevelStore.open(
            directory / "db",
            cache_bytes=DATABASE_CACHE_BYTES,
            write_buffer_bytes=WRITE_BUFFER_BYTES,
        )
        self.disk = open_disk(OsFiles(), directory, database, genesis)
        self.pool = Pool(PoolLimits(), genesis.native_symbol)
        self.tracker = Tracker(self.disk.journal)
        leader = key_address(VALIDATOR.public)
        state, tip = open_state(self.disk.store, genesis), self.disk.store.tip
        self.chain = Chain(genesis, state, self.pool, tip, lambda _view: leader)

    def take_in(self, raws: Sequence[bytes]) -> None:
        """A client's batch: up to the journal's sync."""
        stage, count = self.clock.stage, len(raws)
        genesis, pool = self.genesis, self.pool
        prefix, final = genesis.chain_prefix, FinalState(self.chain.state)
        with stage("decode", count):
            decoded = [Transaction.decode(raw) for raw in raws]
        with stage("check", count):
            taken = [check_transaction(each, genesis.parameters, prefix) for each in decoded]
        with stage("signature", count):
            for checked in taken:
                verify_signatures(checked)
        now_ms = time.time_ns() // 1_000_000
        with stage("admit", count):
            context = self.chain.final_context()
            for checked in taken:
                receipt = check_on_state(final, checked, context)
                pool.add(receipt, now_ms, lambda row: decode_units(final.get(row)))
        with stage("journal", count):
            self.tracker.accept(taken)
            self.disk.journal.sync()

    def build(self, view: int) -> Candidate:
        """The leader's part."""
        with self.clock.stage("build", len(self.pool)):
            now_ms = time.time_ns() // 1_000_000
            candidate = self.chain.build(self.chain.final.hash, view, now_ms)
        assert candidate is not None, "the parent is the final tip"
        return candidate

    def rebuild(self, block: Block) -> Candidate:
        """The others' part."""
        wtxids = [each.wtxid for each in block.transactions]
        with self.clock.stage("rebuild", len(wtxids)):
            held = tuple(each for each in map(self.pool.by_wtxid, wtxids) if each is not None)
            transactions = [each.transaction for each in held]
            again = Block.rebuild(
                block.header_bytes, block.coinbase_bytes, block.commitment_bytes, transactions
            )
            self.chain.add(Body(again, held))
        with self.clock.stage("execute", len(wtxids)):
            candidate = self.chain.execute(again.hash)
        assert candidate.error is None, candidate.error
        return candidate

    def finalise(self, candidate: Candidate) -> None:
        """Durable, then forgotten where it waited."""
        stage, store = self.clock.stage, self.disk.store
        block, executed = candidate.body.block, candidate.executed
        count = len(block.transactions)
        assert executed is not None
        with stage("body log", count):
            position = store.bodies.append(block.encode())
            store.bodies.sync()
        path = self.chain.path_to(block.hash)
        self.chain.promise(path)
        writes, receipts = executed.delta.writes, executed.receipts
        final = FinalBlock(block, position, executed.root, writes, receipts, None, executed.fees)
        with stage("finalise", count):
            store.write([final])
        time_ms = block.commitment.time_ms
        assert time_ms is not None
        with stage("settle", count):
            self.chain.settle(path)
            included = [receipt.checked for receipt in receipts]
            self.pool.settle(included, (key for key, _ in writes), time_ms)
            self.tracker.settle(included, block.height, time_ms)
        with stage("index rows", count):
            for _ in block_rows(block.height, time_ms, receipts):
                pass


def make_chain(accounts: int, total: int, batch: int) -> Orders:
    """Signed orders of a chain whose genesis holds their accounts."""
    validator = Validator(public_key=VALIDATOR.public.hex(), name="v")
    bare = development_genesis([validator], time_ms=time.time_ns() // 1_000_000 - 1_000)
    plan = Plan(bare.to_json(), accounts, total, 0.0, batch, msgpack=True, single=False, seed=1)
    draft = Orders(plan)
    allocations = tuple(
        Allocation(address=bare.addresses.show(output.address), amount=format_amount(output.amount))
        for output in draft.account_outputs()
    )
    genesis = msgspec.structs.replace(bare, allocations=allocations)
    return Orders(plan._replace(genesis_json=genesis.to_json()))


@click.command()
@click.option("--batch", type=int, default=1_000, show_default=True, help="Transfers a block.")
@click.option("--blocks", type=int, default=40, show_default=True)
@click.option("--accounts", type=int, default=10_000, show_default=True)
@output_options
def main(batch: int, blocks: int, accounts: int, as_json: bool, record: bool) -> None:
    """CPU per committed transfer by stage."""
    table = Table("stages", "Node CPU per committed transfer, by stage")
    gc.set_threshold(*GC_THRESHOLDS)  # as a node does
    clock = Clock()
    orders = make_chain(accounts, batch * (blocks + WARM_BLOCKS), batch)
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as directory:
        leader = Parts(Path(directory, "leader"), orders.genesis, clock)
        other = Parts(Path(directory, "other"), orders.genesis, clock)
        for view in range(1, blocks + WARM_BLOCKS + 1):
            if view == WARM_BLOCKS + 1:
                clock.clear()
            raws = msgspec.msgpack.decode(
                b"\xdd" + batch.to_bytes(4, "big") + orders.batch(view - 1).body, type=list[bytes]
            )
            for parts in (leader, other):
                parts.take_in(raws)
            built = leader.build(view)
            assert len(built.body.checked) == batch, "the block holds the whole batch"
            leader.finalise(built)
            other.finalise(other.rebuild(built.body.block))
        assert leader.disk.store.tip == other.disk.store.tip, "both made the same chain"
        leader.disk.close()
        other.disk.close()
    for name, words in STAGES.items():
        table.add(f"{name}: {words}", clock.us(name), "µs")
    for name, stages in SUMS.items():
        budget = f"≤ {BUDGET_US}"
        table.add(f"sum without signature, {name}", sum(map(clock.us, stages)), "µs", budget)
    table.note(f"{blocks} blocks of {batch:,} transfers between {accounts:,} accounts.")
    table.note("The event loop, sockets, the HTTP door and votes are not in it: see throughput.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
