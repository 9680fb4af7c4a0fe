"""Accounts with chosen names: made over the API, paid from and to, and who may make them."""

from pathlib import Path

import pytest
from api_kit import Door

from chaind.node.custody import NameFile, NameFileInvalid, name_number
from chaind.storage.files import OsFiles

ACCOUNTS = "/api/v1/custody/accounts"


async def test_a_name_is_made_once_and_pays(door: Door) -> None:
    made = await door.post(ACCOUNTS, {"name": "till-3"}, 201)
    again = await door.post(ACCOUNTS, {"name": "till-3"}, 200)
    assert made == again
    assert made["id"] == name_number("till-3")
    assert made in (await door.get(ACCOUNTS))["accounts"]
    await door.post("/transfer?wait=final", {"from": "alice", "to": "till-3", "amount": "5"})
    body = {"from_id": made["id"], "to": "bob", "amount": "1"}
    await door.post("/transfer?wait=final", body)
    body = {"from": made["address"], "to_id": 2, "amount": "1"}
    await door.post("/transfer?wait=final", body)
    held = await door.get("/balance/till-3")
    assert (held["user"], held["address"]) == ("till-3", made["address"])
    assert held == await door.get(f"/balance/{made['address']}")
    assert held == await door.get(f"/balance/{made['id']}")


@pytest.mark.parametrize("name", ["", "7", "Alice", "a b", "a" * 25, "chd1qq/..", "né", "a\n"])
async def test_what_is_no_name_is_refused(name: str, door: Door) -> None:
    before = await door.get(ACCOUNTS)
    problem = await door.post(ACCOUNTS, {"name": name}, 400)
    assert problem["code"] == "account-name-refused"
    assert await door.get(ACCOUNTS) == before


async def test_behind_a_proxy_the_token_is_needed(door: Door) -> None:
    forwarded = {"X-Forwarded-For": "192.0.2.1"}
    problem = await door.post(ACCOUNTS, {"name": "shop"}, 401, headers=forwarded)
    assert problem["code"] == "token-needed"
    await door.post(ACCOUNTS, {"name": "shop"}, 201, headers={**forwarded, **door.token})


def test_names_last(tmp_path: Path) -> None:
    file = NameFile(OsFiles(), tmp_path / "names")
    assert file.read() == ()
    file.write(["till", "shop"])
    assert file.read() == ("till", "shop")
    assert (tmp_path / "names").stat().st_mode & 0o777 == 0o600
    for damage in ("till\ntill\n", "till\nTill\n", "\n", "a" * 30):
        (tmp_path / "names").write_text(damage)
        with pytest.raises(NameFileInvalid):
            file.read()
