"""The client's payouts, refunds, invoices and statements against a real node, in both faces."""

import asyncio

import pytest
from api_kit import ALICE, BOB, TOKEN, Door

from chaind.primitives.amounts import UNIT
from chaind.wallet.answers import Payee
from chaind.wallet.client import Client
from chaind.wallet.client_sync import SyncClient
from chaind.wallet.errors import NotThere, Refused


async def test_payouts_and_refunds(door: Door) -> None:
    async with Client.open([door.url]) as client:
        rows = (Payee("bob", UNIT), Payee(3, 2 * UNIT), Payee("bob", 5, TOKEN))
        paid = await client.payout("alice", rows, memo="wages", key="may")
        assert (paid.count, paid.amounts, paid.key, paid.earlier) == (
            3, {"COIN": "3", TOKEN: "0.00000005"}, "may", False
        )  # fmt: skip
        again = await client.payout("alice", rows, memo="wages", key="may")
        assert (again.tx_id, again.earlier) == (paid.tx_id, True)

        payment = bytes.fromhex(paid.tx_id)
        first = await client.refund(payment, source="bob", units=UNIT // 4, asset="COIN", key="r")
        assert (first.refund_of, first.number, first.amount) == (paid.tx_id, 1, "0.25")
        again = await client.refund(payment, source="bob", units=UNIT // 4, asset="COIN", key="r")
        assert (again.tx_id, again.earlier) == (first.tx_id, True)
        rest = await client.refund(payment, source="bob", asset="COIN", memo="sorry")
        assert (rest.amount, rest.number, len(rest.key)) == ("0.75", 2, 32)
        state = await client.refunds(payment, "bob")
        assert (state.left, state.next_number) == ({"COIN": "0", TOKEN: "0.00000005"}, 3)
        assert (state.payer, state.payee) == (door.show(ALICE), door.show(BOB))
        assert [one.memo for one in state.refunds] == ["", "sorry"]
        with pytest.raises(Refused) as caught:
            await client.refund(payment, source="bob", units=UNIT, asset="COIN")
        assert caught.value.problem == "refund-exceeds"
        with pytest.raises(NotThere):
            await client.refunds(bytes(32), "bob")


async def test_invoices(door: Door) -> None:
    async with Client.open([door.url]) as client:
        made = await client.create_invoice("bob", 3 * UNIT, memo="tea", expires_in_ms=60_000)
        assert (made.status, made.amount, made.memo) == ("unpaid", "3", "tea")
        await client.transfer("alice", "bob", 3 * UNIT, memo=made.reference)
        told = await client.invoice(made.id)
        assert (told.status, told.payments[0].amount) == ("paid", "3")
        with pytest.raises(Refused, match="cannot be cancelled"):
            await client.cancel_invoice(made.id)
        other = await client.create_invoice("bob", 1)
        assert (await client.cancel_invoice(other.id)).status == "cancelled"
        assert [one.id for one in await client.invoices()] == [other.id, made.id]
        assert [one.id for one in await client.invoices(1)] == [other.id]
        with pytest.raises(NotThere):
            await client.invoice("00" * 10)


async def test_a_statement_of_many_pages(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.api.statements.PAGE", 2)
    async with Client.open([door.url]) as client:
        for number in range(1, 6):
            await client.transfer("alice", "bob", number)
        last = (await client.status()).height
        found = await client.statement("bob", from_height=1, to_height=last)
        assert (found.asset, found.opening, found.closing) == (
            "COIN",
            1000 * UNIT,
            1000 * UNIT + 15,
        )
        assert [line.change for line in found.lines] == [1, 2, 3, 4, 5]
        assert [line.balance - 1000 * UNIT for line in found.lines] == [1, 3, 6, 10, 15]
        gold = await client.statement("alice", asset=TOKEN)
        assert (gold.opening, gold.lines, gold.closing) == (50 * UNIT, (), 50 * UNIT)


async def test_without_an_event_loop(door: Door) -> None:
    def use() -> None:
        with SyncClient.open([door.url]) as client:
            paid = client.payout("alice", [Payee("bob", 7)], key="k")
            back = client.refund(bytes.fromhex(paid.tx_id), units=3)
            assert client.refunds(bytes.fromhex(paid.tx_id), "bob").refunds[0].tx_id == back.tx_id
            made = client.create_invoice("bob", 5)
            assert client.invoice(made.id) == client.invoices(1)[0]
            assert client.cancel_invoice(made.id).status == "cancelled"
            assert client.statement("bob").closing == 1000 * UNIT + 4

    await asyncio.to_thread(use)
