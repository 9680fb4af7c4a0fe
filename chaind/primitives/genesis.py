"""Chain parameters and the genesis file: everything on which all nodes of a chain must agree.

The file is JSON with amounts as decimal strings. Its canonical MessagePack stands under the Merkle
root of the genesis block, so that the genesis hash commits to every value in it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from chaind.primitives.address import (
    HRP_CHARS_MAX,
    AddressFormat,
    AddressInvalid,
    key_address,
)
from chaind.primitives.amounts import AMOUNT_MAX, AmountInvalid, is_asset_symbol, parse_amount
from chaind.primitives.block import BFT_BITS, BLOCK_VERSION, Header
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.errors import LocalFault
from chaind.primitives.hashes import ZERO_HASH, merkle_root, sha256d, tagged_hash
from chaind.primitives.keys import PUBLIC_KEY_BYTES, BadPublicKey, check_public_key
from chaind.primitives.orders import Limits, Market, market_fault
from chaind.primitives.transaction import CHAIN_PREFIX_BYTES, NATIVE
from chaind.primitives.votes import VALIDATORS_MAX
from chaind.primitives.work import BITS_MAX, TARGET_BITS, BitsInvalid, WorkParameters, target_of

HEX_DIGITS = frozenset("0123456789abcdef")
BLOCK_BYTES_LIMIT = 3 << 20  # a block and its overhead travel in one frame of 4 MiB
TRANSACTION_BYTES_LIMIT = 256 << 10  # several travel in one message of 1 MiB
WEIGHT_MAX = 1_000_000  # keeps the sum over all validators within 32 bits
OVERLAY_DEGREE_MAX = 64  # beyond it everyone might as well talk to everyone
TIME_MS_END = 2**32 * 1000  # the header counts seconds in 32 bits, until 2106
DEFAULT_ADDRESSES = AddressFormat(hrp="chd", p2pkh_version=0x1C)  # "chd1…", "C…"


class GenesisInvalid(LocalFault):
    """The genesis file cannot start a chain."""

    code = "genesis-invalid"
    text = "genesis {path} is refused: {reason}"
    advice = "Get the file of the chain you want to join, or make one with `chaind init`."
    exit_code = 78  # EX_CONFIG


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Consensus parameters: limits, fees, deadlines. Times in ms, sizes in bytes."""

    validity_window_ms: int = 3_600_000
    lease_ms: int = 86_400_000
    leases_per_owner_max: int = 1_000_000  # new ones in each lease_ms
    min_fee_per_byte: int = 0
    transaction_bytes_max: int = 65_536
    inputs_max: int = 256
    outputs_max: int = 1024
    block_bytes_max: int = 2_097_152
    block_cost_max: int = 2_000_000
    max_drift_ms: int = 5_000
    min_block_interval_ms: int = 0
    subsidy_units: int = 0
    halving_interval: int = 210_000
    coinbase_maturity: int = 100
    fills_per_order_max: int = 100
    open_orders_max: int = 1_000  # of one account
    expiries_per_block_max: int = 1_000
    triggers_per_block_max: int = 100

    @property
    def order_limits(self) -> Limits:
        """What the exchange asks of a block at most."""
        return Limits(
            self.fills_per_order_max,
            self.open_orders_max,
            self.expiries_per_block_max,
            self.triggers_per_block_max,
        )

    def subsidy_total(self) -> int:
        """Base units that all blocks together may create."""
        subsidies = (self.subsidy_units >> halvings for halvings in range(64))
        return self.halving_interval * sum(subsidies)


class ConsensusParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which core agrees and how long it waits. `delta_ms` bounds one message delay (Δ).

    Up to `mesh_max` validators everyone talks to everyone (64 where not set); more of them pass
    votes on over an overlay in which each has at least `overlay_degree` neighbours (12). A document
    that spells these two out is another chain than one that does not, whatever it says.
    """

    algorithm: Literal["simplex"] = "simplex"
    delta_ms: int = 200
    block_budget_ms: int = 100
    empty_block_interval_ms: int = 2_000
    mesh_max: int | msgspec.UnsetType = msgspec.UNSET
    overlay_degree: int | msgspec.UnsetType = msgspec.UNSET


class ProofOfWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How blocks are mined and when they are final.

    `start_bits` are those of block 0 and of the first ones after it. A block is final under
    `final_depth` others. `minimum_chain_work` (hex digits) is what the network is known to have
    done: a chain with less is not followed.
    """

    rules: WorkParameters
    start_bits: int
    final_depth: int = 100
    minimum_chain_work: str = "0"

    @property
    def minimum(self) -> int:
        """The least work of a chain that is followed."""
        return int(self.minimum_chain_work, 16)


class Validator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A voter. Fees go to the address of `public_key` (66 hex digits)."""

    public_key: str
    weight: int = 1
    name: str = ""

    @property
    def key(self) -> bytes:
        """The compressed public key, 33 bytes."""
        return bytes.fromhex(self.public_key)

    @property
    def address(self) -> bytes:
        """Where its fees go."""
        return key_address(self.key)


class AssetEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An asset that exists from the start. `issuer` is an address text."""

    symbol: str
    issuer: str
    mintable: bool = True


class MarketEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A market that is open from the start. Fees are credited to `fee_account`, an address text.

    `tick` and `reference_price` are quote for a whole unit of base, `lot` is base, `min_notional`
    quote ("0" for none). The reference is the price before the first trade.
    """

    symbol: str
    tick: str
    lot: str
    reference_price: str
    fee_account: str
    min_notional: str = "0"
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    band_ppm: int = 100_000

    def market(self, addresses: AddressFormat) -> Market:
        """Its rules. Raises `AmountInvalid` or `AddressInvalid`; `market_fault` may have more."""
        base, _, quote = self.symbol.partition("/")
        tick_units, reference_units = parse_amount(self.tick), parse_amount(self.reference_price)
        reference_ticks, rest = divmod(reference_units, tick_units)
        if rest:
            raise AmountInvalid(amount=self.reference_price, reason=f"not ticks of {self.tick}")
        return Market(
            symbol=self.symbol,
            base=base,
            quote=quote,
            tick_units=tick_units,
            lot_units=parse_amount(self.lot),
            reference_ticks=reference_ticks,
            min_notional_units=0 if self.min_notional == "0" else parse_amount(self.min_notional),
            maker_fee_ppm=self.maker_fee_ppm,
            taker_fee_ppm=self.taker_fee_ppm,
            band_ppm=self.band_ppm,
            fee_account=addresses.parse(self.fee_account),
        )


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money that exists from the start. `asset` "" is native; coins are native only."""

    address: str
    amount: str
    asset: str = NATIVE
    coin: bool = False


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The genesis document. `time_ms` is the chain time of block 0.

    `mode` says who makes blocks and what makes them final: validators who vote (`bft`), or miners
    (`pow`), whose rules are `work`.
    """

    name: str
    time_ms: int
    validators: tuple[Validator, ...]
    allocations: tuple[Allocation, ...]
    mode: Literal["bft", "pow"] = "bft"
    dev: bool = False
    native_symbol: str = "COIN"
    addresses: AddressFormat = DEFAULT_ADDRESSES
    assets: tuple[AssetEntry, ...] = ()
    markets: tuple[MarketEntry, ...] = ()
    parameters: Parameters = Parameters()
    consensus: ConsensusParameters = ConsensusParameters()
    work: ProofOfWork | msgspec.UnsetType = msgspec.UNSET

    @property
    def proof_of_work(self) -> ProofOfWork:
        """The rules of a mined chain, which this is."""
        assert self.work is not msgspec.UNSET
        return self.work

    def encode(self) -> bytes:
        """Canonical bytes, what the genesis hash commits to."""
        return encode(msgspec.to_builtins(self, order="deterministic"))

    def to_json(self) -> bytes:
        """The file, indented, trailing newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def load(cls, path: Path) -> "Genesis":
        """The checked genesis of a file. Raises `GenesisInvalid`."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise GenesisInvalid(path=path, reason=error.strerror or str(error)) from None
        return cls.from_json(data, path=str(path))

    @classmethod
    def from_json(cls, data: bytes, path: str = "document") -> "Genesis":
        """The checked genesis of JSON bytes. Raises `GenesisInvalid`."""
        try:
            genesis = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GenesisInvalid(path=path, reason=str(error)) from None
        genesis.check(path)
        return genesis

    def check(self, path: str = "document") -> None:
        """Raise `GenesisInvalid` where values contradict each other or are out of range."""

        def refuse(reason: str) -> GenesisInvalid:
            return GenesisInvalid(path=path, reason=reason)

        if self.mode == "pow":
            self._check_work(path)
        elif not 1 <= len(self.validators) <= VALIDATORS_MAX:
            raise refuse(f"1 to {VALIDATORS_MAX} validators are needed")
        elif self.work is not msgspec.UNSET:
            raise refuse("work is for mode pow")
        for validator in self.validators:
            try:
                check_public_key(validator.key)
            except (BadPublicKey, ValueError):
                raise refuse(f"public_key {validator.public_key!r} is no public key") from None
            if len(validator.public_key) != 2 * PUBLIC_KEY_BYTES:  # fromhex skips white space
                raise refuse(f"public_key {validator.public_key!r} is not 66 hex digits")
            if not 1 <= validator.weight <= WEIGHT_MAX:
                raise refuse(f"weight {validator.weight} is not within 1 and {WEIGHT_MAX}")
        if len({validator.key for validator in self.validators}) != len(self.validators):
            raise refuse("two validators have the same public key")
        hrp = self.addresses.hrp
        if not (hrp.isascii() and hrp.isalnum() and hrp.islower() and len(hrp) <= HRP_CHARS_MAX):
            raise refuse(f"addresses.hrp {hrp!r} is not up to 30 lower-case letters, digits")
        if not 0 <= self.addresses.p2pkh_version <= 255:
            raise refuse(f"addresses.p2pkh_version {self.addresses.p2pkh_version} is not a byte")
        if not 0 < self.time_ms < TIME_MS_END:
            raise refuse(f"time_ms {self.time_ms} is out of range")
        self._check_parameters(path)
        self._check_money(path)

    def _check_work(self, path: str) -> None:
        def refuse(reason: str) -> GenesisInvalid:
            return GenesisInvalid(path=path, reason=reason)

        work = self.work
        if work is msgspec.UNSET:
            raise refuse("mode pow needs the rules of work")
        if self.validators:
            raise refuse("mode pow has no validators")
        if self.parameters.min_block_interval_ms:
            raise refuse("in mode pow min_block_interval_ms stands in work.rules")
        if self.time_ms % 1000:
            raise refuse(f"time_ms {self.time_ms} is not a whole second, as mode pow needs it")
        for name, bits in (
            ("start_bits", work.start_bits),
            ("limit_bits", work.rules.limit_bits),
        ):
            if not 0 <= bits <= BITS_MAX:
                raise refuse(f"{name} {bits} are not 32 bits")
        try:
            if target_of(work.start_bits) > target_of(work.rules.limit_bits):
                raise refuse(f"start_bits {work.start_bits:#010x} are easier than limit_bits")
        except BitsInvalid as error:
            raise refuse(str(error)) from None
        zero_allowed = {"max_future_ms", "min_block_interval_ms"}
        numbers = {**msgspec.structs.asdict(work.rules), "final_depth": work.final_depth}
        for name, value in numbers.items():
            low = 0 if name in zero_allowed else 1
            if isinstance(value, int) and not low <= value <= 2**53:
                raise refuse(f"{name} = {value} is out of range")
        rules = work.rules
        if rules.retarget == "asert" and not 0 < rules.max_future_ms <= rules.half_life_ms:
            # One header dated far ahead would make the work of its children next to nothing, and
            # so many of them would count as the depth that makes final.
            raise refuse(f"with asert max_future_ms = {rules.max_future_ms} exceeds half_life_ms")
        digits = work.minimum_chain_work
        if not (1 <= len(digits) <= TARGET_BITS // 4 and HEX_DIGITS.issuperset(digits)):
            raise refuse(f"minimum_chain_work {digits!r} is not 1 to 64 lower-case hex digits")

    def _check_parameters(self, path: str) -> None:
        zero_allowed = {"min_fee_per_byte", "min_block_interval_ms", "subsidy_units"}
        for group in (self.parameters, self.consensus):
            for name, value in msgspec.structs.asdict(group).items():
                low = 0 if name in zero_allowed else 1
                if isinstance(value, int) and not low <= value <= 2**53:
                    raise GenesisInvalid(path=path, reason=f"{name} = {value} is out of range")

        degree = self.consensus.overlay_degree
        if degree is not msgspec.UNSET and not 2 <= degree <= OVERLAY_DEGREE_MAX:
            reason = f"overlay_degree {degree} is not within 2 and {OVERLAY_DEGREE_MAX}"
            raise GenesisInvalid(path=path, reason=reason)
        if self.parameters.lease_ms < self.parameters.validity_window_ms:
            raise GenesisInvalid(path=path, reason="lease_ms is shorter than validity_window_ms")
        if self.parameters.block_bytes_max > BLOCK_BYTES_LIMIT:
            raise GenesisInvalid(path=path, reason=f"block_bytes_max exceeds {BLOCK_BYTES_LIMIT}")
        if self.parameters.transaction_bytes_max > TRANSACTION_BYTES_LIMIT:
            reason = f"transaction_bytes_max exceeds {TRANSACTION_BYTES_LIMIT}"
            raise GenesisInvalid(path=path, reason=reason)
        if self.parameters.transaction_bytes_max > self.parameters.block_bytes_max:
            raise GenesisInvalid(path=path, reason="transaction_bytes_max exceeds block_bytes_max")

    def _check_money(self, path: str) -> None:
        symbols = {asset.symbol for asset in self.assets}
        if len(symbols) != len(self.assets) or self.native_symbol in symbols:
            raise GenesisInvalid(path=path, reason="two assets have the same symbol")
        for symbol in (self.native_symbol, *sorted(symbols)):
            if not is_asset_symbol(symbol):
                raise GenesisInvalid(
                    path=path, reason=f"symbol {symbol!r} is not 1 to 12 capital letters, digits"
                )
        supply: dict[str, int] = {}
        try:
            for asset in self.assets:
                self.addresses.parse(asset.issuer)
            for entry in self.allocations:
                self.addresses.parse(entry.address)
                units = parse_amount(entry.amount)
                supply[entry.asset] = supply.get(entry.asset, 0) + units
        except (AddressInvalid, AmountInvalid) as error:
            raise GenesisInvalid(path=path, reason=str(error)) from None
        for entry in self.allocations:
            if entry.asset != NATIVE and (entry.asset not in symbols or entry.coin):
                raise GenesisInvalid(
                    path=path, reason=f"allocation of {entry.asset!r}: no such asset, or as a coin"
                )
        supply[NATIVE] = supply.get(NATIVE, 0) + self.parameters.subsidy_total()
        for symbol, units in supply.items():
            if units > AMOUNT_MAX:
                raise GenesisInvalid(path=path, reason=f"supply of {symbol or 'native'} is too big")
        self._check_markets(path, {*symbols, self.native_symbol})

    def _check_markets(self, path: str, assets: Collection[str]) -> None:
        for entry in self.markets:
            try:
                market = entry.market(self.addresses)
            except (AddressInvalid, AmountInvalid) as error:
                raise GenesisInvalid(path=path, reason=str(error)) from None
            reason = market_fault(market)
            if not reason and not {market.base, market.quote} <= set(assets):
                reason = "it trades an asset that is not there"
            if reason:
                raise GenesisInvalid(path=path, reason=f"market {entry.symbol[:32]!r}: {reason}")
        if len({entry.symbol for entry in self.markets}) != len(self.markets):
            raise GenesisInvalid(path=path, reason="two markets have the same symbol")

    def header(self) -> Header:
        """Header of block 0, whose Merkle root commits to this document."""
        leaves = [sha256d(encode_coinbase(0)), sha256d(self.encode())]
        time = self.time_ms // 1000
        bits = BFT_BITS if self.work is msgspec.UNSET else self.work.start_bits
        return Header(BLOCK_VERSION, ZERO_HASH, merkle_root(leaves), time, bits, 0)

    @property
    def hash(self) -> bytes:
        """Identity of the chain."""
        return sha256d(self.header().encode())

    @property
    def chain_prefix(self) -> bytes:
        """What every transaction names to belong to this chain."""
        return self.hash[:CHAIN_PREFIX_BYTES]

    @property
    def validators_hash(self) -> bytes:
        """Commitment to the voters: keys and weights in order."""
        voters = tuple((validator.key, validator.weight) for validator in self.validators)
        return tagged_hash("chaind/validators", encode(voters))
