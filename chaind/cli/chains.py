"""Beginning a development chain, and joining a chain that exists: what fills a new home."""

import time
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from chaind.node.home import Home, HomeInitialised, read_or_create_key
from chaind.primitives.address import key_address
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import (
    Allocation,
    AssetEntry,
    Genesis,
    MarketEntry,
    Parameters,
    ProofOfWork,
    Validator,
)
from chaind.primitives.keys import SecretKey
from chaind.primitives.work import WorkParameters
from chaind.storage.files import OsFiles
from chaind.wallet.derivation import (
    DEVELOPMENT_NAMES,
    FIXED_NAMES,
    TRADER_NAMES,
    development_key,
    exchange_key,
    faucet_key,
)
from chaind.wallet.errors import printable

ACCOUNT_AMOUNT = "1000000"
FAUCET_AMOUNT = "1000000000"
TRADER_AMOUNTS = {"USD": "10000000", "BTC": "1000"}
_FEES = {"maker_fee_ppm": 1_000, "taker_fee_ppm": 2_000}
MARKETS: tuple[dict[str, Any], ...] = (
    {
        "symbol": "COIN/USD",
        "tick": "0.0001",
        "lot": "0.01",
        "reference_price": "1",
        "min_notional": "0.1",
        "band_ppm": 500_000,
        **_FEES,
    },
    {
        "symbol": "BTC/USD",
        "tick": "0.01",
        "lot": "0.0001",
        "reference_price": "45000",
        "min_notional": "1",
        "band_ppm": 200_000,
        **_FEES,
    },
)
# What may lie in a directory before it becomes a home: keys brought along, settings, output of the
# node to be; what a crash leaves of a file that was being written; what makes a file system.
BROUGHT_ALONG = (
    "node.key", "validator.key", "custody.keystore", "custody.names", "LOCK",
    "*.toml", "*.log", "log", "*.tmp", "lost+found",
)  # fmt: skip
NAMES_SHOWN_MAX = 3
# A block every 2 s from hundreds of hashes a second to a whole farm: the target halves or doubles
# with every minute of being ahead of the schedule or behind it. The first blocks take 16,384
# hashes each, which plain Python does in a few hundredths of a second.
DEVELOPMENT_WORK = ProofOfWork(
    rules=WorkParameters(
        retarget="asert",
        limit_bits=0x1F7FFFFF,
        target_spacing_ms=2_000,
        half_life_ms=60_000,
        max_future_ms=10_000,
        min_block_interval_ms=1_000,
    ),
    start_bits=0x1F03FFFF,
    final_depth=6,
)
MINED_PARAMETERS = Parameters(subsidy_units=50 * 10**8, coinbase_maturity=10)


class HoldsNetwork(LocalFault):
    """A network's directory is no node's home."""

    code = "holds-network"
    text = "{path} holds the homes of a network: {names}"
    advice = "Name another directory, or one of these to start a node of that network."
    exit_code = 73  # EX_CANTCREAT


class HomeIncomplete(LocalFault):
    """Data of a chain, and nothing that says of which."""

    code = "home-incomplete"
    text = "{path} holds the data of a chain, but no genesis.json"
    advice = (
        "Put genesis.json back from a copy or from any node of that chain "
        "(GET /api/v1/genesis), or name another directory with --home."
    )
    exit_code = 78  # EX_CONFIG


class HoldsOther(LocalFault):
    """Whatever lies there, it is nobody's home."""

    code = "holds-other"
    text = "{path} is not the home of a node and not empty: it holds {names}"
    advice = (
        "Name a directory of its own: an empty one, or with `chaind init` one that is yet to be."
    )
    exit_code = 73  # EX_CANTCREAT


class HoldsNode(LocalFault):
    """A node's home is no network's directory."""

    code = "holds-node"
    text = "{path} is the home of a single node"
    advice = "Name another directory, or start that node with `chaind run --home`."
    exit_code = 73  # EX_CANTCREAT


def create_network(nodes: Sequence[tuple[Home, Path]], brought: Collection[Path] = ()) -> Genesis:
    """Begin a development chain whose validators are these nodes, each (home, validator key file).

    Key files that are there already are used, and files `brought` along may be. Raises what
    `refuse_taken` raises, before anything is written, where one of the homes is taken.
    """
    for home, key_file in nodes:
        refuse_taken(home, [*brought, key_file])
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


def create_mined_chain(homes: Sequence[Home]) -> Genesis:
    """Begin a development chain of miners in nodes' homes. Raises what `refuse_taken` raises."""
    for home in homes:
        refuse_taken(home)
    for home in homes:
        home.create()
        read_or_create_key(home.node_key)
    genesis = development_genesis((), time_ms=time.time_ns() // 1_000_000, work=DEVELOPMENT_WORK)
    genesis = msgspec.structs.replace(genesis, parameters=MINED_PARAMETERS)
    genesis.check()
    for home in homes:
        home.write_genesis(genesis.to_json())
    return genesis


def development_genesis(
    validators: Sequence[Validator],
    *,
    time_ms: int,
    work: ProofOfWork | msgspec.UnsetType = msgspec.UNSET,
) -> Genesis:
    """A development chain: money for the faucet and the named accounts, two markets, these voters.

    With `work` it is mined and has none.
    """
    genesis = Genesis(
        name="devnet",
        dev=True,
        time_ms=time_ms if work is msgspec.UNSET else time_ms // 1000 * 1000,
        validators=tuple(validators),
        allocations=(),
        mode="bft" if work is msgspec.UNSET else "pow",
        work=work,
    )
    funded = [(faucet_key(), FAUCET_AMOUNT)]
    funded += [(development_key(index), ACCOUNT_AMOUNT) for index in range(len(DEVELOPMENT_NAMES))]
    traders = [development_key(FIXED_NAMES.index(name)) for name in TRADER_NAMES]
    funded += [(key, ACCOUNT_AMOUNT) for key in traders]
    show = genesis.addresses.show
    exchange = show(key_address(exchange_key().public))
    allocations = [
        Allocation(address=show(key_address(key.public)), amount=amount) for key, amount in funded
    ]
    allocations += [
        Allocation(address=show(key_address(key.public)), amount=amount, asset=asset)
        for key in traders
        for asset, amount in TRADER_AMOUNTS.items()
    ]
    genesis = msgspec.structs.replace(
        genesis,
        allocations=tuple(allocations),
        assets=tuple(AssetEntry(symbol=asset, issuer=exchange) for asset in TRADER_AMOUNTS),
        markets=tuple(MarketEntry(**rules, fee_account=exchange) for rules in MARKETS),
    )
    genesis.check()
    return genesis


def join_chain(home: Home, genesis_file: Path, brought: Collection[Path] = ()) -> None:
    """Make `home` follow the chain of a genesis file, as a full node unless it has a validator key.

    Raises `GenesisInvalid`, or what `refuse_taken` raises.
    """
    genesis = Genesis.load(genesis_file)
    refuse_taken(home, [*brought, genesis_file])
    home.create()
    read_or_create_key(home.node_key)
    home.write_genesis(genesis.to_json())


def refuse_taken(home: Home, brought: Collection[Path] = ()) -> None:
    """Raise `HomeInitialised`, `HomeIncomplete`, `HoldsNetwork` or `HoldsOther` where something
    lives there; files that were `brought` there for the home do not count."""
    if home.initialised:
        raise HomeInitialised(path=home.path)
    if home.chain.exists():
        raise HomeIncomplete(path=home.path)
    refuse_network(home.path)
    if home.path.is_dir():
        mine = {path.resolve() for path in brought}
        names = [
            name
            for name in OsFiles().list(home.path)
            if not any(fnmatch(name, pattern) for pattern in BROUGHT_ALONG)
            and (home.path / name).resolve() not in mine
        ]
        if names:
            more = [f"{len(names) - NAMES_SHOWN_MAX} more"] if len(names) > NAMES_SHOWN_MAX else []
            shown = ", ".join([*map(printable, names[:NAMES_SHOWN_MAX]), *more])
            raise HoldsOther(path=home.path, names=shown)


def refuse_network(directory: Path) -> None:
    """Raise `HoldsNetwork` where homes lie in the directory."""
    names = sorted(genesis.parent.name for genesis in directory.glob("*/genesis.json"))
    if names:
        raise HoldsNetwork(path=directory, names=", ".join(names))


def refuse_node_home(directory: Path) -> None:
    """Raise `HoldsNode` where the directory is a home itself."""
    home = Home(directory)
    if home.initialised or home.node_key.exists():
        raise HoldsNode(path=directory)
