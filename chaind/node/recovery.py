"""From a data directory to a running node's parts: what is on disk, read in the right order.

Final state and tip come from the database; blocks above the tip from the body log; own votes and
certificates from the vote log; accepted transactions from the intake journal.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from chaind.consensus.core import Record
from chaind.consensus.records import decode_record
from chaind.ledger.checks import Checked, check_transaction
from chaind.node.replay import genesis_of
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import Certificate, certificate_decoder
from chaind.storage.chain_store import ChainStore, is_block
from chaind.storage.errors import LogBacklog
from chaind.storage.files import Files
from chaind.storage.kv import KeyValue
from chaind.storage.log import SYSTEM_MAKING, AppendLog, SegmentMaking
from chaind.storage.segment import Position

VOTE_SEGMENT_BYTES = 4 << 20
VOTE_RECORD_BYTES_MAX = 1 << 20  # a certificate of 4096 signatures
JOURNAL_SEGMENT_BYTES = 8 << 20

log = structlog.get_logger("chaind.recovery")


class Disk(NamedTuple):
    """Everything durable of a node."""

    store: ChainStore
    votes: AppendLog
    journal: AppendLog

    def close(self) -> None:
        """Sync and release all of it."""
        self.votes.close()
        self.journal.close()
        self.store.close()


def open_disk(
    files: Files,
    directory: Path,
    database: KeyValue,
    genesis: Genesis,
    making: SegmentMaking = SYSTEM_MAKING,
) -> Disk:
    """Open the logs of a data directory beside its database; writes block 0 on the first start."""
    executed, tip = genesis_of(genesis)
    store = ChainStore.open(
        database, files, directory, genesis.hash, executed.delta.writes, tip, making
    )
    votes = AppendLog.open(
        files,
        directory,
        "votes",
        min(VOTE_SEGMENT_BYTES, making.bytes_max),
        VOTE_RECORD_BYTES_MAX,
        salt=making.salt,
    )
    journal = AppendLog.open(
        files,
        directory,
        "intake",
        min(JOURNAL_SEGMENT_BYTES, making.bytes_max),
        genesis.parameters.transaction_bytes_max,
        salt=making.salt,
        backlog=LogBacklog,  # a client can come back; a vote or a body that is due cannot
    )
    for name, torn in (
        ("bodies", store.bodies.torn_bytes),
        ("votes", votes.torn_bytes),
        ("intake", journal.torn_bytes),
    ):
        if torn:
            log.warning("torn_tail_cut", log=name, bytes=torn)
    if store.bodies.lost_segments:  # what is missing is fetched again
        log.warning("segments_lost", log="bodies", segments=store.bodies.lost_segments)
    return Disk(store, votes, journal)


def stored_votes(votes: AppendLog) -> list[tuple[Position, Record]]:
    """The vote log, in order."""
    return [(position, decode_record(data)) for position, data in votes.replay()]


def stored_certificates(disk: Disk) -> Iterator[Certificate]:
    """Certificates of the vote log and of the body log, oldest first."""
    for _, record in stored_votes(disk.votes):
        if isinstance(record, Certificate):
            yield record
    for _, raw in disk.store.bodies.replay():
        if not is_block(raw):
            yield certificate_decoder.decode(raw)


def stored_blocks(
    store: ChainStore, genesis: Genesis
) -> list[tuple[Position, Block, tuple[Checked, ...]]]:
    """Blocks of the body log above the final tip. Their signatures were verified before."""
    prefix = genesis.chain_prefix
    return [
        (
            position,
            block,
            tuple(
                check_transaction(transaction, genesis.parameters, prefix)
                for transaction in block.transactions
            ),
        )
        for position, block in store.bodies_above_tip()
        if block.height > store.tip.height
    ]


def stored_intake(journal: AppendLog, genesis: Genesis) -> list[tuple[Position, Checked]]:
    """Transactions of the intake journal, in order; each was checked before it was written."""
    prefix = genesis.chain_prefix
    return [
        (position, check_transaction(Transaction.decode(raw), genesis.parameters, prefix))
        for position, raw in journal.replay()
    ]
