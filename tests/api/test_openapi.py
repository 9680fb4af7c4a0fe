"""The description is complete, sound, and true of what is answered."""

import json
import re
from typing import Any

import msgspec
import pytest
from api_kit import Door
from described import DESCRIBED, DOCUMENT
from exchange_kit import trading_changes
from openapi_spec_validator import OpenAPIV31SpecValidator

from chaind.api.answers import JSON_MEDIA
from chaind.api.guards import Access
from chaind.api.mining_routes import MINING_ROUTES
from chaind.api.problems import PROBLEM_MEDIA, STATUSES, problem_of, status_of
from chaind.api.route import Route
from chaind.api.routes import ROUTES
from chaind.node.payments import InFlight, KeyReused
from chaind.primitives.errors import ChaindError, LocalFault


def test_every_path_stands_once_and_is_described() -> None:
    paths = [(route.method, path) for route in ROUTES for path in (route.path, *route.aliases)]
    assert len(set(paths)) == len(paths)
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item
    }
    assert described == set(paths)
    names = [op["operationId"] for item in DOCUMENT["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


def test_an_independent_reader_finds_nothing_wrong() -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.mark.parametrize("kind", ["schemas", "responses", "headers"])
def test_references_lead_somewhere(kind: str) -> None:
    found = set(re.findall(rf'"#/components/{kind}/([^"]+)"', json.dumps(DOCUMENT)))
    assert found == DOCUMENT["components"][kind].keys()


def test_links_lead_somewhere() -> None:
    operations = {
        operation["operationId"]: {one["name"] for one in operation.get("parameters", ())}
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
    }
    links = [
        link
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(links) > 10
    for link in links:
        assert link["parameters"].keys() <= operations[link["operationId"]]


def test_every_code_is_explained_once() -> None:
    """What an answer may say stands under x-problems, with the status of that answer."""
    named = {
        (code, int(status))
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if PROBLEM_MEDIA in DESCRIBED.resolve(response).get("content", {})
        for code in DESCRIBED.codes(DESCRIBED.resolve(response))
    }
    explained = {code: problem["status"] for code, problem in DOCUMENT["x-problems"].items()}
    assert named == set(explained.items())
    assert all(problem["advice"] for problem in DOCUMENT["x-problems"].values())


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    """Markets, for the routes and examples that are about them."""
    return trading_changes()


NUMBERS = [
    (route.path, one["name"], one["schema"])
    for route in ROUTES
    if route.method == "GET"
    for one in DOCUMENT["paths"][route.path]["get"].get("parameters", ())
    if one["schema"]["type"] == "integer"
]


async def test_bounds_of_numbers_are_those_that_hold(door: Door) -> None:
    """The refusal names the bounds, and they are the described ones; the bounds are taken."""
    assert len(NUMBERS) > 15
    for pattern, name, schema in NUMBERS:
        path = pattern.replace("{who}", "alice").replace("{ref}", "0")
        path = path.replace("{symbol}", "BTC-USD")
        low, high = schema["minimum"], schema["maximum"]
        for value in (low - 1, high + 1):
            problem = await door.get(path, 400, params={name: value}, headers=door.token)
            assert problem["code"] == "query-invalid", path
            assert problem["values"]["allowed"] == f"a number from {low} to {high}", path
        if name != "wait":  # which would be held
            for value in (low, high):
                async with door.session.get(path, params={name: value}) as response:
                    code = "" if response.ok else (await response.json(content_type=None))["code"]
                    known = ("", "height-not-final", "not-mined", "range-invalid")
                    assert code in known, path


UNMADE = ("get_lease", "get_transaction", "get_refunds", "post_refund")  # what names a payment
EXAMPLES = [
    (route, name, body) for route in ROUTES for name, body in route.examples.items()
]  # every route that takes a body has one, unless it is for chains of miners


@pytest.mark.parametrize("webhook_settings", [{"allow_private": True}])
async def test_examples_work_on_a_development_network(door: Door) -> None:
    """In the order of the table, what ends something last; links fill in what an answer names."""
    assert {route.path for route, _, _ in EXAMPLES} == {
        route.path for route in ROUTES if route.request is not None and route not in MINING_ROUTES
    }
    known: dict[tuple[str, str], str] = {}
    for route in sorted(ROUTES, key=lambda route: route.method == "DELETE"):
        for body in route.examples.values() or ([None] if route.segments else []):
            names = {one.name: str(one.example) for one in route.parameters if one.place == "path"}
            given = {name: known.get((route.operation, name), names[name]) for name in names}
            async with door.session.request(
                route.method, route.path.format(**given), json=body, headers=door.token
            ) as response:
                answer = await response.json() if "json" in response.content_type else {}
            # No transaction and no lease is there before one was made.
            missing = response.status == 404 and route.operation in UNMADE
            assert missing or str(response.status)[0] == "2", (route.path, answer)
            for follow in route.follows if response.ok else ():
                known[follow.operation, follow.parameter] = answer[follow.field]


def test_path_parameters_are_declared() -> None:
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))


def test_what_spends_or_changes_is_guarded() -> None:
    """Reading is open, and submitting signed transactions and work; nothing else that mutates."""
    open_mutations = {
        route.path for route in ROUTES if route.method != "GET" and route.access is Access.OPEN
    }
    mining = {"/api/v1/mining/template", "/api/v1/mining/blocks", "/rpc"}  # its own secrets
    assert open_mutations == {"/api/v1/transactions", "/api/v1/peers/discover", *mining}


def test_rows_of_earlier_systems_are_there() -> None:
    wanted = """
        POST /transfer, POST /faucet, GET /balance/{who}, GET /utxos/{who}, GET /transactions/{who},
        GET /api/v1/accounts/{who}/transactions, GET /transaction/{id}, GET /blockchain,
        GET /blocks/range, GET /block/{ref}, GET /blockchain/headers, GET /pending,
        GET /transaction_pool, POST /add_transaction, POST /api/v1/transactions, GET /status,
        GET /stats, GET /peers, GET /getpeers, POST /addpeer, POST /discover_peers, GET /,
        GET /healthcheck, GET /health/live, GET /health/ready, GET /metrics, GET /ws
    """
    for row in wanted.split(","):
        method, path = row.split()
        assert method.lower() in DOCUMENT["paths"][path], row


PLAIN = [route for route in ROUTES if route.method == "GET" and "{" not in route.path]


@pytest.mark.parametrize("route", PLAIN, ids=lambda route: route.path)
async def test_unknown_query_parameters_are_refused(door: Door, route: Route) -> None:
    if route.path == "/ws":
        return
    headers = door.token if route.access is Access.TOKEN else {}
    problem = await door.get(f"{route.path}?verbose=1", 400, headers=headers)
    assert problem["code"] == "query-unknown"
    described = DOCUMENT["paths"][route.path]["get"].get("parameters", ())
    names = [each["name"] for each in described if each["in"] == "query"]
    assert problem["values"] == {"name": "verbose", "known": ", ".join(names) or "none"}
    for name in names:
        twice = await door.get(f"{route.path}?{name}=1&{name}=2", 400, headers=headers)
        assert twice["code"] == "query-invalid"


async def test_a_misspelt_wait_pays_nothing(door: Door) -> None:
    body = {"from": "alice", "to": "bob", "amount": "1"}
    problem = await door.post("/transfer?wiat=final", body, 400)
    assert problem["values"]["known"] == "wait"
    assert (await door.get("/balance/bob"))["balance"] == "1000"
    assert (await door.get("/pending"))["count"] == 0


@pytest.mark.parametrize("route", PLAIN, ids=lambda route: route.path)
async def test_answers_are_of_the_described_type(door: Door, route: Route) -> None:
    kind = route.answers.get(200)
    if route.path in ("/ws", "/health/ready") or kind is None or route.answer_media != JSON_MEDIA:
        return
    if route in MINING_ROUTES:  # on chains of miners: test_mining_view
        return
    await door.post("/transfer?wait=final", {"from": "alice", "to": "bob", "amount": "1"})
    for path in (route.path, *route.aliases):
        headers = door.token if route.access is Access.TOKEN else {}
        async with door.session.get(path, headers=headers) as response:
            body = await response.read()
            assert response.content_type == route.answer_media
        decoded = msgspec.json.decode(body, type=kind)
        assert json.loads(msgspec.json.encode(decoded)) == json.loads(body)  # and nothing more


async def test_the_document_is_served(door: Door) -> None:
    assert await door.get("/openapi.json") == DOCUMENT


def leaves(kind: type[ChaindError]) -> list[type[ChaindError]]:
    below = [leaf for sub in kind.__subclasses__() for leaf in leaves(sub)]
    return below or [kind]


def test_every_error_has_a_status() -> None:
    """What the rooms behind the door can raise is no 500, except faults of the machine."""
    rooms = tuple(f"chaind.{room}." for room in ("api", "ledger", "mempool", "node", "primitives"))
    found = [
        leaf
        for leaf in leaves(ChaindError)
        if leaf.__module__.startswith(rooms) and not issubclass(leaf, LocalFault)
    ]
    assert len(found) > 50
    for leaf in found:
        assert status_of(leaf) in STATUSES.values(), leaf


def test_kinds_and_statuses() -> None:
    assert status_of(KeyReused) == 422
    assert status_of(InFlight) == 409


def test_faults_of_the_machine_are_not_explained() -> None:
    class Broken(LocalFault):
        code = "broken"
        text = "disk {path}"

    problem = problem_of(Broken(path="/secret"))
    assert (problem.status, problem.code) == (500, "internal-error")
    assert b"secret" not in msgspec.json.encode(problem)


async def test_access_logs_are_off(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await door.get("/balance/alice")
    assert not [record for record in caplog.records if "balance" in record.getMessage()]
