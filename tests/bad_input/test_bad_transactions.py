"""Every bad transaction through every door: one code, its values, and nothing changed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgpack
import msgspec
import pytest
from hostile_peer import Stranger, proposal, stranger
from hostile_transactions import ROWS, Row
from hostile_world import HOSTILE, World

from chaind.api.forms import Forms
from chaind.consensus.core import Verdict
from chaind.ledger import errors as ledger_errors
from chaind.mempool import errors as mempool_errors
from chaind.network import messages as wire
from chaind.primitives import codec
from chaind.primitives.errors import ChaindError, Malformed, PeerFault
from chaind.primitives.transaction import Transaction

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"
KINDS = {
    kind.code: kind
    for module in (ledger_errors, mempool_errors, codec)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, ChaindError)
}


class Verdictum(NamedTuple):
    """What a door said."""

    code: str
    detail: str
    advice: str
    status: int | None


def _of_problem(problem: dict[str, Any]) -> Verdictum:
    assert problem["values"], "the values that broke the rule"
    return Verdictum(problem["code"], problem["detail"], problem["advice"], problem["status"])


def _of_error(error: BaseException | None) -> Verdictum:
    assert isinstance(error, ChaindError)
    return Verdictum(error.code, str(error), error.advice, None)


async def _post(world: World, body: bytes, media: str) -> tuple[int, bytes]:
    async with world.session.post(
        "/api/v1/transactions", data=body, headers={"Content-Type": media}
    ) as response:
        return response.status, await response.read()


async def single(world: World, raw: bytes) -> Verdictum:
    status, answer = await _post(world, json.dumps({"raw": raw.hex()}).encode(), JSON)
    problem = json.loads(answer)
    assert problem["status"] == status
    return _of_problem(problem)


async def array(world: World, raw: bytes) -> Verdictum:
    status, answer = await _post(world, json.dumps([{"raw": raw.hex()}, raw.hex()]).encode(), JSON)
    assert status == 200
    first, second = json.loads(answer)["results"]
    assert first == second
    return _of_problem(first["problem"])


async def ndjson(world: World, raw: bytes) -> Verdictum:
    status, answer = await _post(world, b'\n{"raw":"%s"}\n' % raw.hex().encode(), NDJSON)
    assert status == 200
    [line] = answer.splitlines()
    return _of_problem(json.loads(line)["problem"])


async def messagepack(world: World, raw: bytes) -> Verdictum:
    status, answer = await _post(world, msgpack.packb(raw), MSGPACK)
    assert status == 200
    return _of_problem(msgpack.unpackb(answer)["problem"])


async def readable(world: World, raw: bytes) -> Verdictum:
    form = Forms(world.genesis).transaction_to_json(Transaction.decode(raw))
    _, answer = await _post(world, msgspec.json.encode(form), JSON)
    return _of_problem(json.loads(answer))


async def pushed(world: World, raw: bytes) -> Verdictum:
    """A peer pushes it: blamed where only a broken or hostile one can, left alone otherwise."""
    async with stranger(world) as guest:
        before = len(world.submitted)
        guest.say(wire.Transactions((raw,)))
        await world.until(lambda: len(world.submitted) > before)
        error = world.submitted[-1].error
        if isinstance(error, Malformed):
            await world.until(guest.gone.is_set)
        else:
            await guest.understood()
        assert (guest.points > 0) == isinstance(error, PeerFault)
    return _of_error(error)


class Watch:
    """What a node says of proposed blocks, and whom it punishes while that goes on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[BaseException] = []
        bodies, network = world.node.bodies, world.node.network
        refuse, verdict, punish = bodies._refuse, bodies._on_verdict, network.punish

        def refused(block_hash: bytes, error: ChaindError) -> None:
            self.said.append(error)
            refuse(block_hash, error)

        def judged(block_hash: bytes, value: Verdict) -> None:
            candidate = world.node.chain.candidate(block_hash)
            if value is Verdict.NEVER and candidate is not None and candidate.error is not None:
                self.said.append(candidate.error)
            verdict(block_hash, value)

        def punished(peer: Any, fault: PeerFault) -> None:
            self.said.append(fault)
            punish(peer, fault)

        monkeypatch.setattr(bodies, "_refuse", refused)
        monkeypatch.setattr(bodies, "_on_verdict", judged)
        monkeypatch.setattr(network, "punish", punished)


async def _propose(world: World, leader: Stranger, raw: bytes, watch: Watch) -> None:
    """In the next view that the hostile validator leads; again if its time was over too soon."""
    leader.answers[wire.GetBlockTransactions] = lambda asked: wire.BlockTransactions(
        asked.block_hash, (raw,)
    )
    node = world.node
    while not watch.said and not leader.gone.is_set():
        await world.until(lambda: node.engine.view % 2 == 1)
        view, parent = node.engine.view, node.chain.head
        if parent.view == view - 1:
            leader.say(proposal(world, view, parent.hash, (raw,)))
        await world.until(
            lambda view=view: watch.said or leader.gone.is_set() or node.engine.view > view
        )


async def proposed(world: World, raw: bytes, watch: Watch) -> Verdictum:
    """The leader of a view proposes a block with it."""
    async with stranger(world, HOSTILE) as leader:
        async with asyncio.timeout(10):
            await _propose(world, leader, raw, watch)
    error = watch.said[0]
    assert isinstance(error, ChaindError)
    if isinstance(error, ledger_errors.BlockTransactionInvalid):
        assert error.values["index"] == 0
        kind = KINDS[str(error.values["reason"])]
        return Verdictum(kind.code, str(error.values["cause"]), kind.advice, None)
    return _of_error(error)


DOORS: dict[str, Callable[[World, bytes], Awaitable[Verdictum]]] = {
    "single": single,
    "array": array,
    "ndjson": ndjson,
    "messagepack": messagepack,
    "pushed": pushed,
}


def bytes_of(world: World, row: Row) -> bytes:
    made = row.make(world)
    return made if isinstance(made, bytes) else made.raw


def judge(row: Row, door: str, said: Verdictum) -> None:
    """The code of the row, words that name what is wrong, and what to do where that is known."""
    assert said.code == row.code, (door, said)
    for word in row.says:
        assert word in said.detail, (door, said)
    assert said.advice == KINDS[row.code].advice
    assert said.status in (row.status, None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_one_code_at_every_door_and_nothing_changed(world: World, row: Row) -> None:
    raw = bytes_of(world, row)
    before = world.standing()
    doors = {**DOORS, "readable": readable} if row.readable else DOORS
    for name, door in doors.items():
        judge(row, name, await door(world, raw))
        assert world.standing() == before, name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_no_leader_gets_it_into_a_block(
    world: World, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = bytes_of(world, row)
    before = world.standing()
    height = world.node.chain.final.height
    judge(row, "proposed", await proposed(world, raw, Watch(world, monkeypatch)))
    assert world.standing() == before
    await world.until(lambda: world.node.chain.final.height > height)


async def test_what_is_final_is_known_and_not_refused_when_it_comes_again(world: World) -> None:
    """A retry must hear what became of the first: no door calls it an error, and no one pays twice.

    Only a block may not hold it again.
    """
    raw, before = world.applied.raw, world.standing()
    status, answer = await _post(world, json.dumps({"raw": raw.hex()}).encode(), JSON)
    assert (status, json.loads(answer)["tx_id"]) == (202, world.applied.txid.hex())
    async with stranger(world) as guest:
        guest.say(wire.Transactions((raw,)))
        await guest.understood()
        await world.until(lambda: world.submitted[-1].known)
        assert guest.points == 0
    assert world.standing() == before


async def test_no_leader_gets_a_final_one_into_a_block_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.standing()
    said = await proposed(world, world.applied.raw, Watch(world, monkeypatch))
    assert said.code == "already-applied"
    assert world.applied.txid.hex() in said.detail
    assert world.standing() == before
