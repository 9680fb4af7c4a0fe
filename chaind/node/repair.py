"""What becomes of damage to a node's own files, when it starts and while it runs.

    damaged or missing           copy at         what happens
    database                     the body log    set aside, made again by replaying final blocks
    the body of a final block    peers           never served; fetched again (`node.healer`)
    vote log of a full node      peers           set aside
    vote log of a validator      nowhere         the node stops, or observes: it must not vote
    intake journal               nowhere, surely the node stops: an accepted payment could be lost
    keys, genesis                its owner       the node stops

Law: nothing is deleted; what is damaged keeps its bytes under another name. A database is never
patched: it is the body log rolled forward from its own tip, and where there is none, from genesis.
So a crash while repairing is repaired by the next start.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import structlog

from chaind.consensus.quorums import Quorums
from chaind.ledger.errors import REFUSALS
from chaind.node.chain import Diverged
from chaind.node.recovery import Disk, open_disk, stored_votes
from chaind.node.replay import Replay
from chaind.node.signatures import SignatureChecker
from chaind.primitives.block import Block
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import Certificate, CertificateKind, certificate_decoder
from chaind.storage.chain_store import (
    ChainStore,
    WrongDirectory,
    header_hash,
    is_block,
    parent_hash,
)
from chaind.storage.errors import FileMissing, LogCorrupt, StoreCorrupt
from chaind.storage.files import Files, set_aside
from chaind.storage.kv import KeyValue
from chaind.storage.log import SYSTEM_MAKING, SegmentMaking
from chaind.storage.segment import Position

DATABASE = "db"
FINAL_KINDS = (CertificateKind.FINAL, CertificateKind.FAST)
PROGRESS_BLOCKS = 10_000  # between two lines of the log: some ten seconds of small blocks

log = structlog.get_logger("chaind.repair")


def open_and_heal(
    files: Files,
    directory: Path,
    genesis: Genesis,
    open_database: Callable[[Path], KeyValue],
    *,
    votes: bool,
    making: SegmentMaking = SYSTEM_MAKING,
) -> Disk:
    """Everything durable of a node, healed where a copy exists; `votes`: it is a validator.

    Raises the `LocalFault` of what cannot be healed here.
    """
    try:
        return _open(files, directory, genesis, open_database, votes=votes, making=making)
    except (StoreCorrupt, FileMissing) as error:
        if isinstance(error, FileMissing) and not _names(error, directory / DATABASE):
            raise
        log.error("database_damaged", error=str(error))
    discard_database(files, directory)
    return _open(files, directory, genesis, open_database, votes=votes, making=making)


def _names(error: FileMissing, path: Path) -> bool:
    return Path(str(error.values["path"])).is_relative_to(path)


def _open(
    files: Files,
    directory: Path,
    genesis: Genesis,
    open_database: Callable[[Path], KeyValue],
    *,
    votes: bool,
    making: SegmentMaking,
) -> Disk:
    """As the disk is now; everything is closed where this raises."""
    database = open_database(directory / DATABASE)
    try:
        disk = _open_logs(files, directory, database, genesis, votes=votes, making=making)
    except BaseException:
        database.close()
        raise
    try:
        roll_forward(disk, genesis)
    except BaseException:
        disk.close()
        raise
    return disk


def discard_database(files: Files, directory: Path) -> None:
    """Set a closed database aside that was found damaged: the next start makes it again."""
    path = directory / DATABASE
    if path.exists():
        log.error("database_set_aside", kept=str(set_aside(files, path)))


def _open_logs(
    files: Files,
    directory: Path,
    database: KeyValue,
    genesis: Genesis,
    *,
    votes: bool,
    making: SegmentMaking,
) -> Disk:
    try:
        return open_disk(files, directory, database, genesis, making)
    except LogCorrupt as error:
        path = Path(str(error.values["path"]))
        if votes or not path.name.startswith("votes-"):
            raise
        log.error("vote_log_set_aside", error=str(error))
        for name in files.list(directory):
            if name.startswith("votes-") and name.endswith(".log"):
                set_aside(files, directory / name)
        return open_disk(files, directory, database, genesis, making)


class _Held(NamedTuple):
    """A block of the body log."""

    parent: bytes
    position: Position


def roll_forward(disk: Disk, genesis: Genesis) -> int:
    """Bring the database up to the highest certified block that the logs lead to; how many blocks.

    Nothing to do after an orderly end; a few blocks after a crash of the machine; all of them
    where the database was lost. Raises `Diverged`, or `WrongDirectory` where the blocks are those
    of another chain.
    """
    store = disk.store
    if genesis.mode == "pow":  # nothing proves a block final: the heaviest chain is found anew
        return 0
    held: dict[bytes, _Held] = {}
    proofs: dict[bytes, Certificate] = {}
    for position, raw in store.records_above_tip():
        if is_block(raw):
            held[header_hash(raw)] = _Held(parent_hash(raw), position)
        else:
            _note(proofs, certificate_decoder.decode(raw))
    _refuse_foreign(store, held, genesis)
    for _, record in stored_votes(disk.votes):
        if isinstance(record, Certificate):
            _note(proofs, record)
    checker = SignatureChecker(
        genesis.hash,
        [validator.key for validator in genesis.validators],
        Quorums([validator.weight for validator in genesis.validators]),
    )
    path = _certified_path(store.tip.hash, held, proofs, checker)
    if path:
        _apply(store, genesis, path, held, proofs, checker)
    return len(path)


def _note(proofs: dict[bytes, Certificate], certificate: Certificate) -> None:
    if certificate.kind in FINAL_KINDS and certificate.block is not None:
        proofs[certificate.block] = certificate


def _refuse_foreign(store: ChainStore, held: dict[bytes, _Held], genesis: Genesis) -> None:
    """A database that begins anew beside blocks of another chain would hide a mistake."""
    if store.tip.height or not held or any(one.parent == genesis.hash for one in held.values()):
        return
    for one in held.values():
        block = Block.decode(store.bodies.read(one.position))
        if block.height == 1:
            raise WrongDirectory(
                found=f"blocks of chain {block.parent.hex()}", wanted=f"chain {genesis.hash.hex()}"
            )


def _certified_path(
    tip: bytes,
    held: dict[bytes, _Held],
    proofs: dict[bytes, Certificate],
    checker: SignatureChecker,
) -> list[bytes]:
    """Hashes of the blocks above `tip` up to the highest one that is proven final."""
    children: dict[bytes, list[bytes]] = {}
    for block_hash, one in held.items():
        children.setdefault(one.parent, []).append(block_hash)
    above: set[bytes] = set()
    reached = [tip]
    while reached:
        found = children.get(reached.pop(), ())
        above.update(found)
        reached += found
    reachable = (proof for block_hash, proof in proofs.items() if block_hash in above)
    for proof in sorted(reachable, key=lambda one: one.view, reverse=True):
        if _valid(proof, checker):
            path = []
            at = proof.block
            while at is not None and at != tip:
                path.append(at)
                at = held[at].parent
            return path[::-1]
    return []


def _valid(certificate: Certificate, checker: SignatureChecker) -> bool:
    try:
        checker.check_certificate(certificate)
    except ChaindError:
        return False
    return True


def _apply(
    store: ChainStore,
    genesis: Genesis,
    path: Iterable[bytes],
    held: dict[bytes, _Held],
    proofs: dict[bytes, Certificate],
    checker: SignatureChecker,
) -> None:
    replay = Replay(genesis, store)
    *_, last = path
    log.info("rolling_forward", height=store.tip.height, blocks_in_log=len(held))
    for block_hash in path:
        position = held[block_hash].position
        block = Block.decode(store.bodies.read(position))
        proof = proofs.get(block_hash)
        if proof is not None and not _valid(proof, checker):
            proof = None
        try:
            replay.apply(block, replay.check(block), position, proof, sync=block_hash == last)
        except REFUSALS as error:
            raise Diverged(
                height=block.height, hash=display_hash(block_hash), reason=error
            ) from error
        if block.height % PROGRESS_BLOCKS == 0:
            log.info("rolling_forward", height=block.height)
    log.info("rolled_forward", height=store.tip.height)
