"""Mining over plain HTTP: a template out, a mined header back; on a chain of validators neither."""

import time
from typing import Any

import pytest
from api_kit import BOB, Door

from chaind.api.routes import ROUTES
from chaind.node.templates import Plan
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import Header
from chaind.primitives.genesis import Parameters, ProofOfWork
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import WorkParameters

EASY = 0x207FFFFF
WORK = ProofOfWork(
    rules=WorkParameters(retarget="asert", limit_bits=EASY, target_spacing_ms=1_000),
    start_bits=EASY,
    final_depth=3,
)
MINED = {
    "mode": "pow",
    "work": WORK,
    "validators": (),
    "time_ms": int(time.time()) * 1_000 - 60_000,
    "parameters": Parameters(subsidy_units=50 * 10**8),
}
on_mined_chain = pytest.mark.parametrize("genesis_changes", [MINED])


async def template(door: Door, who: str = "bob") -> Any:
    return await door.post("/mine_block", {"miner_address": who})


def mine(answer: Any, *, done: bool = True, **fields: int) -> str:
    """A header for a template, hashed as any script would."""
    header = bytearray.fromhex(answer["header"])
    target = int(answer["target"], 16)
    for name, at in (("version", 0), ("parent", 4), ("merkle_root", 36), ("time", 68)):
        if name in fields:
            header[at : at + 4] = fields[name].to_bytes(4, "little")
    for nonce in range(1_000):
        header[76:80] = nonce.to_bytes(4, "little")
        if (int.from_bytes(sha256d(bytes(header)), "little") <= target) is done:
            return header.hex()
    raise AssertionError("no nonce does it")


async def submit(door: Door, answer: Any, header: str, status: int = 200) -> Any:
    body = {"template_id": answer["template_id"], "header": header}
    return await door.post("/submit_block", body, status)


@on_mined_chain
async def test_a_template_is_mined_and_accepted(door: Door) -> None:
    paid = (await door.post("/transfer", {"from": "alice", "to": "bob", "amount": "2"}, 202))[
        "tx_id"
    ]
    answer = await template(door)
    assert (answer["height"], answer["reward"], answer["transactions"]) == (1, "50", 1)
    assert answer["previous_hash"] == door.node.genesis.hash[::-1].hex()
    header = mine(answer)
    told = await submit(door, answer, header)
    assert told == {
        "status": "accepted",
        "height": 1,
        "hash": sha256d(bytes.fromhex(header))[::-1].hex(),
    }
    assert (await door.get(f"/transaction/{paid}"))["status"] == "included"
    for _ in range(3):
        answer = await template(door, door.show(BOB))
        await submit(door, answer, mine(answer))
    assert (await door.get(f"/api/v1/transactions/{paid}"))["status"] in ("included", "final")
    status = await door.get("/status")
    assert status["mode"] == "pow"
    assert status["head_height"] == 4


@on_mined_chain
async def test_miners_roll_time_and_version_and_each_template_is_another(door: Door) -> None:
    first, second = await template(door), await template(door)
    assert first["coinbase"] != second["coinbase"]
    rolled = mine(first, time=first["time"] + 5, version=0x3FFFE000)
    await submit(door, first, rolled)
    assert Header.decode(bytes.fromhex(rolled)).time == first["time"] + 5


@on_mined_chain
async def test_however_many_ask_transactions_are_chosen_now_and_then(door: Door) -> None:
    """Choosing them executes them: whoever asks often would have the node do nothing else."""
    assert isinstance(door.node.engine, WorkEngine)
    assert door.node.gbt is not None
    door.node.gbt._refresh_s = 3_600.0
    plans = 0
    make = door.node.engine.next_block.plan

    def counted(**how: bool) -> Plan:
        nonlocal plans
        plans += 1
        return make(**how)

    door.node.engine.next_block.plan = counted  # type: ignore[method-assign]
    given = []
    for amount in range(1, 9):
        body = {"from": "alice", "to": "bob", "amount": str(amount)}
        await door.post("/transfer", body, 202)
        given.append(await template(door))
    assert plans == 1, "all within the pause after the first"
    assert len({answer["coinbase"] for answer in given}) == len(given)
    await submit(door, given[-1], mine(given[-1]))


@on_mined_chain
async def test_no_template_of_a_node_that_may_not_know_the_best_chain(door: Door) -> None:
    assert door.node.gbt is not None
    door.node.gbt._standing._alone = False
    problem = await door.post("/mine_block", {"miner_address": "bob"}, 503)
    assert problem["code"] == "no-peers"


@on_mined_chain
async def test_stale_and_unknown_templates_say_so(door: Door) -> None:
    first, second = await template(door), await template(door)
    await submit(door, first, mine(first))
    problem = await submit(door, second, mine(second), 409)
    assert problem["code"] == "stale-block"
    problem = await submit(door, first, mine(first), 409)
    assert problem["code"] == "duplicate"
    problem = await submit(door, {"template_id": "0" * 16}, mine(first), 404)
    assert problem["code"] == "template-unknown"


@on_mined_chain
async def test_what_is_no_block_is_refused_with_its_rule(door: Door) -> None:
    answer = await template(door)
    cases = [
        (mine(answer, done=False), 422, "high-hash"),
        (mine(answer, time=1), 422, "time-too-old"),
        (mine(answer, time=answer["time"] + 100_000), 422, "time-too-new"),
        (mine(answer, version=1), 422, "block-invalid"),
        (mine(answer, merkle_root=5), 422, "header-foreign"),
        (mine(answer, parent=5), 422, "header-foreign"),
        ("ab", 400, "header-hex-invalid"),
        (answer["header"][:-2] + "zz", 400, "header-hex-invalid"),
    ]
    for header, status, code in cases:
        assert (await submit(door, answer, header, status))["code"] == code
    await submit(door, answer, mine(answer))
    assert isinstance(door.node.engine, WorkEngine)
    assert door.node.engine.tree.ready.height == 1


@on_mined_chain
async def test_nobody_is_paid_who_does_not_exist(door: Door) -> None:
    problem = await door.post("/mine_block", {"miner_address": "nobody"}, 404)
    assert problem["code"] == "name-unknown"


async def test_a_chain_of_validators_is_not_mined(door: Door) -> None:
    problem = await door.post("/mine_block", {"miner_address": "bob"}, 409)
    assert problem["code"] == "not-mined"
    body = {"template_id": "0" * 16, "header": "00" * 80}
    assert (await door.post("/submit_block", body, 409))["code"] == "not-mined"


@on_mined_chain
async def test_every_page_of_a_node_is_there_on_a_chain_of_miners(door: Door) -> None:
    for _ in range(5):
        answer = await template(door)
        await submit(door, answer, mine(answer))
    pages = [route.path for route in ROUTES if route.method == "GET" and not route.segments]
    for path in pages:
        if path != "/ws":
            async with door.session.get(path, headers=door.token) as response:
                assert response.status == 200, (path, await response.text())
    assert (await door.get("/api/v1/blocks/latest"))["height"] == door.node.chain.final.height
