"""Single parts of a node on real storage, without network, consensus or real time.

A `World` is one node's chain, pool, tracker and store. A second one of the same genesis makes the
blocks that the first one is given. `Talk` is a network whose other side is the test.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from harness import QUICK, address, make_genesis, secret, validator_key

from chaind.consensus.core import Verdict
from chaind.consensus.quorums import Quorums
from chaind.ledger.checks import Checked, check_transaction, verify_signatures
from chaind.ledger.execute import Receipt
from chaind.mempool.pool import Pool, PoolLimits
from chaind.network.messages import Message, Proposal
from chaind.node.bodies import Bodies
from chaind.node.chain import Body, Candidate, Chain
from chaind.node.durable import GroupCommit
from chaind.node.events import Event, Events
from chaind.node.finality import Finality
from chaind.node.intake import Intake, Verifier
from chaind.node.recovery import open_disk
from chaind.node.replay import open_state
from chaind.node.rules import EPOCH, tip_info
from chaind.node.signatures import SignatureChecker
from chaind.node.tracker import Tracker
from chaind.primitives.block import Block
from chaind.primitives.errors import PeerFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import verify_packed
from chaind.primitives.transaction import Lease, Transaction
from chaind.primitives.votes import (
    Certificate,
    CertificateKind,
    Vote,
    VoteKind,
    bitmap,
    vote_digest,
)
from chaind.storage.files import OsFiles
from chaind.storage.kv import MemoryStore
from chaind.wallet.builder import build_payment

T = TypeVar("T")
START_MS = 1_700_000_000_000
_salts = count(1)
SEED_KEYS = [validator_key(index) for index in range(4)]
GENESIS = make_genesis(SEED_KEYS, START_MS, {}, QUICK, coins=[("alice", "5"), ("alice", "7")])


class ManualClock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.ms = START_MS + 1_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)


class Inline:
    """`Workers` that yield once, so that others run between, and then do the work here."""

    async def disk(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return work()

    async def verify(self, checks: Sequence[bytes]) -> bytes:
        await asyncio.sleep(0)
        return verify_packed(b"".join(checks))


class FakePeer:
    """As much of a peer as the node's parts look at."""

    def __init__(self, node_id: str, final_height: int = 0) -> None:
        self.node_id = node_id
        self.host = "127.0.0.1"
        self.final_height = final_height
        self.latency_ms: float | None = None

    def __repr__(self) -> str:
        return self.node_id


class Talk:
    """`Transport`: remembers what was sent and who was punished."""

    def __init__(self, *names: str) -> None:
        self.connected = [FakePeer(name) for name in names]
        self.sent: list[tuple[FakePeer, Message]] = []
        self.punished: list[tuple[FakePeer, PeerFault]] = []
        self.dropped: list[tuple[FakePeer, PeerFault]] = []

    def send(self, peer: Any, message: Message) -> None:
        self.sent.append((peer, message))

    def peers(self) -> list[Any]:
        return list(self.connected)

    def punish(self, peer: Any, fault: PeerFault) -> None:
        self.punished.append((peer, fault))

    def drop(self, peer: Any, fault: PeerFault) -> None:
        self.dropped.append((peer, fault))

    def take(self) -> list[tuple[FakePeer, Message]]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class World:
    """See the module. `leader(view)` is view mod 4."""

    def __init__(self, path: Path, genesis: Genesis = GENESIS, **limits: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.genesis = genesis
        self.clock = ManualClock()
        self.disk = open_disk(OsFiles(), path, MemoryStore(), genesis)
        self.store = self.disk.store
        at_head = genesis.mode == "pow"
        self.pool = Pool(PoolLimits(**limits), genesis.native_symbol, at_head=at_head)
        self.tracker = Tracker(self.disk.journal)
        self.events = Events()
        self.heard: list[Event] = []
        self.events.subscribe(self.heard.append)
        addresses = [validator.address for validator in genesis.validators]
        self.chain = Chain(
            genesis,
            open_state(self.store, genesis),
            self.pool,
            tip_info(genesis, self.store.tip, self.store),
            lambda view: addresses[view % len(addresses)],
        )
        if genesis.validators:
            self.quorums = Quorums([validator.weight for validator in genesis.validators])
            keys = [validator.key for validator in genesis.validators]
            self.checker = SignatureChecker(genesis.hash, keys, self.quorums)
        self.accepted: list[tuple[list[bytes], str | None]] = []
        self.commit = GroupCommit((self.disk.journal,), Inline())
        self.verifier = Verifier(Inline())
        self.intake = Intake(
            genesis=genesis,
            chain=self.chain,
            pool=self.pool,
            tracker=self.tracker,
            commit=self.commit,
            verifier=self.verifier,
            events=self.events,
            clock=self.clock,
            is_final=lambda txid: self.store.location(txid) is not None,
            on_accepted=lambda batch, source: self.accepted.append(
                ([checked.txid for checked in batch], source)
            ),
        )
        self.finals = 0
        self.finality = Finality(
            chain=self.chain,
            store=self.store,
            pool=self.pool,
            tracker=self.tracker,
            events=self.events,
            clock=self.clock,
            workers=Inline(),
            on_final=self._on_final,
        )

    def _on_final(self) -> None:
        self.finals += 1

    def check(self, transaction: Transaction) -> Checked:
        checked = check_transaction(transaction, self.genesis.parameters, self.genesis.chain_prefix)
        verify_signatures(checked)
        return checked

    def payment(
        self,
        source: str = "alice",
        target: str = "bob",
        units: int = 10,
        *,
        valid_ms: int = 60_000,
        lease: Lease | None = None,
        salt: bytes | None = None,
        memo: bytes = b"",
    ) -> Transaction:
        return build_payment(
            key=secret(source),
            target=address(target),
            asset="",
            units=units,
            memo=memo,
            lease=lease,
            valid_until_ms=self.clock.ms + valid_ms,
            salt=salt or next(_salts).to_bytes(8, "big"),
            chain_prefix=self.genesis.chain_prefix,
            parameters=self.genesis.parameters,
        )

    def block(
        self, view: int, *transactions: Transaction, parent: bytes | None = None
    ) -> Candidate:
        """Build a block of exactly these on a parent (default: the head), by the view's leader."""
        for transaction in transactions:
            checked = self.check(transaction)
            if self.pool.get(checked.txid) is None:
                self.pool.add(Receipt(checked, checked.fee or 0, ()), 0, lambda _row: 1 << 62)
        on = self.chain.head.hash if parent is None else parent
        candidate = self.chain.build(on, view, self.clock.now_ms())
        assert candidate is not None
        built = [checked.txid for checked in candidate.body.checked]
        assert built == [transaction.txid for transaction in transactions]
        return candidate

    def give(self, block: Block) -> Candidate:
        """Let the chain know a block, all checked."""
        checked = tuple(self.check(transaction) for transaction in block.transactions)
        return self.chain.add(Body(block, checked))

    def certificate(
        self,
        block: Block,
        kind: CertificateKind = CertificateKind.FINAL,
        voters: Sequence[int] = (0, 1, 2),
        view: int | None = None,
    ) -> Certificate:
        """Signed by these validators for real."""
        number = block.commitment.view if view is None else view
        first = VoteKind.FINALIZE if kind is CertificateKind.FINAL else VoteKind.FIRST
        digest = vote_digest(self.genesis.hash, EPOCH, number, first, block.hash)
        signatures = tuple(SEED_KEYS[voter].sign(digest) for voter in voters)
        return Certificate(EPOCH, number, kind, block.hash, bitmap(voters), b"", signatures)

    async def make_final(self, *blocks: Block) -> None:
        """Execute and deliver these, each under its own certificate."""
        runner = asyncio.create_task(self.finality.run())
        for block in blocks:
            self.give(block)
            await self.deliver(block)
        runner.cancel()

    async def deliver(self, block: Block) -> None:
        """Hand over a block that is held; returns once it is final. `finality.run` must serve."""
        before = self.finals
        self.finality.deliver(block.hash, self.certificate(block))
        await settled(lambda: self.finals > before)

    def close(self) -> None:
        self.disk.close()


def forged(block: Block, transactions: Sequence[Transaction] | None = None, **said: Any) -> Block:
    """The block with other transactions or other words in its commitment, well formed."""
    return Block.assemble(
        parent=block.parent,
        time=block.header.time,
        bits=block.header.bits,
        coinbase=block.coinbase_bytes,
        commitment=msgspec.structs.replace(block.commitment, **said),
        transactions=block.transactions if transactions is None else transactions,
    )


def bodies_of(
    world: World, talk: Talk, retry_ms: int = 400
) -> tuple[Bodies, list[tuple[bytes, Verdict]]]:
    """The bodies of a world, and the verdicts that they give."""
    verdicts: list[tuple[bytes, Verdict]] = []
    bodies = Bodies(
        genesis=world.genesis,
        chain=world.chain,
        pool=world.pool,
        verifier=world.verifier,
        transport=talk,
        clock=world.clock,
        retry_ms=retry_ms,
        height_of=world.store.height_of,
        on_verdict=lambda block_hash, verdict: verdicts.append((block_hash, verdict)),
    )
    return bodies, verdicts


def proposal_of(block: Block) -> Proposal:
    """A leader's compact block."""
    view = block.commitment.view
    digest = vote_digest(GENESIS.hash, EPOCH, view, VoteKind.FIRST, block.hash)
    leader = view % len(SEED_KEYS)
    vote = Vote(EPOCH, view, VoteKind.FIRST, block.hash, leader, SEED_KEYS[leader].sign(digest))
    return Proposal(
        block.header_bytes,
        block.coinbase_bytes,
        block.commitment_bytes,
        tuple(transaction.wtxid for transaction in block.transactions),
        0,
        (),
        vote,
    )


async def settled(condition: Callable[[], object]) -> None:
    """Let tasks run until `condition` holds; nothing here takes more than a few turns."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def turns() -> None:
    """Let tasks do all that they can without waiting: what has not come by then does not come."""
    for _ in range(200):
        await asyncio.sleep(0)
