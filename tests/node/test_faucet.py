"""What the faucet gives within an hour, counted on the chain and among its own gifts under way."""

from dataclasses import dataclass, field

import pytest

from chaind.node.config import FaucetSection
from chaind.node.faucet import (
    GIFTS_PER_HOUR_MAX,
    HOUR_MS,
    PAGE,
    AddressServed,
    Faucet,
    FaucetSpent,
    GiftTooLarge,
)
from chaind.node.queries import ActivityInfo
from chaind.primitives.address import key_address
from chaind.primitives.amounts import UNIT
from chaind.wallet.derivation import faucet_key

ME = key_address(faucet_key().public)
ALICE, BOB = b"a" * 20, b"b" * 20
SECTION = FaucetSection(gift_max=100, address_per_hour_max=250, total_per_hour_max=1_000)
FEE = 7


@dataclass
class World:
    """A chain's history of one account, and time."""

    ms: int = 10 * HOUR_MS
    rows: list[ActivityInfo] = field(default_factory=list)  # oldest first
    open_ids: set[bytes] = field(default_factory=set)
    asked: int = 0  # rows read

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)

    def symbol(self, asset: str) -> str:
        return asset or "CHD"

    def activity(
        self, address: bytes, before: tuple[int, int] | None, limit: int
    ) -> list[ActivityInfo]:
        assert address == ME
        end = len(self.rows) if before is None else before[0] - 1  # heights are 1, 2, …
        found = self.rows[max(0, end - limit) : end][::-1]
        self.asked += len(found)
        return found

    def final(self, receiver: bytes, coins: float, txid: bytes = b"") -> None:
        """A gift in a block of now."""
        units = int(coins * UNIT)
        changes = (("CHD", -units - FEE), ("GOLD", -5))
        height = len(self.rows) + 1
        txid = txid or height.to_bytes(32, "big")
        self.rows.append(ActivityInfo(txid, height, 0, self.ms, changes, 0, FEE, (receiver,), b""))
        self.open_ids.discard(txid)

    def faucet(self, section: FaucetSection = SECTION) -> Faucet:
        return Faucet(
            key=faucet_key(),
            section=section,
            history=self,
            is_open=self.open_ids.__contains__,
            clock=self,
            show=bytes.decode,
        )


def test_one_gift_is_bounded_by_every_limit() -> None:
    world = World()
    world.faucet().check(ALICE, 100 * UNIT)
    with pytest.raises(GiftTooLarge, match=r"at most 100 at once, not 100\.00000001"):
        world.faucet().check(ALICE, 100 * UNIT + 1)
    small = FaucetSection(gift_max=100, address_per_hour_max=100, total_per_hour_max=9)
    with pytest.raises(GiftTooLarge, match="at most 9 at once"):  # waiting would never help
        world.faucet(small).check(ALICE, 10 * UNIT)


def test_an_address_is_served_up_to_its_share_of_the_hour() -> None:
    world = World()
    world.final(ALICE, 100)
    world.ms += 60_000
    world.final(ALICE, 100)
    faucet = world.faucet()  # made after the gifts, as after a restart
    faucet.check(ALICE, 50 * UNIT)
    faucet.check(BOB, 100 * UNIT)
    with pytest.raises(AddressServed) as caught:
        faucet.check(ALICE, 50 * UNIT + 1)
    assert caught.value.values == {
        "address": "a" * 20, "given": "200", "limit": "250", "retry_after_s": 3_540
    }  # fmt: skip
    world.ms += 3_540_000
    faucet.check(ALICE, 50 * UNIT + 1)


def test_the_faucet_gives_up_to_its_total_of_the_hour() -> None:
    world = World()
    faucet = world.faucet()
    for number in range(10):
        receiver = bytes([number]) * 20
        faucet.check(receiver, 100 * UNIT)
        world.final(receiver, 100)
        world.ms += 1_000
    with pytest.raises(FaucetSpent) as caught:
        faucet.check(BOB, 1)
    assert caught.value.values["given"] == "1000"
    assert caught.value.values["count"] == 10
    assert caught.value.values["retry_after_s"] == 3_590
    world.ms += 3_590_000
    faucet.check(BOB, 100 * UNIT)


def test_gifts_under_way_count_until_they_have_ended() -> None:
    world = World()
    faucet = world.faucet()

    def gives_51() -> bool:
        try:
            faucet.check(ALICE, 51 * UNIT)
        except AddressServed:
            return False
        return True

    with faucet.promised(b"1", ALICE, 100 * UNIT), faucet.promised(b"2", ALICE, 100 * UNIT):
        assert not gives_51()  # not even accepted yet
        world.open_ids |= {b"1", b"2"}
    assert not gives_51()
    world.final(ALICE, 100, b"1")
    assert not gives_51()  # one on the chain, one under way: neither counts twice
    faucet.check(ALICE, 50 * UNIT)
    world.open_ids.clear()  # the other one expired
    assert gives_51()


def test_a_gift_that_is_refused_is_not_counted() -> None:
    world = World()
    faucet = world.faucet()
    with pytest.raises(RuntimeError), faucet.promised(b"1", ALICE, 100 * UNIT):
        raise RuntimeError
    for _ in range(3):
        faucet.check(ALICE, 100 * UNIT)


def test_the_history_is_read_once_and_no_further_back_than_an_hour() -> None:
    world = World()
    for _ in range(3 * PAGE):
        world.final(BOB, 0.001)
    world.ms += HOUR_MS
    for _ in range(2 * PAGE):
        world.final(ALICE, 0.001)
    faucet = world.faucet()
    faucet.check(BOB, UNIT)
    assert world.asked == 3 * PAGE
    world.final(ALICE, 100)
    world.asked = 0
    with pytest.raises(AddressServed):
        world.faucet(FaucetSection(address_per_hour_max=100)).check(ALICE, UNIT)
    faucet.check(ALICE, UNIT)
    world.asked = 0
    faucet.check(ALICE, UNIT)
    assert world.asked == PAGE  # one look at the newest page


def test_the_number_of_gifts_is_bounded() -> None:
    world = World()
    faucet = world.faucet(FaucetSection())
    for _ in range(GIFTS_PER_HOUR_MAX - 1):
        world.final(BOB, 0.001)
    faucet.check(ALICE, UNIT)
    world.final(BOB, 0.001)
    with pytest.raises(FaucetSpent, match=f"{GIFTS_PER_HOUR_MAX} gifts"):
        faucet.check(ALICE, UNIT)
