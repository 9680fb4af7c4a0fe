"""Accounts: what addresses they have, which keys spend, and what is refused."""

import pickle
from itertools import islice

import pytest

from chaind.primitives.address import key_address
from chaind.primitives.genesis import DEFAULT_ADDRESSES
from chaind.primitives.keys import SecretKey
from chaind.wallet.accounts import (
    FIRST,
    AccountExists,
    AccountNameInvalid,
    AccountUnknown,
    NoWords,
    Place,
    SingleAddress,
    WatchOnly,
    add_derived,
    add_key,
    add_watched_address,
    add_watched_xpub,
    address_at,
    addresses_from,
    empty_wallet,
    find_account,
    key_at,
    new_wallet,
)
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, ExtendedPublic, derive, development_key
from chaind.wallet.derivation import seed_from_mnemonic as seed_of
from chaind.wallet.keystore import seal, unseal
from chaind.wallet.secret import Secret

KEY = SecretKey(b"\x21" * 32)
WORDS = Secret(DEVELOPMENT_MNEMONIC)
WALLET = new_wallet(DEFAULT_ADDRESSES, WORDS, Secret(""))
ALL = add_watched_xpub(
    add_watched_address(add_key(add_derived(WALLET, "savings"), "till", KEY), "shop", b"\x31" * 32),
    "mirror",
    ExtendedPublic.parse(find_account(add_derived(WALLET, "x", number=5).open, "x").xpub),
)


def test_the_first_account_has_the_keys_of_the_documented_paths() -> None:
    main = find_account(WALLET.open, "main")
    for number in range(3):
        place = Place(0, number)
        assert key_at(WALLET, main, place).reveal() == development_key(number).reveal()
        assert address_at(main, place) == key_address(development_key(number).public)
    seed = seed_of(DEVELOPMENT_MNEMONIC)
    change = key_at(WALLET, main, Place(1, 7))
    assert change.reveal() == derive(seed, "m/44'/1'/0'/1/7").reveal()


def test_the_next_account_is_the_next_number() -> None:
    seed = seed_of(DEVELOPMENT_MNEMONIC)
    two = add_derived(add_derived(WALLET, "a"), "b")
    for name, number in (("a", 1), ("b", 2)):
        found = key_at(two, find_account(two.open, name), FIRST)
        assert found.reveal() == derive(seed, f"m/44'/1'/{number}'/0/0").reveal()


def test_a_passphrase_makes_another_wallet_and_is_not_kept() -> None:
    other = new_wallet(DEFAULT_ADDRESSES, WORDS, Secret("hidden one"))
    assert other.open.accounts[0].xpub != WALLET.open.accounts[0].xpub
    assert other.sealed.seed == seed_of(DEVELOPMENT_MNEMONIC, "hidden one")
    assert b"hidden one" not in pickle.dumps(
        (other.sealed.mnemonic, other.sealed.seed, other.sealed.keys)
    )


def test_an_imported_key_is_one_address() -> None:
    till = find_account(ALL.open, "till")
    assert address_at(till, FIRST) == key_address(KEY.public)
    assert key_at(ALL, till, FIRST).reveal() == KEY.reveal()
    assert list(addresses_from(till, 0)) == [(FIRST, key_address(KEY.public))]
    assert list(addresses_from(till, 1)) == []
    for place in (Place(0, 1), Place(1, 0)):
        with pytest.raises(SingleAddress):
            address_at(till, place)
        with pytest.raises(SingleAddress):
            key_at(ALL, till, place)


def test_watching_accounts_have_addresses_and_no_keys() -> None:
    for name in ("shop", "mirror"):
        found = find_account(ALL.open, name)
        assert address_at(found, FIRST)
        with pytest.raises(WatchOnly, match=name):
            key_at(ALL, found, FIRST)
    mirror = find_account(ALL.open, "mirror")
    seed = seed_of(DEVELOPMENT_MNEMONIC)
    expected = key_address(derive(seed, "m/44'/1'/5'/1/2").public)
    assert address_at(mirror, Place(1, 2)) == expected
    assert dict(islice(addresses_from(mirror, 1), 3))[Place(1, 2)] == expected


def test_every_account_survives_the_file() -> None:
    data = seal(ALL, Secret("pw"), log2_n=2, entropy=bytes)
    assert unseal(data, Secret("pw"), "w") == ALL


@pytest.mark.parametrize("name", ["main", "savings", "till", "shop", "mirror"])
def test_names_and_addresses_stand_once(name: str) -> None:
    with pytest.raises(AccountExists, match=name):
        add_derived(ALL, name)
    with pytest.raises(AccountExists):
        add_key(ALL, "again", KEY)
    with pytest.raises(AccountExists):
        add_watched_address(ALL, "again", b"\x31" * 32)


@pytest.mark.parametrize("name", ["", "a b", "-x", "é", "x" * 33, "a/b", "a\n"])
def test_names_that_are_hard_to_type_are_refused(name: str) -> None:
    with pytest.raises(AccountNameInvalid):
        add_derived(WALLET, name)


def test_an_unknown_account_is_answered_with_those_that_are_there() -> None:
    with pytest.raises(AccountUnknown, match=r"it has: main$"):
        find_account(WALLET.open, "mian")
    with pytest.raises(AccountUnknown, match=r"it has: none$"):
        find_account(empty_wallet(DEFAULT_ADDRESSES).open, "main")


def test_without_words_nothing_is_derived() -> None:
    with pytest.raises(NoWords):
        add_derived(empty_wallet(DEFAULT_ADDRESSES), "main")


def test_a_secret_shows_nothing() -> None:
    secret = Secret("letmein")
    assert "letmein" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "letmein"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
