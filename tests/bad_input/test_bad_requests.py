"""Bad fields and bad bodies at every HTTP door: one code each, its words, and nothing changed."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hostile_world import BOB, World, own

from chaind.api.forms import Forms

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON, NDJSON = "application/json", "application/x-ndjson"
BATCH = "/api/v1/transactions"


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def unchanged(world: World) -> AsyncIterator[None]:
    """The whole module changes nothing."""
    before = world.standing()
    yield
    assert world.standing() == before


async def ask(
    world: World, path: str, body: bytes, media: str = JSON, token: bool = False
) -> dict[str, Any]:
    """The problem that a POST gets, its form checked."""
    headers = {"Content-Type": media}
    if token:
        cookie = (world.home / "api.token").read_text().strip()
        headers["Authorization"] = f"Bearer {cookie}"
    async with world.session.post(path, data=body, headers=headers) as response:
        answer = await response.read()
        if media == NDJSON and response.status == 200:
            [line] = answer.splitlines()
            problem: dict[str, Any] = json.loads(line)["problem"]
        else:
            problem = json.loads(answer)
            if isinstance(problem.get("results"), list):
                [result] = problem["results"]
                problem = result["problem"]
            else:
                assert response.content_type == "application/problem+json", answer
                assert problem["status"] == response.status
        assert response.headers["Server"] == "chaind"
    assert problem["detail"]
    assert problem["type"] == "about:blank"
    return problem


def readable_form(world: World, amount: str = '"5"', target: str | None = None) -> bytes:
    """A readable transaction with this amount or address, as JSON source."""
    form = Forms(world.genesis).transaction_to_json(world.pay())
    text = msgspec.json.encode(form).decode().replace('"0.00001"', amount)
    address = world.genesis.addresses.show(own(BOB))
    return (text if target is None else text.replace(f'"{address}"', target)).encode()


AMOUNT_DOORS: dict[str, Callable[[World, str], tuple[str, bytes, str]]] = {
    "transfer": lambda w, a: ("/transfer", b'{"from":"alice","to":"bob","amount":%s}' % a.encode(),
                              JSON),
    "faucet": lambda w, a: ("/faucet", b'{"to":"bob","amount":%s}' % a.encode(), JSON),
    "readable": lambda w, a: (BATCH, readable_form(w, a), JSON),
    "array": lambda w, a: (BATCH, b"[%s]" % readable_form(w, a), JSON),
    "line": lambda w, a: (BATCH, readable_form(w, a), NDJSON),
}  # fmt: skip


AMOUNTS = {
    "negative": ("-1", "amount-invalid"),
    "negative text": ('"-0.5"', "amount-invalid"),
    "zero": ("0", "amount-invalid"),
    "zero text": ('"0.00000000"', "amount-invalid"),
    "minus zero": ("-0.0", "amount-invalid"),
    "over-precise": ("0.000000001", "amount-invalid"),
    "over-precise text": ('"1.123456789"', "amount-invalid"),
    "a float's noise": ("0.30000000000000004", "amount-invalid"),
    "overflow": ("92233720368.54775808", "amount-invalid"),
    "overflow text": ('"92233720369"', "amount-invalid"),
    "overflow exponent": ("1e11", "amount-invalid"),
    "tiny exponent": ("1e-9", "amount-invalid"),
    "huge exponent": ("1e400", "body-malformed"),
    "endless exponent": ("1e999999999", "body-malformed"),
    "exponent as text": ('"1e3"', "amount-invalid"),
    "huge integer": ("9" * 400, "amount-invalid"),
    "endless integer": ("9" * 5_000, "body-malformed"),
    "not a number": ("NaN", "body-malformed"),
    "infinity": ("Infinity", "body-malformed"),
    "minus infinity": ("-Infinity", "body-malformed"),
    "not a number as text": ('"NaN"', "amount-invalid"),
    "truth": ("true", "amount-invalid"),
    "null": ("null", "amount-invalid"),
    "list": ("[1]", "amount-invalid"),
    "object": ('{"value":1}', "amount-invalid"),
    "empty": ('""', "amount-invalid"),
    "space": ('" 1"', "amount-invalid"),
    "underscore": ('"1_000"', "amount-invalid"),
    "comma": ('"1,5"', "amount-invalid"),
    "hexadecimal": ('"0x10"', "amount-invalid"),
    "plus": ('"+1"', "amount-invalid"),
    "full-width digits": ('"１"', "amount-invalid"),
    "nul": ('"1\\u0000"', "amount-invalid"),
    "cut short": ('"1.%s"' % ("0" * 70 + "9"), "amount-invalid"),
    "line feed": ('"1\\n"', "amount-invalid"),
}


@pytest.mark.parametrize("name", AMOUNTS)
async def test_amounts(world: World, name: str) -> None:
    text, code = AMOUNTS[name]
    for door, make in AMOUNT_DOORS.items():
        problem = await ask(world, *make(world, text))
        assert (problem["code"], problem["status"]) == (code, 400), (door, problem)
        if code == "amount-invalid":
            assert {"amount", "reason"} == problem["values"].keys()
            assert "12.5" in problem["advice"]


ADDRESSES = {
    "checksum": lambda text: text[:-1] + ("q" if text[-1] != "q" else "p"),
    "mixed case": lambda text: text[:-1].upper() + text[-1],
    "another chain's": lambda text: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "taproot's": lambda text: "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "Bitcoin's": lambda text: "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "cut": lambda text: text[:-6],
    "doubled": lambda text: text + text,
    "endless": lambda text: text + "q" * 10_000,
    "spaced": lambda text: f" {text}",
    "of another alphabet": lambda text: "c\u04bbd1" + text[4:],  # Cyrillic
}


@pytest.mark.parametrize("name", ADDRESSES)
async def test_addresses(world: World, name: str) -> None:
    wrong = ADDRESSES[name](world.genesis.addresses.show(own(BOB)))
    text = json.dumps(wrong)
    doors = {
        "transfer": ("/transfer", b'{"from":"alice","to":%s,"amount":1}' % text.encode(), JSON),
        "payer": ("/transfer", b'{"to":"alice","from":%s,"amount":1}' % text.encode(), JSON),
        "faucet": ("/faucet", b'{"to":%s,"amount":1}' % text.encode(), JSON),
        "readable": (BATCH, readable_form(world, target=text), JSON),
        "array": (BATCH, b"[%s]" % readable_form(world, target=text), JSON),
        "line": (BATCH, readable_form(world, target=text), NDJSON),
    }
    for door, request in doors.items():
        problem = await ask(world, *request)
        assert (problem["code"], problem["status"]) == ("address-invalid", 400), (door, problem)
        assert len(problem["detail"]) < 400, "what is endless is not repeated"
    async with world.session.ws_connect("/ws") as socket:
        command = {"method": "subscribe", "channels": [f"account:{wrong}"]}
        await socket.send_json(command)
        answer = await socket.receive_json()
        assert answer["problem"]["code"] == "address-invalid"


BODIES = {
    "nothing": b"",
    "blank": b" \n\t ",
    "cut": b'{"from":"alice","to":"bob","amount":',
    "not UTF-8": b'{"from":"\xff\xfe"}',
    "UTF-16": '{"from":"alice"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"from":"alice"}',
    "a lone surrogate": b'{"from":"\\ud800","to":"bob","amount":1}',
    "an overlong form": b'{"from":"\xc0\x80"}',
    "a key twice": b'{"from":"alice","to":"bob","amount":1,"amount":2}',
    "a key twice, written otherwise": b'{"from":"alice","to":"bob","amount":1,"\\u0061mount":2}',
    "deep lists": b"[" * 100_000,
    "deep closed lists": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 100_000,
    "single quotes": b"{'from':'alice'}",
    "a comment": b'{"from":"alice" /* me */}',
    "a trailing comma": b'{"from":"alice",}',
    "two values": b'{"from":"alice","to":"bob","amount":1} {}',
    "a raw line feed": b'{"from":"ali\nce"}',
    "not a number": b'{"from":"alice","to":"bob","amount":NaN}',
    "a leading zero": b'{"from":"alice","to":"bob","amount":01}',
    "a form": b"from=alice&to=bob&amount=1",
    "an unknown field": b'{"from":"alice","to":"bob","amount":1,"amuont":2}',
    "a number": b"7",
    "null": b"null",
}


@pytest.mark.parametrize("name", BODIES)
async def test_bodies(world: World, name: str) -> None:
    body = BODIES[name]
    requests = [
        ("/transfer", body, JSON),
        ("/faucet", body, JSON),
        ("/addpeer", body, JSON, True),
    ]
    if not body.startswith(b"["):  # there a list is a batch
        requests.append((BATCH, body, JSON))
    if body.strip() and b"\n" not in body and not body.startswith(b"\xff"):
        requests.append((BATCH, body, NDJSON))
    for request in requests:
        problem = await ask(world, *request)
        assert (problem["code"], problem["status"]) == ("body-malformed", 400), request[0]
        assert len(problem["detail"]) < 400


NO_TEXT = ("not UTF-8", "UTF-16", "an overlong form")


@pytest.mark.parametrize("name", [name for name in BODIES if name not in NO_TEXT])
async def test_commands(world: World, name: str) -> None:
    """A WebSocket hears the same of the same text and goes on; what is too long ends it."""
    text = BODIES[name].decode()
    async with world.session.ws_connect("/ws") as socket:
        await socket.send_str(text)
        message = await socket.receive()
        if len(text) > 1 << 16:
            assert socket.close_code == 1009  # RFC 6455: too big
            return
        assert json.loads(message.data)["problem"]["code"] == "body-malformed"
        await socket.send_json({"method": "unsubscribe", "channels": []})
        assert (await socket.receive_json())["type"] == "unsubscribed"


MEDIA = ["text/plain", "text/json", "multipart/form-data", "application/xml", "", "nonsense",
         "application/json, application/json", "application/msgpack+zip"]  # fmt: skip


@pytest.mark.parametrize("media", MEDIA)
async def test_media_types(world: World, media: str) -> None:
    for path in ("/transfer", "/faucet", BATCH):
        problem = await ask(world, path, b"{}", media)
        assert (problem["code"], problem["status"]) == ("media-type-unsupported", 415)
        assert "application/json" in problem["detail"]


async def test_strange_but_harmless(world: World) -> None:
    """Who nobody is: said so."""
    for who in ("nobody", "mallory", "0", "-1", "1.5", "\u0000"):
        body = json.dumps({"from": "alice", "to": who, "amount": 1}).encode()
        problem = await ask(world, "/transfer", body)
        assert (problem["code"], problem["status"]) == ("name-unknown", 404)
    poor = json.dumps({"from": "carol", "to": "bob", "amount": "99999999"}).encode()
    assert (await ask(world, "/transfer", poor))["code"] == "insufficient-funds"
    unknown = b'{"from":"alice","to":"bob","amount":1,"asset":"TIN"}'
    assert (await ask(world, "/transfer", unknown))["code"] == "asset-unknown"
    lower = b'{"from":"alice","to":"bob","amount":1,"asset":"gold"}'
    assert (await ask(world, "/transfer", lower))["code"] == "transaction-malformed"
    memo = json.dumps({"from": "alice", "to": "bob", "amount": 1, "memo": "é" * 129}).encode()
    assert (await ask(world, "/transfer", memo))["code"] == "memo-too-long"
