"""Wallet files on disk: where they are, and how they change.

Law: a file is replaced whole or not at all, is readable by its owner alone from the first byte, and
is never overwritten by making another wallet. Whoever changes one holds its directory meanwhile.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_data_path

from chaind.primitives.errors import LocalFault
from chaind.storage.files import OsFiles, translated
from chaind.wallet.keystore import KEYSTORE_BYTES_MAX, Contents, OpenPart, read_open, seal, unseal
from chaind.wallet.secret import Secret

SUFFIX = ".keystore"


class WalletExists(LocalFault):
    """A file of that name is there."""

    code = "wallet-exists"
    text = "{path} is there already"
    advice = "Choose another name with --wallet. No wallet is ever overwritten."
    exit_code = 73  # EX_CANTCREAT


class WalletMissing(LocalFault):
    """No file of that name is there."""

    code = "wallet-missing"
    text = "there is no wallet {path}"
    advice = "`chaind wallet create` makes one, `chaind wallet list` shows which there are."
    exit_code = 66  # EX_NOINPUT


def wallets_directory() -> Path:
    """Where wallets are that are named without a path."""
    return user_data_path("chaind-wallet")


def wallet_path(name: str) -> Path:
    """The file of a wallet, given as a name or as a path (with a slash or the suffix)."""
    if "/" in name or name.endswith(SUFFIX):
        return Path(name).expanduser()
    return wallets_directory() / f"{name}{SUFFIX}"


def list_wallets() -> list[Path]:
    """The wallets that have names, in order."""
    return sorted(wallets_directory().glob(f"*{SUFFIX}"))


class WalletFile:
    """One file. `log2_n` is the cost of a guess at its password; `entropy` draws bytes."""

    def __init__(
        self, path: Path, *, log2_n: int, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.path = path
        self._log2_n = log2_n
        self._entropy = entropy

    def refuse_existing(self) -> None:
        """Raise `WalletExists` where the file is there."""
        if self.path.exists():
            raise WalletExists(path=self.path)

    def read(self) -> bytes:
        """The bytes. Raises `WalletMissing`."""
        if not self.path.exists():
            raise WalletMissing(path=self.path)
        return OsFiles().read(self.path, 0, KEYSTORE_BYTES_MAX)

    def read_open(self) -> OpenPart:
        """What needs no password."""
        return read_open(self.read(), self.path)

    def unseal(self, password: Secret[str]) -> Contents:
        """Everything."""
        return unseal(self.read(), password, self.path)

    def create(self, contents: Contents, password: Secret[str]) -> None:
        """Write a new file. Raises `WalletExists`."""
        OsFiles().make_dir(self.path.parent)
        data = seal(contents, password, log2_n=self._log2_n, entropy=self._entropy)
        with _held(self.path.parent):
            self.refuse_existing()
            OsFiles().write_atomic(self.path, data)

    def change(self, password: Secret[str], change: Callable[[Contents], Contents]) -> Contents:
        """Replace the file by what `change` makes of its contents; these."""
        with _held(self.path.parent):
            contents = change(self.unseal(password))
            data = seal(contents, password, log2_n=self._log2_n, entropy=self._entropy)
            OsFiles().write_atomic(self.path, data)
        return contents


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when it ends."""
    with translated(directory, "lock"):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with translated(directory, "lock"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
