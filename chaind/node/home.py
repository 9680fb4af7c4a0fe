"""The data directory: the name of everything in it, and who may read it.

Law: a home without `genesis.json` is not initialised, and that file is written last; whatever
stands in a home is never replaced by initialising it again. Secrets are readable by their owner
alone from the first byte.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from chaind.primitives.errors import LocalFault
from chaind.storage.files import OsFiles

KEY_BYTES = 32
KEY_FILE_BYTES_MAX = 1_024  # room for white space; whatever is longer is not a key file
GENESIS_MODE = 0o644  # what every node of the chain shares is no secret


class HomeInitialised(LocalFault):
    """A chain already lives there."""

    code = "home-initialised"
    text = "{path} already holds a chain"
    advice = "Start it with `chaind run --home`, or name another directory."
    exit_code = 73  # EX_CANTCREAT


class NoHome(LocalFault):
    """No chain lives there."""

    code = "no-home"
    text = "{path} is not the home of a node: there is no genesis.json"
    advice = "Name what `chaind run --home` was given; a network has homes in node0, node1, …."
    exit_code = 78  # EX_CONFIG


class KeyFileInvalid(LocalFault):
    """A key file that does not hold a key."""

    code = "key-file-invalid"
    text = "{path} does not hold a key: 64 hex digits are needed"
    advice = "Put the key back from its copy. A validator that lost its key has to be replaced."
    exit_code = 78  # EX_CONFIG


@dataclass(frozen=True, slots=True)
class Home:
    """A node's data directory. The properties are paths; none of them has to exist."""

    path: Path

    @property
    def genesis(self) -> Path:
        """The chain this node follows, JSON, the same file on every node."""
        return self.path / "genesis.json"

    @property
    def node_key(self) -> Path:
        """X25519 secret of the node's identity among peers."""
        return self.path / "node.key"

    @property
    def validator_key(self) -> Path:
        """secp256k1 secret that signs votes. Absent on a full node."""
        return self.path / "validator.key"

    @property
    def api_token(self) -> Path:
        """The cookie of this start: who can read it may spend the node's keys."""
        return self.path / "api.token"

    @property
    def rpc_cookie(self) -> Path:
        """`NAME:SECRET` of this start, for miners that use getblocktemplate on this machine."""
        return self.path / "rpc.cookie"

    @property
    def custody(self) -> Path:
        """The seed of the named accounts, encrypted. Absent where the published one serves."""
        return self.path / "custody.keystore"

    @property
    def custody_names(self) -> Path:
        """Names that were given to accounts of that seed."""
        return self.path / "custody.names"

    @property
    def chain(self) -> Path:
        """Blocks, state, indexes, journals: everything that a resync would bring back."""
        return self.path / "chain"

    @property
    def webhooks(self) -> Path:
        """Subscriptions with their secrets, a file each, and how far each has come."""
        return self.path / "webhooks"

    @property
    def invoices(self) -> Path:
        """Requests for payment, a file each: no other node has them."""
        return self.path / "invoices"

    @property
    def log(self) -> Path:
        """Where `chaind devnet` sends the output of the node."""
        return self.path / "log"

    @property
    def initialised(self) -> bool:
        """Whether a chain lives here."""
        return self.genesis.is_file()

    def create(self) -> None:
        """Make the directory, closed to others. One that exists keeps its mode."""
        OsFiles().make_dir(self.path)

    def write_genesis(self, document: bytes) -> None:
        """Store the genesis file, last of all, and so make this home initialised."""
        if self.initialised:
            raise HomeInitialised(path=self.path)
        OsFiles().write_atomic(self.genesis, document, GENESIS_MODE)


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key file. Raises `FileMissing` or `KeyFileInvalid`."""
    try:
        key = bytes.fromhex(OsFiles().read(path, 0, KEY_FILE_BYTES_MAX).decode("ascii"))
    except ValueError:  # not hex, or not even ASCII
        raise KeyFileInvalid(path=path) from None
    if len(key) != KEY_BYTES:
        raise KeyFileInvalid(path=path)
    return key


def read_or_create_key(path: Path) -> bytes:
    """The key of the file; where there is none, 32 random bytes that the file holds from now on.

    A random string is a valid secp256k1 secret but for one in 2^128, and always an X25519 one.
    """
    if not path.exists():
        OsFiles().write_atomic(path, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
    return read_key(path)
