"""Invoices: a status that is a function of the stored invoice and the chain, whatever happens."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from api_kit import BOB, TOKEN, Door

from chaind.node import invoices
from chaind.node.invoices import Invoices
from chaind.primitives.address import key_address
from chaind.primitives.hashes import ZERO_HASH
from chaind.storage.errors import FileMissing
from chaind.storage.files import OsFiles
from chaind.storage.invoices import Invoice, InvoiceDamaged, InvoiceFiles

PATH = "/api/v1/invoices"


async def ask(door: Door, **fields: Any) -> Any:
    return await door.post(PATH, {"to": "bob", "amount": "10", **fields}, 201)


async def pay(door: Door, invoice: Any, amount: str, **fields: Any) -> str:
    body = {"from": "alice", "to": "bob", "amount": amount, "memo": invoice["reference"], **fields}
    txid: str = (await door.post("/transfer?wait=final", body))["tx_id"]
    return txid


async def again(door: Door) -> Invoices:
    """The same invoices as a node knows them that was started again."""
    book = door.node.invoices(InvoiceFiles(OsFiles(), door.home / "invoices"))
    await book.load()
    return book


async def status(door: Door, made: Any) -> Any:
    """The invoice as the node tells it, which a restart must not change."""
    told = await door.get(f"{PATH}/{made['id']}")
    book = await again(door)
    state = await book.state(book.get(made["id"]))
    assert (state.status, state.payment_count) == (told["status"], told["payment_count"])
    assert state == await door.server._api.invoices.state(state.invoice)  # type: ignore[union-attr]
    return told


async def test_unpaid_partial_paid_overpaid(door: Door) -> None:
    made = await ask(door, memo="two chairs & a table")
    assert (made["status"], made["paid"], made["late"]) == ("unpaid", "0", "0")
    assert made["expires_ms"] - made["created_ms"] == 3_600_000
    scheme, _, address, query, _ = urlsplit(made["uri"])
    assert (scheme, address) == ("chaind", door.show(BOB))
    assert parse_qs(query, strict_parsing=True) == {
        "amount": ["10"],
        "asset": ["COIN"],
        "memo": [f"invoice:{made['id']}"],
        "chain": [door.node.genesis.chain_prefix.hex()],
        "expires_ms": [str(made["expires_ms"])],
        "note": ["two chairs & a table"],
    }
    first = await pay(door, made, "4")
    told = await status(door, made)
    assert (told["status"], told["paid"]) == ("partial", "4")
    await pay(door, made, "6", memo=f"{made['reference']} with thanks")
    told = await status(door, made)
    assert (told["status"], told["paid"], told["payment_count"]) == ("paid", "10", 2)
    assert told["payments"][0] == {
        "tx_id": first,
        "amount": "4",
        "height": told["payments"][0]["height"],
        "time_ms": told["payments"][0]["time_ms"],
        "late": False,
    }
    await pay(door, made, "0.5")
    told = await status(door, made)
    assert (told["status"], told["paid"]) == ("overpaid", "10.5")


async def test_what_does_not_pay_it(door: Door) -> None:
    made, other = await ask(door), await ask(door)
    await pay(door, other, "10")
    await pay(door, made, "10", asset=TOKEN)  # another asset
    await pay(door, made, "10", to="carol")  # another receiver
    await pay(door, made, "10", memo=made["reference"] + "0")
    await pay(door, made, "10", memo=made["reference"].upper())
    await pay(door, made, "10", **{"from": "bob"})  # to itself: bob has no more of it
    assert (await status(door, made))["status"] == "unpaid"
    gold = await ask(door, asset=TOKEN, amount="3")
    await pay(door, gold, "3", asset=TOKEN)
    assert (await status(door, gold))["status"] == "paid"
    assert (await status(door, other))["status"] == "paid"


async def test_a_payment_after_the_end_is_late(door: Door) -> None:
    made, full = await ask(door, expires_in_ms=1_000), await ask(door, expires_in_ms=1_000)
    await pay(door, made, "9")
    await pay(door, full, "10")
    told = await status(door, made)
    assert told["status"] == "partial"
    assert told["payments"][0]["time_ms"] < made["expires_ms"]
    while door.node.chain.final.time_ms < made["expires_ms"]:  # blocks make chain time pass
        await pay(door, made, "0.001", memo="tick")
    assert (await status(door, made))["status"] == "expired"
    await pay(door, made, "1")
    told = await status(door, made)
    assert (told["status"], told["paid"], told["late"]) == ("expired", "9", "1")
    assert [payment["late"] for payment in told["payments"]] == [False, True]
    assert (await status(door, full))["status"] == "paid"  # what was paid on time stays paid


async def test_cancelled(door: Door) -> None:
    made = await ask(door)
    await pay(door, made, "2")
    ended = await door.post(f"{PATH}/{made['id']}/cancel")
    assert (ended["status"], ended["paid"]) == ("cancelled", "2")
    assert await door.post(f"{PATH}/{made['id']}/cancel") == ended
    await pay(door, made, "8")
    told = await status(door, made)
    assert (told["status"], told["paid"], told["late"]) == ("cancelled", "2", "8")
    paid = await ask(door)
    await pay(door, paid, "10")
    problem = await door.post(f"{PATH}/{paid['id']}/cancel", status=409)
    assert problem["code"] == "invoice-settled"


async def test_pages_and_the_bound(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(await ask(door))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await door.get(f"{PATH}?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        seen += [invoice["id"] for invoice in page["invoices"]]
        cursor = page["next_cursor"]
    assert seen == list(reversed(made))
    monkeypatch.setattr(invoices, "INVOICES_MAX", 5)
    body = {"to": "bob", "amount": "1"}
    assert (await door.post(PATH, body, 429))["code"] == "invoices-full"
    await door.post(f"{PATH}/{made[1]}/cancel")
    monkeypatch.setattr(invoices, "KEPT_MS", -1)
    new = (await ask(door))["id"]  # the one that ended gives way
    left = [invoice["id"] for invoice in (await door.get(PATH))["invoices"]]
    assert left == [new, *(each for each in reversed(made) if each != made[1])]
    assert [each.id for each in reversed(InvoiceFiles(OsFiles(), door.home / "invoices").load())]
    assert len(list((door.home / "invoices").iterdir())) == 5


@pytest.mark.parametrize(
    ("change", "code_status", "code"),
    [
        ({"amount": "0"}, 400, "amount-invalid"),
        ({"to": "nobody"}, 404, "name-unknown"),
        ({"asset": "NONE"}, 422, "invoice-asset-unknown"),
        ({"asset": "é"}, 422, "invoice-asset-unknown"),
        ({"expires_in_ms": 999}, 400, "body-malformed"),
        ({"expires_in_ms": 10**12}, 400, "body-malformed"),
        ({"memo": "x" * 501}, 413, "invoice-note-too-long"),
        ({"due": 1}, 400, "body-malformed"),
    ],
)
async def test_wrong_invoices_are_refused(
    door: Door, change: dict[str, Any], code_status: int, code: str
) -> None:
    body = {"to": "bob", "amount": "1", **change}
    assert (await door.post(PATH, body, code_status))["code"] == code
    assert not (door.home / "invoices").exists()
    for path in (f"{PATH}/{'0' * 20}", f"{PATH}/%2e%2e", f"{PATH}?cursor={'0' * 20}"):
        assert (await door.get(path, 404))["status"] == 404


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    files = InvoiceFiles(OsFiles(), tmp_path / "invoices")
    assert files.load() == []
    one = Invoice(
        id="00" * 10, address=key_address(BOB.public), asset="", units=1, note="", created_ms=1,
        created_height=0, expires_ms=2,
    )  # fmt: skip
    files.put(one)
    assert files.load() == [one]
    path = tmp_path / "invoices" / f"{one.id}.json"
    whole = path.read_bytes()
    for damaged in (whole[:-1], b"", whole.replace(b'"units":1', b'"units":"1"'), ZERO_HASH):
        path.write_bytes(damaged)
        with pytest.raises(InvoiceDamaged, match=path.name):
            files.load()
    path.write_bytes(json.dumps({**json.loads(whole), "id": "11" * 10}).encode())
    with pytest.raises(InvoiceDamaged, match="it is invoice 1111"):
        files.load()
    files.drop(one.id)
    assert files.load() == []
    with pytest.raises(FileMissing):
        files.drop(one.id)
