"""Webhooks: every event in order, at least once, signed; what fails is tried again, and told."""

import asyncio
import stat
from collections.abc import Callable
from typing import Any

import pytest
from api_kit import BOB, Door
from msgspec.structs import replace
from receiver import SECRET, Receiver

from chaind.api import webhook_delivery, webhook_subscriptions
from chaind.api.app import ApiServer
from chaind.api.webhook_records import DeadLetter, Record, WebhookFileInvalid
from chaind.node.movements import KINDS
from chaind.storage.chain_store import BlockDamaged, ChainStore

HOOKS = "/api/v1/webhooks"


@pytest.fixture
def webhook_settings() -> dict[str, Any]:
    return {"allow_private": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of people's patience would make these tests slow, and prove nothing more."""
    monkeypatch.setattr(webhook_delivery, "BACKOFF_MS_FIRST", 10)
    monkeypatch.setattr(webhook_delivery, "BACKOFF_MS_MAX", 40)


async def subscribe(door: Door, url: str, **more: Any) -> dict[str, Any]:
    body = {"url": url, "secret": SECRET, **more}
    found: dict[str, Any] = await door.post(HOOKS, body, 201, headers=door.token)
    return found


async def state(door: Door, own: str) -> dict[str, Any]:
    found: dict[str, Any] = await door.get(f"{HOOKS}/{own}", headers=door.token)
    return found


async def pay(door: Door, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        raw = door.payment(number + 1, number=number).raw.hex()
        await door.post("/add_transaction?wait=final", {"raw": raw})


async def feed(door: Door, **query: object) -> list[dict[str, Any]]:
    words = "".join(f"&{name}={value}" for name, value in query.items())
    page = await door.get(f"/api/v1/events?limit=500{words}")
    assert page["at_tip"]
    events: list[dict[str, Any]] = page["events"]
    return events


async def test_every_event_arrives_in_order_signed_and_as_the_feed_tells_it(door: Door) -> None:
    async with Receiver() as receiver:
        hook = await subscribe(door, receiver.url, cursor="0.0.0")
        await pay(door, 5)
        events = await feed(door)
        assert len(events) == 5 + 10  # of the genesis, and two of a payment
        await receiver.until(lambda: len(receiver.heard) == len(events))
        assert [one.body["event"] for one in receiver.heard] == events
        assert [one.event_id for one in receiver.heard] == [event["id"] for event in events]
        first = receiver.heard[0].body
        assert (first["webhook"], first["chain"]) == (hook["id"], door.node.genesis.hash.hex())
        found = await state(door, hook["id"])
        assert (found["delivered"], found["last_event_id"]) == (15, events[-1]["id"])
        assert (found["failures"], found["last_error"], found["dead_letters"]) == (0, None, [])


async def test_a_subscription_begins_now_and_takes_what_it_asks_for(door: Door) -> None:
    await pay(door, 2)
    async with Receiver() as receiver:
        hook = await subscribe(door, receiver.url, events=["payment"], account="bob", asset="COIN")
        assert (hook["events"], hook["account"]) == (["payment"], door.show(BOB))
        await pay(door, 2, first=10)
        await receiver.until(lambda: len(receiver.heard) == 2)
        amounts = [one.body["event"]["amount"] for one in receiver.heard]
        assert amounts == ["0.00000011", "0.00000012"]
        assert {one.body["event"]["account"] for one in receiver.heard} == {door.show(BOB)}


async def test_what_is_not_taken_is_sent_again_before_anything_else(door: Door) -> None:
    refusals = iter([500, 302, 404, 503])
    async with Receiver(lambda _: next(refusals, 200)) as receiver:
        hook = await subscribe(door, receiver.url)
        await pay(door, 2)
        await receiver.until(lambda: len(receiver.taken) == 4)
        ids = [one.event_id for one in receiver.heard]
        assert ids[:5] == [ids[0]] * 5  # four refusals
        assert [one.event_id for one in receiver.taken] == [
            event["id"] for event in await feed(door, cursor=hook["cursor"])
        ]
        assert (await state(door, hook["id"]))["failures"] == 0


async def restart(door: Door) -> None:
    """The API of the node ends and begins again: subscriptions come back from disk."""
    await door.server.stop()
    door.server = ApiServer(door.node)
    await door.server.start()
    await door.session.close()
    door.url = f"http://127.0.0.1:{door.server.port}"
    await door.__aenter__()


async def test_an_outage_and_a_restart_lose_nothing(door: Door) -> None:
    async with Receiver() as receiver:
        hook = await subscribe(door, receiver.url)
        await pay(door, 2)
        await receiver.until(lambda: len(receiver.taken) == 4)
        await receiver.close()
        await pay(door, 2, first=10)
        await until(door, hook["id"], lambda found: found["failures"] >= 2)
        failing = await state(door, hook["id"])
        assert failing["last_error"] == "no connection"
        assert failing["pending"] >= 2
        await restart(door)
        again = await state(door, hook["id"])
        assert again["cursor"] == failing["cursor"]
        assert again["failures"] >= failing["failures"]
        assert again["failing_since_ms"] == failing["failing_since_ms"]
        await pay(door, 1, first=20)
        await receiver.open()
        await receiver.until(lambda: len(receiver.taken) >= 10)
        events = await feed(door, cursor=hook["cursor"])
        assert [one.event_id for one in receiver.taken] == [event["id"] for event in events]


async def until(
    door: Door, own: str, condition: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            found = await state(door, own)
            if condition(found):
                return found


@pytest.mark.parametrize("webhook_settings", [{"allow_private": True, "retry_for_s": 1}])
async def test_what_nobody_takes_becomes_a_dead_letter_and_can_be_sent_again(door: Door) -> None:
    poison: list[str] = []

    def answer(event_id: str) -> int:
        poison[:] = poison or [event_id]
        return 500 if event_id == poison[0] else 200

    async with Receiver(answer) as receiver:
        hook = await subscribe(door, receiver.url)
        own = hook["id"]
        await pay(door, 1)
        await receiver.until(lambda: len(receiver.taken) == 1)  # the one behind it
        found = await until(door, own, lambda found: found["dead_letter_count"])
        [letter] = found["dead_letters"]
        assert letter == {
            "event_id": poison[0],
            "reason": "status 500",
            "failed_ms": letter["failed_ms"],
            "due": False,
        }
        await restart(door)
        assert (await state(door, own))["dead_letters"] == [letter]
        again = f"{HOOKS}/{own}/retry"
        problem = await door.post(again, {"event_id": "1.2.3"}, 404, headers=door.token)
        assert problem["code"] == "dead-letter-unknown"
        await door.post(again, {"event_id": poison[0]}, 202, headers=door.token)
        count = len(receiver.heard)
        await receiver.until(lambda: len(receiver.heard) > count)  # refused once more
        await until(door, own, lambda found: not found["dead_letters"][0]["due"])
        poison[:] = ["nothing"]
        await door.post(again, {}, 202, headers=door.token)
        await until(door, own, lambda found: not found["dead_letter_count"])
        assert receiver.taken[-1].event_id == letter["event_id"]


async def test_an_answer_is_its_status_and_comes_in_time(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_subscriptions, "ANSWER_S_MAX", 0.3)
    await restart(door)
    heads = {
        "endless": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "late": b"HTTP/1.1 200 OK\r\n",  # and the rest never comes
        "noise": b"SSH-2.0-x\r\n",
    }
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(heads[head.split(b"/")[1].split(b" ")[0].decode()])
        await reader.read()  # until the node hangs up
        writer.close()
        told.put_nowait(head)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hooks = {
            name: await subscribe(door, f"http://127.0.0.1:{port}/{name}", account="bob")
            for name in heads
        }
        await pay(door, 1)
        found = await until(door, hooks["endless"]["id"], lambda found: found["delivered"])
        assert found["last_error"] is None
        for name, reason in (("late", "no answer within 10 s"), ("noise", "no HTTP answer")):
            found = await until(door, hooks[name]["id"], lambda found: found["failures"])
            assert (found["last_error"], found["delivered"]) == (reason, 0)
        for name in heads:
            own = hooks[name]["id"]
            async with door.session.delete(f"{HOOKS}/{own}", headers=door.token) as response:
                assert response.status == 200
        for _ in heads:  # none of their connections is kept
            await asyncio.wait_for(told.get(), 10)


async def test_an_operator_can_end_a_pause(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_delivery, "BACKOFF_MS_FIRST", 600_000)
    monkeypatch.setattr(webhook_delivery, "BACKOFF_MS_MAX", 600_000)
    refusals = iter([500])
    async with Receiver(lambda _: next(refusals, 200)) as receiver:
        hook = await subscribe(door, receiver.url)
        await pay(door, 1)
        found = await until(door, hook["id"], lambda found: found["failures"])
        assert found["retry_at_ms"] > door.node.clock.now_ms() + 200_000
        await door.post(f"{HOOKS}/{hook['id']}/retry", {}, 202, headers=door.token)
        await receiver.until(lambda: len(receiver.taken) == 2)


async def test_a_removed_subscription_is_gone_from_node_and_disk(door: Door) -> None:
    async with Receiver() as receiver:
        hook = await subscribe(door, receiver.url)
        await pay(door, 1)
        await receiver.until(lambda: len(receiver.heard) == 2)
        path = door.home / "webhooks" / f"{hook['id']}.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with door.session.delete(f"{HOOKS}/{hook['id']}", headers=door.token) as response:
            removed = await response.json()
            assert (response.status, removed["status"]) == (200, "removed")
        assert not path.exists()
        assert (await door.get(HOOKS, headers=door.token))["count"] == 0
        assert (await door.get(f"{HOOKS}/{hook['id']}", 404, headers=door.token))[
            "code"
        ] == "webhook-unknown"
        await pay(door, 1, first=5)
        assert len(receiver.heard) == 2
        second = await subscribe(door, receiver.url, cursor=removed["cursor"])
        assert second["id"] != hook["id"]
        await receiver.until(lambda: len(receiver.heard) == 4)  # goes on without a gap


async def test_a_file_does_not_come_back_after_its_removal(door: Door) -> None:
    for _ in range(5):
        hook = await subscribe(door, "http://127.0.0.1:1/")
        webhooks = door.server._api.webhooks
        retries = [webhooks.retry(hook["id"], None) for _ in range(3)]
        await asyncio.gather(*retries, webhooks.remove(hook["id"]))
        assert list((door.home / "webhooks").iterdir()) == []


async def test_a_block_that_cannot_be_read_is_waited_for(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "READ_AGAIN_MS", 10)
    await pay(door, 1)

    def damaged(_store: ChainStore, height: int) -> bytes:
        raise BlockDamaged(height=height)

    async with Receiver() as receiver:
        with monkeypatch.context() as patched:
            patched.setattr(ChainStore, "block", damaged)
            assert (await door.get("/api/v1/events", 503))["code"] == "block-damaged"
            hook = await subscribe(door, receiver.url, cursor="1.0.0")
            await until(door, hook["id"], lambda found: found["last_error"] == "block-damaged")
            assert receiver.heard == []
        await receiver.until(lambda: len(receiver.taken) == 2)


async def test_all_of_it_needs_the_token(door: Door) -> None:
    body = {"url": "http://127.0.0.1:1/", "secret": SECRET}
    assert (await door.post(HOOKS, body, 401))["code"] == "token-needed"
    assert (await door.get(HOOKS, 401))["code"] == "token-needed"
    hook = await subscribe(door, "http://127.0.0.1:1/")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        async with door.session.request(method, f"{HOOKS}/{hook['id']}{path}", json={}) as response:
            assert response.status == 401


async def test_the_secret_is_in_its_file_and_nowhere_else(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = await subscribe(door, "http://127.0.0.1:1/")
    await pay(door, 1)
    found = await until(door, hook["id"], lambda found: found["failures"])
    listed = await door.get(HOOKS, headers=door.token)
    assert listed["webhooks"][0]["dead_letters"] is None
    wrong = {"url": "http://127.0.0.1:1/", "secret": SECRET, "events": ["no-such"]}
    refused = await door.post(HOOKS, wrong, 400, headers=door.token)
    short = await door.post(HOOKS, wrong | {"secret": SECRET[:15]}, 400, headers=door.token)
    record = door.server._api.webhooks.get(hook["id"]).record
    told = [hook, found, listed, refused, short, record, capsys.readouterr()]
    assert SECRET[:15] not in repr(told)
    assert SECRET in (door.home / "webhooks" / f"{hook['id']}.json").read_text()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://127.0.0.1/"}, "webhook-url-invalid"),
    ({"url": "file:///etc/passwd"}, "webhook-url-invalid"),
    ({"url": "http:///"}, "webhook-url-invalid"),
    ({"url": "http://a:b@example.com/"}, "webhook-url-invalid"),
    ({"url": "http://example.com/#there"}, "webhook-url-invalid"),
    ({"url": "http://example.com:0/"}, "webhook-url-invalid"),
    ({"url": "http://example.com:70000/"}, "webhook-url-invalid"),
    ({"url": "http://2130706433/"}, "webhook-url-invalid"),
    ({"url": "http://example.com/a b"}, "webhook-url-invalid"),
    ({"url": "http://example.com/" + "a" * 2_048}, "webhook-url-invalid"),
    ({"url": "http://[::1"}, "webhook-url-invalid"),
    ({"secret": "short"}, "body-malformed"),
    ({"secret": "x" * 257}, "body-malformed"),
    ({"events": ["paid"]}, "body-malformed"),
    ({"event": ["payment"]}, "body-malformed"),
    ({"asset": "no-such"}, "field-invalid"),
    ({"cursor": "now"}, "field-invalid"),
    ({"cursor": "1.99999999999.0"}, "field-invalid"),
]


async def test_what_is_refused(door: Door) -> None:
    for change, code in REFUSED:
        body = {"url": "http://127.0.0.1:1/", "secret": SECRET} | change
        problem = await door.post(HOOKS, body, 400, headers=door.token)
        assert problem["code"] == code, change
    assert (await door.get(HOOKS, headers=door.token))["count"] == 0


async def test_there_are_so_many_and_no_more(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_subscriptions, "SUBSCRIPTIONS_MAX", 2)
    for _ in range(2):
        await subscribe(door, "http://127.0.0.1:1/")
    body = {"url": "http://127.0.0.1:1/", "secret": SECRET}
    problem = await door.post(HOOKS, body, 429, headers=door.token)
    assert problem["code"] == "too-many-webhooks"


async def test_dead_letters_have_a_bound_that_loses_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "DEAD_LETTERS_MAX", 1)
    async with Receiver(lambda _: 500) as receiver:
        hook = await subscribe(door, receiver.url)
        door.server._api.webhooks.get(hook["id"])._shared = door.server._api.webhooks.get(
            hook["id"]
        )._shared._replace(retry_for_ms=0)
        await pay(door, 2)
        await receiver.until(lambda: len({one.event_id for one in receiver.heard}) == 2)
        count = len(receiver.heard)
        await receiver.until(lambda: len(receiver.heard) >= count + 3)
        assert len({one.event_id for one in receiver.heard}) == 2  # the second is not given up
        assert (await state(door, hook["id"]))["dead_letter_count"] == 1


async def test_metrics(door: Door) -> None:
    refusals = iter([500])
    async with Receiver(lambda _: next(refusals, 200)) as receiver:
        await subscribe(door, receiver.url)
        await subscribe(door, "http://127.0.0.1:1/")
        await pay(door, 1)
        await receiver.until(lambda: len(receiver.taken) == 2)
        async with door.session.get("/metrics") as response:
            lines = dict(
                line.split() for line in (await response.text()).splitlines() if line[0] != "#"
            )
        assert float(lines["chaind_webhooks_subscriptions"]) == 2
        assert float(lines["chaind_webhooks_delivered_total"]) == 2
        assert float(lines["chaind_webhooks_failed_total"]) >= 2
        assert float(lines["chaind_webhooks_pending"]) >= 2
        assert float(lines["chaind_webhooks_failing"]) == 1
        assert float(lines["chaind_webhooks_dead_letters"]) == 0


async def test_a_file_that_cannot_be_read_stops_the_start(door: Door) -> None:
    await door.server.stop()
    directory = door.home / "webhooks"
    directory.mkdir(exist_ok=True)
    path = directory / "0123456789abcdef.json"
    good = Record(
        id=path.stem, url="http://127.0.0.1:1/", secret=SECRET, kinds=(), account=None, asset=None,
        created_ms=0, cursor="0.0.0",
    )  # fmt: skip
    wrong = (
        replace(good, id="f" * 16),
        replace(good, cursor="1.x.2"),
        replace(good, account="xy"),
        replace(good, url="ftp://127.0.0.1/"),
        replace(good, dead=[DeadLetter(id="1", reason="", failed_ms=0)]),
    )
    for content in (b"", b"{}", b"[]", b"\xff", *(record.encode() for record in wrong)):
        path.write_bytes(content)
        server = ApiServer(door.node)
        with pytest.raises(WebhookFileInvalid):
            await server.start()
        await server.stop()
    path.unlink()
    (directory / ".0123456789abcdef.json.tmp").write_bytes(b"torn")  # of a write that never ended
    door.server = ApiServer(door.node)
    await door.server.start()
    assert door.server._api.webhooks.all() == []


def test_a_record_does_not_show_its_secret() -> None:
    record = Record(
        id="a", url="", secret=SECRET, kinds=KINDS, account=None, asset=None, created_ms=0,
        cursor="0.0.0",
    )  # fmt: skip
    assert SECRET not in f"{record} {record!r}"
