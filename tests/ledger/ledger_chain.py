"""A branch of real blocks over a dict, taken through every check in its order."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    check_error,
    make_body,
    pay_in,
    pay_out,
    plus,
    sign,
)

from chaind.ledger.block import (
    Executed,
    ParentInfo,
    apply_genesis,
    block_context,
    check_block,
    check_in_context,
    execute_block,
    genesis_info,
)
from chaind.ledger.checks import Checked, check_transaction, verify_signatures
from chaind.ledger.journal import State
from chaind.ledger.keys import balance_key, decode_units, supply_key
from chaind.market.exchange import Exchange
from chaind.primitives.address import AddressFormat
from chaind.primitives.block import BFT_BITS, Block, Commitment
from chaind.primitives.coinbase import address_script, encode_coinbase, parse_coinbase
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, Parameters, Validator
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import Transaction

TIME_MS = 1_700_000_000_000
SHOW = AddressFormat(hrp="tst", p2pkh_version=0x1C)


class Chain:
    """One branch of blocks over a dict, taken through every check in its order."""

    def __init__(self, supply: str = "1000", **parameters: int) -> None:
        self.genesis = self.make_genesis(supply, Parameters(**parameters))
        self.genesis.check()
        self.rows: dict[bytes, bytes] = {}
        self.state = State(self.rows, books=Exchange(self.genesis.parameters.order_limits))
        first = apply_genesis(self.state, self.genesis)
        self.rows.update(plus({}, [first.delta]))
        self.state.settle(first.delta)
        self.info = genesis_info(self.genesis, first.root)

    def make_genesis(self, supply: str, parameters: Parameters) -> Genesis:
        return Genesis(
            name="test",
            time_ms=TIME_MS,
            addresses=SHOW,
            validators=(Validator(public_key=DAVE.public.hex()),),
            allocations=(
                Allocation(address=SHOW.show(ALICE.address), amount=supply),
                Allocation(address=SHOW.show(ALICE.address), amount="50", asset="GOLD"),
                Allocation(address=SHOW.show(BOB.address), amount="3", coin=True),
            ),
            assets=(AssetEntry(symbol="GOLD", issuer=SHOW.show(CAROL.address)),),
            parameters=parameters,
        )

    def transaction(self, *signers: Any, **fields: Any) -> Transaction:
        defaults = {"chain": self.genesis.chain_prefix, "valid_until": TIME_MS + 60_000}
        return sign(make_body(**{**defaults, **fields}), *signers)

    def pay(self, amount: int, fee: int = 0, **fields: Any) -> Transaction:
        ends = {"inputs": [pay_in(ALICE, amount + fee)], "outputs": [pay_out(BOB, amount)]}
        return self.transaction(ALICE, **ends, **fields)

    def block(self, *transactions: Transaction, **changes: Any) -> Block:
        """The right next block, with `changes` to its commitment, its time or its bits."""
        height = self.info.height + 1
        time_ms = self.info.time_ms + 1000
        time, bits = changes.pop("time", time_ms // 1000), changes.pop("bits", BFT_BITS)
        coinbase = changes.pop("coinbase", encode_coinbase(height))
        parent = changes.pop("parent", self.info.hash)
        commitment = Commitment(
            height=height,
            time_ms=time_ms,
            epoch=1,
            view=self.info.view + 1,
            proposer=DAVE.address,
            parent_root=self.info.root,
            validators_hash=self.genesis.validators_hash,
            last_certificate=(self.info.view, self.info.hash),
            snapshot=None,
            evidence=(),
        )
        block = Block.assemble(
            parent=parent,
            time=time,
            bits=bits,
            coinbase=coinbase,
            commitment=msgspec.structs.replace(commitment, **changes),
            transactions=transactions,
        )
        return Block.decode(block.encode())

    def check(self, transactions: Sequence[Transaction]) -> list[Checked]:
        prefix = self.genesis.chain_prefix
        checked = [
            check_transaction(each, self.genesis.parameters, prefix) for each in transactions
        ]
        for each in checked:
            verify_signatures(each)
        return checked

    def add(self, block: Block) -> Executed:
        """Every check, cheap to dear; then the block is the head."""
        check_block(block, self.genesis.parameters)
        check_in_context(
            block, self.info, 1, self.genesis.validators_hash, DAVE.address, self.genesis
        )
        executed = execute_block(
            self.state,
            self.check(block.transactions),
            block_context(self.info, self.genesis),
            self.info.root,
            block.commitment.proposer,
        )
        time_ms = block.commitment.time_ms
        assert time_ms is not None
        view = block.commitment.view
        self.info = ParentInfo(block.hash, block.height, time_ms, view, executed.root)
        return executed

    def mine(
        self, outputs: Sequence[tuple[Any, int]], *transactions: Transaction, at: int = 0
    ) -> Executed:
        """A block of the pow shape at the next height (or `at`), paying `outputs` as coins."""
        context = block_context(self.info, self.genesis)
        context = context._replace(height=at or context.height)
        scripts = [(address_script(owner.address), amount) for owner, amount in outputs]
        raw = encode_coinbase(context.height, b"/pool/", scripts)
        coinbase = (sha256d(raw), parse_coinbase(raw))
        checked = self.check(transactions)
        executed = execute_block(self.state, checked, context, self.info.root, None, coinbase)
        self.info = self.info._replace(height=context.height, root=executed.root)
        return executed

    def balance(self, address: bytes, asset: str = "") -> int:
        return decode_units(self.state.get(balance_key(address, asset)))

    def supply(self) -> int:
        return decode_units(self.state.get(supply_key("")))

    def refuses(
        self, error: type[ChaindError], act: Callable[[], object], **values: object
    ) -> None:
        depth, info = self.state.depth, self.info
        with pytest.raises(ChaindError) as caught:
            act()
        check_error(caught.value, error, values)
        assert (self.state.depth, self.info) == (depth, info)
        self.state.begin()  # would assert, were a block still being applied
        assert self.state.seal().writes == ()
        self.state.undo()
