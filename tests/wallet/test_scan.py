"""Finding what an account has: gaps, free addresses, what is spoken for, and fees of the day."""

from typing import Any

import pytest

from chaind.primitives.genesis import DEFAULT_ADDRESSES, Genesis, Parameters, Validator
from chaind.primitives.keys import SecretKey
from chaind.wallet.accounts import (
    FIRST,
    Place,
    add_watched_address,
    address_at,
    empty_wallet,
    find_account,
    new_wallet,
)
from chaind.wallet.answers import (
    Activity,
    Coin,
    Holdings,
    NodeStatus,
    PendingPage,
    Waiting,
    WaitingBody,
    WaitingInput,
)
from chaind.wallet.client import Client
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC
from chaind.wallet.errors import NodeSilent
from chaind.wallet.history import Entry, merge
from chaind.wallet.scan import FEE_TIMES_MAX, GAP, fee_rate, funds, scan
from chaind.wallet.secret import Secret

HD = new_wallet(DEFAULT_ADDRESSES, Secret(DEVELOPMENT_MNEMONIC), Secret(""))
MAIN = find_account(HD.open, "main")
TXID = "cd" * 32
GENESIS = Genesis(
    name="g",
    time_ms=1,
    validators=(Validator(public_key=SecretKey(b"\7" * 32).public.hex()),),
    allocations=(),
    parameters=Parameters(coinbase_maturity=100),
)
NOTHING = PendingPage(transactions=[], count=0)


def text_of(place: Place) -> str:
    return DEFAULT_ADDRESSES.show(address_at(MAIN, place))


class Chain(Client):
    """A client whose nodes are a table."""

    def __init__(self, held: dict[str, Holdings], coins: dict[str, list[Coin]], height: int = 0):
        self.held = held
        self.chest = coins
        self.height = height
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return "http://table"

    async def holdings(self, who: str) -> Holdings:
        self.asked.append(who)
        empty = Holdings(address=who, balance="0", accounts={}, coins="0", utxo_count=0)
        return self.held.get(who, empty)

    async def coins(self, who: str) -> list[Coin]:
        return self.chest.get(who, [])

    async def status(self) -> NodeStatus:
        return NodeStatus(
            name="n", chain="g", height=self.height, time_ms=1, syncing=False, pending=0
        )


def holds(place: Place, amount: str = "5", **more: Any) -> dict[str, Holdings]:
    text = text_of(place)
    fields = {"accounts": {"COIN": amount}, "coins": "0", "utxo_count": 0, **more}
    return {text: Holdings(address=text, balance=amount, **fields)}


async def test_an_unused_account_is_its_first_address() -> None:
    chain = Chain({}, {})
    found = await scan(chain, MAIN, DEFAULT_ADDRESSES)
    assert [entry.place for entry in found.found] == [FIRST]
    assert [entry.place for entry in found.free] == [FIRST, Place(1, 0)]
    assert found.change == address_at(MAIN, Place(1, 0))
    assert chain.asked == [text_of(Place(c, n)) for c in (0, 1) for n in range(GAP)]


async def test_addresses_are_found_up_to_a_gap_and_not_beyond() -> None:
    near, far = Place(0, GAP - 1), Place(0, 2 * GAP)
    found = await scan(Chain({**holds(near), **holds(far)}, {}), MAIN, DEFAULT_ADDRESSES)
    assert [entry.place for entry in found.found] == [FIRST, near]
    assert found.free[0].place == Place(0, GAP)
    beyond = Place(0, 2 * GAP - 1)
    found = await scan(Chain({**holds(near), **holds(beyond)}, {}), MAIN, DEFAULT_ADDRESSES)
    assert [entry.place for entry in found.found] == [FIRST, near, beyond]


async def test_an_address_that_was_emptied_counts_as_used() -> None:
    emptied = {text_of(Place(0, 3)): Holdings(
        address="x", balance="0", accounts={}, coins="0", utxo_count=0, last_activity_block=9
    )}  # fmt: skip
    found = await scan(Chain(emptied, {}), MAIN, DEFAULT_ADDRESSES)
    assert [entry.place for entry in found.found] == [FIRST, Place(0, 3)]
    assert found.totals() == {}


async def test_a_single_address_takes_its_own_change() -> None:
    watched = add_watched_address(empty_wallet(DEFAULT_ADDRESSES), "shop", b"\x31" * 32)
    chain = Chain({}, {})
    found = await scan(chain, watched.open.accounts[0], DEFAULT_ADDRESSES)
    assert len(chain.asked) == 1
    assert found.change == found.first.address == b"\x31" * 32


def coin(units: str, output: int, *, height: int = 1, coinbase: bool = False) -> Coin:
    return Coin(
        tx_id=TXID, output_index=output, amount=units, recipient_address="x", height=height,
        coinbase=coinbase,
    )  # fmt: skip


def waiting(*inputs: WaitingInput) -> PendingPage:
    entry = Waiting(tx_id=TXID, fee="0", size=1, transaction=WaitingBody(inputs=list(inputs)))
    return PendingPage(transactions=[entry], count=1)


async def test_funds_leave_out_what_waiting_payments_take_and_what_is_not_ripe() -> None:
    chest = [coin("1", 0), coin("2", 1), coin("3", 2, height=51, coinbase=True)]
    chest.append(coin("4", 3, height=50, coinbase=True))
    table = holds(FIRST, "5", accounts={"COIN": "5", "GOLD": "7"}, utxo_count=4)
    chain = Chain(table, {text_of(FIRST): chest}, height=149)
    found = await scan(chain, MAIN, DEFAULT_ADDRESSES)
    everything = await funds(chain, found, GENESIS, NOTHING)
    assert [entry.output for entry in everything.coins] == [0, 1, 3]  # matures at 150 and 151
    assert {(entry.asset, entry.units) for entry in everything.balances} == {
        ("", 5 * 10**8), ("GOLD", 7 * 10**8)
    }  # fmt: skip
    taken = waiting(
        WaitingInput(type="coin", tx_id=TXID, output_index=1),
        WaitingInput(type="account", address=text_of(FIRST), asset="COIN", amount="1.5"),
        WaitingInput(type="account", address=text_of(FIRST), asset="GOLD", amount="7"),
        WaitingInput(type="account", address="somebody else", asset="COIN", amount="1"),
    )
    left = await funds(chain, found, GENESIS, taken)
    assert [entry.output for entry in left.coins] == [0, 3]
    assert [(entry.asset, entry.units) for entry in left.balances] == [("", 350_000_000)]


def queue(*entries: tuple[str, int], count: int | None = None) -> PendingPage:
    rows = [
        Waiting(tx_id=TXID, fee=fee, size=size, transaction=WaitingBody(inputs=[]))
        for fee, size in entries
    ]
    return PendingPage(transactions=rows, count=len(rows) if count is None else count)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (NOTHING, 2),
        (queue(("0.00001", 500), ("0.00002", 500)), 2),  # a block takes both
        (queue(("0.00001", 500), ("0.00002", 500), ("0.00003", 500)), 3),  # above the third best
        (queue(("0.00001", 500), ("0.00002", 500), count=4), 3),  # twice as many are not shown
        (queue(*[("0.00002", 500)] * 3), 5),
        (queue(*[("1", 500)] * 3), 2 * FEE_TIMES_MAX),
    ],
)
def test_the_fee_rate_is_what_the_next_block_asks(page: PendingPage, expected: int) -> None:
    parameters = Parameters(min_fee_per_byte=2, block_bytes_max=1_000)
    assert fee_rate(page, parameters, "x") == expected


def test_on_a_free_chain_a_full_queue_costs_a_unit() -> None:
    parameters = Parameters(block_bytes_max=1_000)
    assert fee_rate(queue(*[("0", 500)] * 3), parameters, "x") == 1
    assert fee_rate(NOTHING, parameters, "x") == 0


def test_an_amount_that_is_none_is_the_nodes_fault() -> None:
    with pytest.raises(NodeSilent, match="http://n gives no answer: amount"):
        fee_rate(queue(("many", 5)), Parameters(), "http://n")


def activity(tx: int, changes: dict[str, str], fee: str = "0", **more: Any) -> Activity:
    fields = {
        "direction": "?", "asset": "?", "amount": "0", "counterparties": [], "memo": "m",
        "memo_hex": "6d", "height": tx, "time_ms": tx, **more,
    }  # fmt: skip
    return Activity(tx_id=f"{tx:064x}", fee=fee, changes=changes, **fields)


def one(*parts: Activity) -> Entry:
    [entry] = merge(parts, frozenset({"mine", "change"}), "COIN", "x")
    return entry


def test_a_payment_with_change_is_one_entry() -> None:
    entry = one(
        activity(5, {"COIN": "-10.5"}, fee="0.5", counterparties=["shop", "change"]),
        activity(5, {"COIN": "4"}, counterparties=["shop", "mine"]),
    )
    assert (entry.direction, entry.units, entry.fee_units) == ("sent", 6 * 10**8, 5 * 10**7)
    assert entry.counterparties == ("shop",)


@pytest.mark.parametrize(
    ("changes", "fee", "expected"),
    [
        ({"COIN": "3"}, "0", ("received", "COIN", 3)),
        ({"COIN": "-3"}, "1", ("sent", "COIN", 2)),
        ({"COIN": "-1"}, "1", ("self", "COIN", 0)),
        ({"GOLD": "-4", "COIN": "-1"}, "1", ("sent", "GOLD", 4)),
        ({"GOLD": "4"}, "0", ("received", "GOLD", 4)),
    ],
)
def test_what_an_entry_says(
    changes: dict[str, str], fee: str, expected: tuple[str, str, int]
) -> None:
    entry = one(activity(1, changes, fee))
    assert (entry.direction, entry.asset, entry.units) == (*expected[:2], expected[2] * 10**8)


def test_history_is_newest_first() -> None:
    parts = [activity(number, {"COIN": "1"}) for number in (3, 9, 5, 9)]
    assert [entry.height for entry in merge(parts, frozenset(), "COIN", "x")] == [9, 5, 3]
