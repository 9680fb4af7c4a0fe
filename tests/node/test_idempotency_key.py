"""What an Idempotency-Key is answered: every situation that the IETF draft tells apart, one table.

A validator and two full nodes, each with its API. A row makes its situation and asks; whatever it
did before, the ledger then holds as many payments as the row says.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from harness import FUNDED, UNIT, Cluster, address

from chaind.api.app import ApiServer
from chaind.ledger.execute import live_lease
from chaind.primitives.hashes import sha256

VALIDATOR, OTHER, STRANGER = 0, 1, 2  # the stranger keeps nobody's keys
SHORT_MS = 1_500  # of a lease that a test sees end
KEY = "lunch-1"
POOR = 13  # an account with a number and no money


class Said(NamedTuple):
    """An answer; `code` is of a problem, `retry` whether it says when to ask again."""

    status: int
    code: str | None
    hit: bool
    db_hit: bool
    retry: bool
    body: bytes


class World:
    """The nodes, each behind its API once it was asked."""

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = cluster
        self.monkeypatch = monkeypatch
        self.order: dict[str, Any] = {
            "from": self.show("alice"), "to": self.show("bob"), "amount": "1"
        }  # fmt: skip
        self._servers: dict[int, ApiServer] = {}

    def show(self, who: str) -> str:
        return self.cluster.genesis.addresses.show(address(who))

    async def ask(self, at: int = VALIDATOR, key: str | None = KEY, **changes: Any) -> Said:
        """POST /transfer to a node."""
        if at not in self._servers:
            self._servers[at] = ApiServer(self.cluster[at])
            await self._servers[at].start()
        url = f"http://127.0.0.1:{self._servers[at].port}/transfer"
        headers = {} if key is None else {"Idempotency-Key": key}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={**self.order, **changes}, headers=headers) as answer,
        ):
            told = await answer.json(content_type=None)
            hits = [answer.headers.get(f"X-{name}-Hit") for name in ("Idempotency", "Db")]
            assert set(hits) <= {None, "true"}
            return Said(
                answer.status,
                told.get("code"),
                hits[0] is not None,
                hits[1] is not None,
                "Retry-After" in answer.headers,
                await answer.read(),
            )

    async def pay(self) -> Said:
        """The payment, made through the validator and final everywhere."""
        first = await self.ask()
        assert first.status == 200
        await self.cluster.agree()
        return first

    async def stop(self, at: int) -> None:
        """End a node and its API."""
        if at in self._servers:
            await self._servers.pop(at).stop()
        await self.cluster.stop(at)

    async def close(self) -> None:
        for server in self._servers.values():
            await server.stop()


Ask = Callable[[World], Awaitable[Said]]


class Row(NamedTuple):
    """`paid` is how many payments the ledger holds at the end."""

    ask: Ask
    status: int
    code: str | None = None
    hit: bool = False
    db_hit: bool = False
    retry: bool = False
    paid: int = 1


async def missing(world: World) -> Said:
    return await world.ask(OTHER, key=None)


async def malformed(world: World) -> Said:
    return await world.ask(key="x" * 256)


async def first(world: World) -> Said:
    return await world.ask()


async def done(world: World) -> Said:
    return _same(await world.pay(), await world.ask())


async def other_intent(world: World) -> Said:
    await world.pay()
    return await world.ask(amount="2")


async def other_intent_elsewhere(world: World) -> Said:
    await world.pay()
    return await world.ask(OTHER, memo="for dinner")


async def other_payer(world: World) -> Said:
    """The scope of a key is the paying account."""
    await world.pay()
    return await world.ask(**{"from": world.show("carol")})


async def in_flight(world: World) -> Said:
    """Nothing becomes final without the validator."""
    world.monkeypatch.setattr("chaind.node.payments.FINAL_WAIT_MS", 20)
    await world.stop(VALIDATOR)
    assert (await world.ask(OTHER)).status == 409
    return await world.ask(OTHER)


async def other_intent_in_flight(world: World) -> Said:
    await in_flight(world)
    return await world.ask(OTHER, amount="2")


async def in_flight_then_final(world: World) -> Said:
    waiting = await in_flight(world)
    world.monkeypatch.undo()
    await world.cluster.start(VALIDATOR)
    answer = await world.ask(OTHER)
    assert (waiting.status, waiting.code) == (409, "payment-in-flight")
    return answer


async def done_after_restart(world: World) -> Said:
    paid = await world.pay()
    await world.stop(VALIDATOR)
    await world.cluster.start(VALIDATOR)
    return _same(paid, await world.ask())


async def done_on_another_node(world: World) -> Said:
    return _same(await world.pay(), await world.ask(OTHER))


async def done_on_a_node_synced_anew(world: World) -> Said:
    paid = await world.pay()
    await world.stop(OTHER)
    world.cluster.seats[OTHER].wipe()
    await world.cluster.start(OTHER)
    await world.cluster.agree()
    return _same(paid, await world.ask(OTHER))


async def expired(world: World) -> Said:
    """The ledger has forgotten the key: it pays anew."""
    paid = await world.pay()
    node = world.cluster[VALIDATOR]
    owner, lease_id = address("alice"), sha256(KEY.encode())

    def forgotten() -> bool:
        now_ms = node.chain.final.time_ms
        return live_lease(node.queries.final_state, owner, lease_id, now_ms) is None

    assert not forgotten()
    await world.cluster.until(forgotten)
    again = await world.ask()
    assert again.body != paid.body, "the same transaction"
    return again


async def failed(world: World) -> Said:
    return await world.ask(**{"from": POOR})


async def retried_after_it_failed(world: World) -> Said:
    """Nothing was executed, so that the key is still free."""
    assert (await failed(world)).status == 422
    gift = await world.ask(key="gift", to=POOR, amount="5")
    assert gift.status == 200
    return await world.ask(**{"from": POOR})


async def without_the_key_of_the_account(world: World) -> Said:
    return await world.ask(STRANGER)


async def done_without_the_key_of_the_account(world: World) -> Said:
    return _same(await world.pay(), await world.ask(STRANGER))


def _same(first: Said, again: Said) -> Said:
    assert (again.status, again.body) == (first.status, first.body), "another answer"
    return again


IN_STATE: dict[str, Any] = {"status": 200, "hit": True, "db_hit": True}
TABLE = {
    "missing": Row(missing, 400, "idempotency-key-missing", paid=0),
    "malformed": Row(malformed, 400, "idempotency-key-invalid", paid=0),
    "first": Row(first, 200),
    "done": Row(done, 200, hit=True),
    "other intent": Row(other_intent, 422, "idempotency-key-reused"),
    "other intent elsewhere": Row(other_intent_elsewhere, 422, "idempotency-key-reused"),
    "other payer": Row(other_payer, 200, paid=2),
    "in flight": Row(in_flight, 409, "payment-in-flight", retry=True, paid=0),
    "other intent in flight": Row(other_intent_in_flight, 422, "idempotency-key-reused", paid=0),
    "in flight, then final": Row(in_flight_then_final, 200, hit=True),  # this run made it
    "done, after a restart": Row(done_after_restart, **IN_STATE),
    "done, on another node": Row(done_on_another_node, **IN_STATE),
    "done, on a node synced anew": Row(done_on_a_node_synced_anew, **IN_STATE),
    "expired": Row(expired, 200, paid=2),
    "failed before execution": Row(failed, 422, "insufficient-funds", paid=0),
    "retried after it failed": Row(retried_after_it_failed, 200),
    "without the account's key": Row(
        without_the_key_of_the_account, 403, "custody-disabled", paid=0
    ),
    "done, without the account's key": Row(done_without_the_key_of_the_account, **IN_STATE),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_a_key_is_answered(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"lease_ms": SHORT_MS, "validity_window_ms": SHORT_MS} if row.ask is expired else {}
    cluster = Cluster(tmp_path, full=2, sections={"api": {"api_port": 0}}, parameters=short)
    cluster.seats[OTHER].sections = {"payments": {"require_key": True}}
    cluster.seats[STRANGER].custody = False
    async with cluster:
        await cluster.connected()
        world = World(cluster, monkeypatch)
        try:
            said = await row.ask(world)
            assert said[:-1] == row[1:-1]
            height = max(node.chain.final.height for node in cluster.nodes)
            await cluster.height(height)
            assert set(cluster.balances("bob")) == {FUNDED + row.paid * UNIT}
        finally:
            await world.close()
