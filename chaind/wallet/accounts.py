"""The accounts of a wallet: which addresses they have, which keys spend from them.

An account comes from the seed (BIP-44), is one imported key, or only watches: an extended public
key, or one address. Law: nothing here changes in place; what adds an account returns new contents.
Secret keys come out of `key_at` alone, and only where the sealed part is there.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chaind.primitives.address import AddressFormat, key_address
from chaind.primitives.errors import LocalFault
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import (
    HARDENED,
    ExtendedKey,
    ExtendedPublic,
    account_path,
    seed_from_mnemonic,
)
from chaind.wallet.keystore import Account, Contents, OpenPart, SealedPart
from chaind.wallet.secret import Secret

FIRST_ACCOUNT = "main"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class AccountUnknown(LocalFault):
    """The wallet has no account of that name."""

    code = "account-unknown"
    text = "there is no account {name!r} in this wallet; it has: {names}"
    advice = "`chaind wallet info` lists them."
    exit_code = 65  # EX_DATAERR


class AccountExists(LocalFault):
    """Names and addresses stand once in a wallet."""

    code = "account-exists"
    text = "account {name!r} of this wallet has that name or address already"
    advice = "Use that account, or choose another name."
    exit_code = 65  # EX_DATAERR


class AccountNameInvalid(LocalFault):
    """A name that would be hard to type or to show."""

    code = "account-name-invalid"
    text = "{name!r} is no name for an account"
    advice = "Use up to 32 letters, digits, dots, dashes and underscores."
    exit_code = 65  # EX_DATAERR


class WatchOnly(LocalFault):
    """The wallet has no secret for the account."""

    code = "watch-only"
    text = "account {name!r} only watches: this wallet has no secret key for it"
    advice = "Use the wallet that has the words or the key."
    exit_code = 77  # EX_NOPERM


class NoWords(LocalFault):
    """A wallet without a seed."""

    code = "no-words"
    text = "this wallet was made without words, so that nothing can be derived in it"
    advice = "`chaind wallet create` or `restore` makes one with words, in a file of its own."
    exit_code = 65  # EX_DATAERR


class SingleAddress(LocalFault):
    """An account of one address was asked for another one."""

    code = "single-address"
    text = "account {name!r} has a single address"
    advice = "Leave out --number, --change and --xpub, or choose an account of the wallet's words."
    exit_code = 65  # EX_DATAERR


class Place(NamedTuple):
    """Which address of an account: BIP-44's chain (0 given to others, 1 change) and number."""

    chain: int = 0
    number: int = 0


FIRST = Place()


def new_wallet(
    addresses: AddressFormat, mnemonic: Secret[str], passphrase: Secret[str]
) -> Contents:
    """A wallet of the words with its first account. The passphrase is not kept, only its seed."""
    seed = seed_from_mnemonic(mnemonic.reveal(), passphrase.reveal())
    public = OpenPart(addresses.hrp, addresses.p2pkh_version, ())
    return add_derived(
        Contents(public, SealedPart(mnemonic.reveal(), seed, {})), FIRST_ACCOUNT, number=0
    )


def empty_wallet(addresses: AddressFormat) -> Contents:
    """A wallet without words, for imported keys and for watching."""
    return Contents(OpenPart(addresses.hrp, addresses.p2pkh_version, ()), SealedPart("", b"", {}))


def find_account(public: OpenPart, name: str) -> Account:
    """The account of a name. Raises `AccountUnknown`."""
    for account in public.accounts:
        if account.name == name:
            return account
    names = ", ".join(account.name for account in public.accounts) or "none"
    raise AccountUnknown(name=name, names=names)


def add_derived(contents: Contents, name: str, *, number: int | None = None) -> Contents:
    """With one more account of the seed, by default the next. Raises `NoWords`, `AccountExists`."""
    if not contents.sealed.seed:
        raise NoWords
    if number is None:
        number = sum(bool(account.path) for account in contents.open.accounts)
    path = account_path(number)
    xpub = ExtendedKey.from_seed(contents.sealed.seed).derive(path).neuter()
    return _add(contents, Account(name, path, str(xpub), b"", keyed=True))


def add_key(contents: Contents, name: str, key: SecretKey) -> Contents:
    """With an imported key. Raises `AccountExists`."""
    account = Account(name, "", "", key_address(key.public), keyed=True)
    added = _add(contents, account)
    keys = {**added.sealed.keys, name: key.reveal()}
    return added._replace(sealed=msgspec.structs.replace(added.sealed, keys=keys))


def add_watched_address(contents: Contents, name: str, address: bytes) -> Contents:
    """With an address to watch. Raises `AccountExists`."""
    return _add(contents, Account(name, "", "", address, keyed=False))


def add_watched_xpub(contents: Contents, name: str, xpub: ExtendedPublic) -> Contents:
    """With an extended public key to watch. Raises `AccountExists`."""
    return _add(contents, Account(name, "", str(xpub), b"", keyed=False))


def _add(contents: Contents, account: Account) -> Contents:
    if not _NAME.fullmatch(account.name):
        raise AccountNameInvalid(name=account.name[:80])
    for other in contents.open.accounts:
        if other.name == account.name or (other.xpub, other.address) == (
            account.xpub,
            account.address,
        ):
            raise AccountExists(name=other.name)
    accounts = (*contents.open.accounts, account)
    return contents._replace(open=msgspec.structs.replace(contents.open, accounts=accounts))


def address_at(account: Account, place: Place) -> bytes:
    """One of its addresses. Raises `SingleAddress`."""
    if not account.xpub:
        if place != FIRST:
            raise SingleAddress(name=account.name)
        return account.address
    return key_address(_public_at(account, place))


def addresses_from(account: Account, chain: int) -> Iterator[tuple[Place, bytes]]:
    """All its addresses of a chain, from the first on; one or none for a single address."""
    if not account.xpub:
        if chain == FIRST.chain:
            yield FIRST, account.address
        return
    branch = ExtendedPublic.parse(account.xpub).child(chain)
    for number in range(HARDENED):
        yield Place(chain, number), key_address(branch.child(number).public)


def key_at(contents: Contents, account: Account, place: Place) -> SecretKey:
    """The secret key of one of its addresses. Raises `WatchOnly` or `SingleAddress`."""
    if not account.keyed:
        raise WatchOnly(name=account.name)
    expected = address_at(account, place)
    if account.path:
        path = f"{account.path}/{place.chain}/{place.number}"
        key = ExtendedKey.from_seed(contents.sealed.seed).derive(path).key
    else:
        key = SecretKey(contents.sealed.keys[account.name])
    assert key_address(key.public) == expected, "both parts are sealed together"
    return key


def _public_at(account: Account, place: Place) -> bytes:
    return ExtendedPublic.parse(account.xpub).child(place.chain).child(place.number).public
