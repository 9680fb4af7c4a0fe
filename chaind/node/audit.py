"""An audit: final blocks replayed from genesis, and what a ledger must always hold checked on them.

Law: nothing that a node worked out is believed. Blocks are executed into a store of the auditor's
own, every signature and certificate is verified, sums are kept apart from execution; what the
node says is then compared with that, row by row. The five invariants:

    conservation   per asset: coins + balances + reserves of open orders = supply
                   = genesis + subsidies + issued − burnt
    bounds         no amount is negative or beyond 2^63−1
    replay         state, indexes and roots are those of a replay from genesis, byte for byte
    once           one effect per lease, one spend per coin, one final block per height
    signatures     of every transaction; certificates carry a quorum's and cover the tip
    work           on chains of miners, instead of certificates: every header did it, with the
                   bits and in the time that its chain prescribes
"""

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final

import msgspec

from chaind.consensus.pow.headers import HeaderChain
from chaind.consensus.quorums import Quorums
from chaind.ledger.block import Executed
from chaind.ledger.checks import Checked, verify_signatures
from chaind.ledger.errors import REFUSALS
from chaind.network.messages import MessageOutOfPlace
from chaind.node.header_chain import first_headers
from chaind.node.replay import Replay, begin_store
from chaind.node.signatures import SignatureChecker
from chaind.node.tally import Holdings, Tally
from chaind.primitives.block import Block
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import Certificate, CertificateKind
from chaind.storage.chain_store import ChainStore
from chaind.storage.compare import Comparison, Difference
from chaind.storage.kv import KeyValue
from chaind.storage.log import AppendLog
from chaind.storage.schema import OUTCOME, STATE, TRANSACTION
from chaind.storage.segment import Position

VIOLATIONS_MAX: Final = 20  # the first ones tell what is wrong; a broken database has millions
CHUNK: Final = 64  # transactions per piece of work: a few milliseconds of verification
CHUNKS_WAITING_MAX: Final = 256  # bounds the blocks that signature checks keep in memory
FINAL_KINDS: Final = (CertificateKind.FINAL, CertificateKind.FAST)


class Violation(msgspec.Struct, frozen=True):
    """One promise that does not hold, named as in the module's law."""

    invariant: str
    height: int | None
    what: str


class Report(msgspec.Struct, kw_only=True):
    """What an audit counted. `supply` and hashes are in their outward forms' base: units, hex.

    `unchecked`, of a home whose blocks are mined: those above the final one, of all branches, which
    may be reorganised away.
    """

    chain: str = ""
    height: int = 0
    hash: str = ""
    blocks: int = 0
    unchecked: int | None = None
    transactions: int = 0
    signatures: int = 0
    certificates: int = 0
    uncertified: int = 0  # blocks that a later block's certificate covers
    accounts: int = 0
    balances: int = 0
    orders: int = 0
    coins: int = 0
    coins_spent: int = 0
    leases: int = 0
    supply: dict[str, int] = {}
    rows: dict[str, int] = {}
    records: int = 0
    samples: int = 0
    seconds: float = 0.0
    violations: list[Violation] = []

    @property
    def consistent(self) -> bool:
        """Whether every promise held."""
        return not self.violations


class Auditor:
    """Give it all final blocks in order by `add`, then `finish`. A context manager: owns threads.

    `scratch` is an empty database of its own; `bodies` the log that positions refer to.
    """

    def __init__(
        self, genesis: Genesis, scratch: KeyValue, bodies: AppendLog, threads: int
    ) -> None:
        self.genesis = genesis
        self.scratch = scratch
        self.store: ChainStore = begin_store(scratch, bodies, genesis)
        self.report = Report(chain=display_hash(genesis.hash))
        self._replay = Replay(genesis, self.store)
        self._tally = Tally(genesis)
        self._checker: SignatureChecker | None = None
        self._headers: HeaderChain | None = None
        if genesis.mode == "pow":
            self._headers = first_headers(genesis)
        else:
            weights = [validator.weight for validator in genesis.validators]
            keys = [validator.key for validator in genesis.validators]
            self._checker = SignatureChecker(genesis.hash, keys, Quorums(weights))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="audit")
        self._waiting: deque[Future[list[tuple[int, str]]]] = deque()
        self._certified = 0  # height up to which certificates cover the chain
        self._started_s = time.monotonic()

    def __enter__(self) -> "Auditor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def height(self) -> int:
        """Of the newest block that was replayed."""
        return self._replay.tip.height

    @property
    def supply(self) -> dict[str, int]:
        """What was issued less what was burnt, by asset, "" the native one."""
        return self._tally.supply

    def violation(self, invariant: str, height: int | None, what: str) -> None:
        """Note what does not hold; beyond a few the rest is only noise."""
        if len(self.report.violations) < VIOLATIONS_MAX:
            self.report.violations.append(Violation(invariant, height, what))

    def add(self, raw: bytes, position: Position, certificate: Certificate | None) -> bool:
        """Replay the next block; False where the chain breaks here and nothing can follow."""
        height, parent = self.height + 1, self._replay.tip
        try:
            block = Block.decode(raw)
            checked = self._replay.check(block)
            for txid in [item.txid for item in checked if self.store.location(item.txid)]:
                self.violation("once", height, f"transaction {txid.hex()} applied before")
            executed = self._replay.apply(block, checked, position, certificate)
        except REFUSALS as error:
            self.violation("replay", height, f"does not execute: {error}")
            return False
        for what in self._tally.block(block, parent.time_ms):
            self.violation("once", height, what)
        self._count(block, executed)
        if self._headers is not None:
            self._work(self._headers, height, block)
        if certificate is not None:
            self._certificate(height, block, certificate)
        self._verify(height, checked)
        return True

    def finish(self, holdings: Holdings) -> Report:
        """Wait for the signatures, hold the rows that were counted against the sums, report."""
        while self._waiting:
            self._collect()
        report, tip = self.report, self._replay.tip
        for what in holdings.against(self._tally):
            self.violation("conservation", tip.height, what)
        if self._checker is not None and self._certified < tip.height:
            what = f"no certificate covers blocks {self._certified + 1} to {tip.height}"
            self.violation("signatures", tip.height, what)
        report.height, report.hash = tip.height, display_hash(tip.hash)
        report.accounts, report.balances = holdings.accounts, holdings.balances
        report.orders = holdings.orders
        report.coins, report.coins_spent = len(holdings.coins), self._tally.coins_spent
        report.leases = self._tally.leases_total
        symbol = self.genesis.native_symbol
        report.supply = {asset or symbol: units for asset, units in self._tally.supply.items()}
        report.seconds = time.monotonic() - self._started_s
        return report

    def _count(self, block: Block, executed: Executed) -> None:
        report = self.report
        report.blocks += 1
        report.transactions += len(block.transactions)
        report.signatures += sum(
            len(demand.signatures)
            for receipt in executed.receipts
            for demand in receipt.checked.demands
        )

    def _work(self, headers: HeaderChain, height: int, block: Block) -> None:
        """A header that breaks a rule is left out, so that all after it are told of too."""
        try:
            headers.feed(block.header_bytes)
        except ChaindError as error:
            self.violation("work", height, str(error))

    def _certificate(self, height: int, block: Block, certificate: Certificate) -> None:
        """One that is final, of this block in its view, by a quorum that signed it."""
        self.report.certificates += 1
        named = (certificate.block, certificate.view)
        if certificate.kind not in FINAL_KINDS or named != (block.hash, block.commitment.view):
            kind = certificate.kind.name
            self.violation("signatures", height, f"its {kind} certificate is not of this block")
            return
        try:
            self._check(certificate)
        except ChaindError as error:
            self.violation("signatures", height, f"its certificate does not verify: {error}")
            return
        self.report.uncertified += height - self._certified - 1
        self._certified = height

    def _check(self, certificate: Certificate) -> None:
        if self._checker is None:
            raise MessageOutOfPlace(name="certificate", mode="pow")
        self._checker.check_certificate(certificate)

    def _verify(self, height: int, checked: tuple[Checked, ...]) -> None:
        for start in range(0, len(checked), CHUNK):
            if len(self._waiting) >= CHUNKS_WAITING_MAX:
                self._collect()
            work = checked[start : start + CHUNK]
            self._waiting.append(self._pool.submit(_bad_signatures, height, work))

    def _collect(self) -> None:
        for height, what in self._waiting.popleft().result():
            self.violation("signatures", height, what)

    def conflicting(self, certificate: Certificate) -> None:
        """A certificate from anywhere: it must not make a block final beside the chain."""
        if certificate.kind not in FINAL_KINDS or certificate.view > self._replay.tip.view:
            return
        assert certificate.block is not None, "final kinds name a block"
        if self.store.height_of(certificate.block) is not None:
            return
        try:
            self._check(certificate)
        except ChaindError:
            return  # proves nothing
        shown = display_hash(certificate.block)
        self.violation("once", None, f"block {shown} of view {certificate.view} is final too")


def count_state(auditor: Auditor, database: KeyValue) -> Holdings:
    """Add up every state row of a database; rows out of bounds are violations."""
    holdings = Holdings(auditor.genesis.native_symbol)
    for key, value in database.scan(STATE, bytes([STATE[0] + 1])):
        wrong = holdings.row(key[1:], value)
        if wrong is not None:
            auditor.violation("bounds", auditor.height, f"row {key.hex()}: {wrong}")
    return holdings


def compare_rows(auditor: Auditor, database: KeyValue) -> None:
    """Every row of a node's database against the replayed ones; outcomes against final ids."""
    comparison = Comparison(database, auditor.scratch)
    after = bytes([OUTCOME[0] + 1])
    for start, stop in ((b"", OUTCOME), (after, None)):
        for difference in comparison.differences(start, stop):
            auditor.violation("replay", auditor.height, _describe(difference))
            if len(auditor.report.violations) >= VIOLATIONS_MAX:
                break
    for key, _ in database.scan(OUTCOME, after):
        comparison.rows[OUTCOME] = comparison.rows.get(OUTCOME, 0) + 1
        if auditor.scratch.get(TRANSACTION + key[1:]) is not None:
            what = f"transaction {key[1:].hex()} is final and yet told to have ended otherwise"
            auditor.violation("once", None, what)
    rows = sorted(comparison.rows.items())
    auditor.report.rows = {table.decode("ascii", "replace"): count for table, count in rows}


def check_records(auditor: Auditor, certificates: Iterable[Certificate]) -> None:
    """Certificates that a node keeps beside its database: none may contradict the chain."""
    for certificate in certificates:
        auditor.report.records += 1
        auditor.conflicting(certificate)


def _bad_signatures(height: int, checked: tuple[Checked, ...]) -> list[tuple[int, str]]:
    found = []
    for item in checked:
        try:
            verify_signatures(item)
        except ChaindError as error:
            found.append((height, f"transaction {item.txid.hex()}: {error}"))
    return found


def _describe(difference: Difference) -> str:
    def shown(value: bytes | None) -> str:
        return "nothing" if value is None else value.hex()[:96]

    key = f"{chr(difference.key[0])}:{difference.key[1:].hex()}"
    return f"row {key} holds {shown(difference.ours)}, the replay {shown(difference.theirs)}"
