"""Beginning a development chain, and joining a chain that exists: what fills a new home."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from chaind.node.home import Home, HomeInitialised, read_or_create_key
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Allocation, Genesis, Validator
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import DEVELOPMENT_NAMES, development_key, faucet_key

ACCOUNT_AMOUNT = "1000000"
FAUCET_AMOUNT = "1000000000"


def create_network(nodes: Sequence[tuple[Home, Path]]) -> Genesis:
    """Begin a development chain whose validators are these nodes, each (home, validator key file).

    Key files that are there already are used. Raises `HomeInitialised`, before anything is
    written, where one of the homes holds a chain.
    """
    for home, _ in nodes:
        _refuse_initialised(home)
    validators = []
    for index, (home, key_file) in enumerate(nodes):
        home.create()
        read_or_create_key(home.node_key)
        public_key = SecretKey(read_or_create_key(key_file)).public
        validators.append(Validator(public_key=public_key.hex(), name=f"node{index}"))
    genesis = development_genesis(validators, time_ms=time.time_ns() // 1_000_000)
    for home, _ in nodes:
        home.write_genesis(genesis.to_json())
    return genesis


def development_genesis(validators: Sequence[Validator], *, time_ms: int) -> Genesis:
    """A development chain: these voters, and money for the faucet and the named accounts."""
    genesis = Genesis(
        name="devnet", dev=True, time_ms=time_ms, validators=tuple(validators), allocations=()
    )
    funded = [(faucet_key(), FAUCET_AMOUNT)]
    funded += [(development_key(index), ACCOUNT_AMOUNT) for index in range(len(DEVELOPMENT_NAMES))]
    genesis = msgspec.structs.replace(
        genesis,
        allocations=tuple(
            Allocation(address=genesis.addresses.show(key_address(key.public)), amount=amount)
            for key, amount in funded
        ),
    )
    genesis.check()
    return genesis


def join_chain(home: Home, genesis_file: Path) -> None:
    """Make `home` follow the chain of a genesis file, as a full node unless it has a validator key.

    Raises `GenesisInvalid` or `HomeInitialised`.
    """
    genesis = Genesis.load(genesis_file)
    _refuse_initialised(home)
    home.create()
    read_or_create_key(home.node_key)
    home.write_genesis(genesis.to_json())


def _refuse_initialised(home: Home) -> None:
    if home.initialised:
        raise HomeInitialised(path=home.path)
