"""The keys of a home: that they are there, and that they are its own.

Law: a home keeps the public halves of the keys that it began with, beside its chain. A copy of
another node's key would make two nodes fight for one name, or vote twice under one; so a key that
is not the one of before is refused. A missing node key is harmless and made anew: it is a name
among peers and nothing else.
"""

from pathlib import Path

from chaind.network.noise import KeyPair
from chaind.node.home import Home, read_key, read_or_create_key
from chaind.node.recovery import Disk, stored_votes
from chaind.node.vote_guard import says_all, vote_log_intact
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import BadSecretKey, SecretKey
from chaind.storage.files import Files

MARK_BYTES_MAX = 128


class ValidatorKeyMissing(LocalFault):
    """The home has voted with a key that is not there any more."""

    code = "validator-key-missing"
    text = "{path} is missing, with which this node has voted before"
    advice = "Put the key back from its copy, or delete the .used beside it to go on without."
    exit_code = 78  # EX_CONFIG


class KeyMisplaced(LocalFault):
    """A sound key, of another home."""

    code = "key-misplaced"
    text = "{path} is not the key that this home began with"
    advice = "Put the right key back; if it was changed on purpose, delete the .id of it in chain/."
    exit_code = 78  # EX_CONFIG


class KeyInvalid(LocalFault):
    """32 bytes that are no secret of the curve."""

    code = "validator-key-invalid"
    text = "{path} holds no secp256k1 secret"
    advice = "Put the key back from its copy. A validator that lost its key has to be replaced."
    exit_code = 78  # EX_CONFIG


def node_key(files: Files, home: Home) -> KeyPair:
    """The key of the node's identity, made where there is none. Raises `KeyMisplaced`."""
    fresh = not home.node_key.exists()
    pair = KeyPair(read_or_create_key(home.node_key))
    _check_own(files, home.chain / "node.id", home.node_key, pair.node_id, fresh=fresh)
    return pair


def validator_key(files: Files, home: Home, path: Path) -> SecretKey | None:
    """The key that signs votes, None on a full node.

    Raises `ValidatorKeyMissing`, `KeyInvalid`, `KeyMisplaced`.
    """
    if not path.exists():
        if path.with_suffix(".used").exists():
            raise ValidatorKeyMissing(path=path)
        return None
    try:
        key = SecretKey(read_key(path))
    except BadSecretKey:
        raise KeyInvalid(path=path) from None
    _check_own(files, home.chain / "validator.id", path, key.public.hex(), fresh=False)
    return key


def may_vote(files: Files, home: Home, path: Path, disk: Disk, genesis: Genesis) -> bool:
    """Whether the vote log holds all that the validator with this key file ever said."""
    intact = vote_log_intact(
        files, key_mark=path.with_suffix(".used"), log_mark=home.chain / "votes.id"
    )
    public = SecretKey(read_key(path)).public.hex()
    keys = [validator.public_key for validator in genesis.validators]
    if not intact or public not in keys:
        return intact
    records = (record for _, record in stored_votes(disk.votes))
    return says_all(records, voter=keys.index(public), final_view=disk.store.tip.view)


def _check_own(files: Files, mark: Path, path: Path, name: str, *, fresh: bool) -> None:
    """Compare with what the home keeps of its key; keep it where nothing is kept yet."""
    if fresh or not mark.exists():
        files.write_atomic(mark, name.encode())
    elif files.read(mark, 0, MARK_BYTES_MAX) != name.encode():
        raise KeyMisplaced(path=path)
