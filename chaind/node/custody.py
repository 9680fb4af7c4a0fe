"""Named accounts: one seed, and which names stand for which of its keys.

Law: a key follows from the seed and a number, and the number of a name that a caller chose follows
from the name alone, so that nodes with one seed mean the same account by it. What is written down
are names; the seed is somebody else's to keep, and no `repr` or error shows it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from chaind.primitives.address import key_address
from chaind.primitives.errors import Conflict, LocalFault, Malformed, RuleBroken
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.storage.files import Files
from chaind.wallet.derivation import FIXED_NAMES, derive

ACCOUNT_ID_MAX = 1_000_000  # numbers that need no name
NAMES_MAX = 1_000  # one page of an answer, and what is looked through for each
NAME_CHARS_MAX = 24  # the shortest address has 26: no name can be mistaken for one
_NAME = re.compile(rf"[a-z][a-z0-9_.-]{{0,{NAME_CHARS_MAX - 1}}}")
_NAME_NUMBERS = 1 << 30  # above ACCOUNT_ID_MAX, below the 2³¹ children of BIP-32
_FILE_BYTES_MAX = NAMES_MAX * (NAME_CHARS_MAX + 1)


class AccountNameRefused(Malformed):
    """A name that could be taken for a number or an address, or is hard to type."""

    code = "account-name-refused"
    text = "{name!r} is no name for an account"
    advice = "Use a small letter and up to 23 small letters, digits, dots, dashes or underscores."


class AccountNameTaken(Conflict):
    """Another name has the key that this one would get."""

    code = "account-name-taken"
    text = "{name!r} would share its key with another account of this node"
    advice = "Choose another name: this happens once in a billion."


class AccountsFull(RuleBroken):
    """As many names as this node keeps."""

    code = "accounts-full"
    text = "this node keeps {limit} names, and no more"
    advice = "Use account numbers, which need no name: from_id and to_id, 1 to 1000000."


class NameFileInvalid(LocalFault):
    """The list of names holds something else."""

    code = "name-file-invalid"
    text = "{path} is no list of account names: line {line} is none"
    advice = "Put it back from a copy, or remove it and create the names again: keys do not change."
    exit_code = 65  # EX_DATAERR


class NameBook(Protocol):
    """Where names last."""

    def write(self, names: Sequence[str]) -> None:
        """Durable when it returns."""
        ...


class NameFile:
    """A name per line."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path

    def read(self) -> tuple[str, ...]:
        """The names of the file, none where there is no file. Raises `NameFileInvalid`."""
        if self._path.name not in self._files.list(self._path.parent):
            return ()
        data = self._files.read(self._path, 0, _FILE_BYTES_MAX + 1)
        names = data.decode("ascii", errors="replace").splitlines()
        for line, name in enumerate(names, start=1):
            if not _NAME.fullmatch(name) or line > NAMES_MAX or name in names[: line - 1]:
                raise NameFileInvalid(path=self._path, line=line)
        return tuple(names)

    def write(self, names: Sequence[str]) -> None:
        """Replaces the file."""
        self._files.write_atomic(self._path, "".join(f"{name}\n" for name in names).encode())


class NamedAddress(NamedTuple):
    """One row of the list of accounts."""

    number: int
    name: str
    address: bytes


def name_number(name: str) -> int:
    """The account number of a name that is not one of the fixed ones."""
    return ACCOUNT_ID_MAX + 1 + int.from_bytes(sha256(name.encode())[:4], "big") % _NAME_NUMBERS


def account_key(seed: bytes, number: int) -> SecretKey:
    """The key of an account number."""
    return derive(seed, f"m/44'/1'/0'/0/{number - 1}")


class Accounts:
    """Accounts of one seed (None: none). The first twelve have fixed names; `names` came later, and
    `book` keeps them (None: until the node ends). Numbers begin at 1."""

    def __init__(
        self, seed: bytes | None, names: Sequence[str] = (), book: NameBook | None = None
    ) -> None:
        self._seed = seed
        self._book = book
        self._names = list(names)
        self._numbers = {name: index for index, name in enumerate(FIXED_NAMES, start=1)}
        self._numbers |= {name: name_number(name) for name in names}
        self._by_address: dict[bytes, NamedAddress] = {}
        self.key = lru_cache(maxsize=10_000)(self._derive)  # a tenth of a millisecond each

    @property
    def enabled(self) -> bool:
        """Whether this node keeps keys at all."""
        return self._seed is not None

    def create(self, name: str) -> tuple[NamedAddress, bool]:
        """The account of a name, and whether the name is new. Durable when it returns.

        Raises `AccountNameRefused`, `AccountNameTaken` or `AccountsFull`.
        """
        if not _NAME.fullmatch(name):
            raise AccountNameRefused(name=name[:80])
        is_new = name not in self._numbers
        if is_new:
            if len(self._names) >= NAMES_MAX:
                raise AccountsFull(limit=NAMES_MAX)
            number = name_number(name)
            if number in self._numbers.values():
                raise AccountNameTaken(name=name)
            if self._book is not None:
                self._book.write([*self._names, name])
            self._names.append(name)
            self._numbers[name] = number
        return self._row(name), is_new

    def number(self, who: str | int) -> int | None:
        """The account number of a name or number; None for anything else."""
        if isinstance(who, str) and who in self._numbers:
            return self._numbers[who]
        if isinstance(who, str) and who.isascii() and who.isdigit() and len(who) <= 10:
            who = int(who)
        if isinstance(who, int) and (1 <= who <= ACCOUNT_ID_MAX or who in self._numbers.values()):
            return who
        return None

    def rows(self) -> list[NamedAddress]:
        """The accounts with names, the fixed ones first; none where no keys are kept."""
        return [self._row(name) for name in self._numbers] if self.enabled else []

    def named(self, address: bytes) -> NamedAddress | None:
        """The account with a name that has this address."""
        if len(self._by_address) < len(self._numbers):
            self._by_address = {row.address: row for row in self.rows()}
        return self._by_address.get(address)

    def _row(self, name: str) -> NamedAddress:
        number = self._numbers[name]
        return NamedAddress(number, name, key_address(self.key(number).public))

    def _derive(self, number: int) -> SecretKey:
        assert self._seed is not None
        return account_key(self._seed, number)
