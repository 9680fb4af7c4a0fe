"""Dying on request is refused where it is not enabled, and the payment with it."""

import pytest
from api_kit import Door

PAY = {"from": "alice", "to": "bob", "amount": "1"}


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("true", 403, "chaos-disabled"), ("TRUE", 403, "chaos-disabled"), ("1", 400, "chaos-invalid")],
)
async def test_without_chaos_the_header_is_refused(
    door: Door, header: str, status: int, code: str
) -> None:
    problem = await door.post("/transfer", PAY, status, headers={"X-Simulate-Chaos": header})
    assert problem["code"] == code
    assert problem["advice"]
    assert door.node.queries.pending_count == 0
    assert (await door.get("/balance/bob"))["balance"] == "1000"


async def test_without_chaos_false_asks_for_nothing(door: Door) -> None:
    await door.post("/transfer?wait=final", PAY, headers={"X-Simulate-Chaos": "false"})
    assert (await door.get("/balance/bob"))["balance"] == "1001"
