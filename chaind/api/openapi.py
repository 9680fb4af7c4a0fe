"""OpenAPI 3.1 from the route table, the message types and the error tree: nothing is said twice.

A problem is described once, under `x-problems`: status, text, advice. An answer that refuses names
the codes that it may have; what is true of many operations is a component that they refer to.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from chaind import __version__
from chaind.api.answers import JSON_MEDIA
from chaind.api.guards import Access
from chaind.api.problems import (
    CHALLENGE,
    INTERNAL,
    MINER_CHALLENGE,
    PROBLEM_MEDIA,
    RETRY_AFTER_S,
    CredentialsNeeded,
    Problem,
    is_waiting,
    status_of,
)
from chaind.api.refusals import Leaf, refusals
from chaind.api.route import Follow, Parameter, Route

Json = dict[str, Any]

_ACCESS = {
    Access.OPEN: "",
    Access.DEVELOPMENT: "Needs the node's token, except on a development chain over loopback.",
    Access.TOKEN: "Needs the node's token.",
}
_TAGS = {  # by the module of the handler, in the order of the page
    "nodes": ("Node", "Where the node stands, who its peers are, and what its chain is."),
    "blocks": ("Blocks", "Final blocks only: nothing in them ever changes."),
    "accounts": ("Accounts", "What an address holds, its coins and history, and who has a name."),
    "statements": ("Accounts", ""),
    "transactions": ("Transactions", "Signed transactions, and what became of them."),
    "payments": ("Payments", "From accounts whose keys the node keeps, exactly once."),
    "payouts": ("Payments", ""),
    "refunds": ("Payments", ""),
    "invoices": ("Invoices", "Ask for a payment, and see what became of it."),
    "markets": ("Exchange", "Order books, what trades on them, and orders."),
    "orders": ("Exchange", ""),
    "mining": (
        "Mining",
        "On chains of miners: a template out, a mined header back; who mines what.",
    ),
    "mining_view": ("Mining", ""),
    "rpc": ("Mining", ""),
    "events": ("Events", "Every final movement of money, to be read, posted or heard live."),
    "webhooks": ("Events", ""),
    "websocket": ("Events", ""),
    "search": ("Blocks", ""),
    "health": ("Health", "For whoever watches over processes."),
}
_ABOUT = """\
Amounts are decimal strings in answers; strings or numbers are taken. Heights are integers, and so
are times: milliseconds since 1970. A number in a body has at most 64 characters and an exponent
within 64; 7.0 is as whole as 7. Ids and hashes are hex, block hashes in Bitcoin's display order.

Every refusal is a problem document (RFC 9457) with a stable `code`, the values that matter and
what to do; `x-problems` explains each code. Where asking again helps, Retry-After says when.

An Idempotency-Key makes a payment happen once: the same request with the same key gets the same
answer, at any node, for a day.

Lists page by cursor: `next_cursor` of one page is `cursor` of the next. A query parameter that a
route does not know is refused, and so is one that is given twice. GET routes answer HEAD as well.

Reading, and submitting signed transactions, is open. What spends a key that the node keeps, or
changes the node, needs its token; named accounts and the faucet of a development chain do not,
over loopback. Pages of other origins are refused.
"""

_HEADERS: Json = {
    name: {
        "description": "Seconds after which asking again may help",
        "required": required,
        "schema": {"type": "integer", "minimum": RETRY_AFTER_S},
    }
    for name, required in (("Retry-After", True), ("Retry-After-Of-Some", False))
} | {
    "WWW-Authenticate": {
        "description": "How to say who asks: the token as a bearer",
        "required": True,
        "schema": {"type": "string", "const": CHALLENGE},
    },
    "WWW-Authenticate-Of-Miners": {
        "description": "How to say who asks: a name and a secret",
        "required": True,
        "schema": {"type": "string", "const": MINER_CHALLENGE},
    },
}


def document(routes: Sequence[Route]) -> Json:
    """The description of all routes, aliases included."""
    return _Describer(routes).document()


class _Describer:
    """Describes a table. Components are gathered while its routes are described."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        types: list[Any] = [Problem]
        for route in routes:
            for kind in (route.request, *route.answers.values()):
                types += _alternatives(kind)
        schemas, self._schemas = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        self._refs = dict(zip(map(str, types), schemas, strict=True))
        for schema in self._schemas.values():
            if "description" in schema:
                schema["description"] = inspect.cleandoc(schema["description"])
        self._statuses = {route.operation: route.answers for route in routes}
        self._responses: dict[str, Json] = {}
        self._names: dict[str, str] = {}  # of responses, by their content
        self._problems: dict[str, Json] = {}

    def document(self) -> Json:
        """The whole document."""
        paths: dict[str, Json] = {}
        for route in self._routes:
            for number, path in enumerate((route.path, *route.aliases)):
                operation = self._operation(route)
                if number:
                    operation["operationId"] += f"_alias{number}"
                    operation["description"] = f"The same as {route.path}."
                    operation["x-alias-of"] = route.path
                paths.setdefault(path, {})[route.method.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "chaind",
                "version": __version__,
                "summary": "The API of a node",
                "description": _ABOUT,
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/", "description": "This node"}],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.values() if text],
            "paths": paths,
            "components": {
                "schemas": self._schemas,
                "responses": self._responses,
                "headers": _HEADERS,
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "The content of api.token in the node's home, or of [api] "
                        "token_file.",
                    }
                },
            },
            "x-problems": dict(sorted(self._problems.items())),
        }

    def _operation(self, route: Route) -> Json:
        says = (inspect.getdoc(route.handler) or "", _ACCESS[route.access])
        operation: Json = {
            "operationId": route.operation,
            "summary": route.summary,
            "description": "\n\n".join(filter(None, says)),
            "tags": [_TAGS[route.handler.__module__.rpartition(".")[2]][0]],
            "responses": self._answers(route),
        }
        if route.parameters:
            operation["parameters"] = [_parameter(one) for one in route.parameters]
        if route.access is not Access.OPEN:
            operation["security"] = [{"token": []}]
            if route.access is Access.DEVELOPMENT:
                operation["security"].append({})
        if route.request is not None:
            body: Json = {"schema": self._schema(route.request)}
            if route.examples:
                body["examples"] = {
                    name: {"value": value} for name, value in route.examples.items()
                }
            content: Json = {media: {} for media in route.media} | {JSON_MEDIA: body}
            operation["requestBody"] = {"required": True, "content": content}
        return operation

    def _answers(self, route: Route) -> Json:
        """Responses by status: what is answered, and what is refused."""
        refused: dict[int, list[Leaf]] = {
            int(status): leaves for status, leaves in refusals(route).items()
        }
        refused[HTTPStatus.INTERNAL_SERVER_ERROR] = []
        found: Json = {}
        for status, kind in route.answers.items():
            found[str(status)] = self._answer(route, status, kind, refused.pop(status, []))
        for status, leaves in sorted(refused.items()):
            found[str(status)] = self._refused(HTTPStatus(status), leaves)
        return found

    def _answer(self, route: Route, status: int, kind: Any, leaves: Sequence[Leaf]) -> Json:
        answer: Json = {"description": HTTPStatus(status).phrase}
        if status not in (HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.NOT_MODIFIED):
            schema = {} if kind is None else {"schema": self._schema(kind)}
            answer["content"] = {route.answer_media: schema}
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            for media, form in route.other_media.items():
                answer["content"][media] = {"schema": form}
        if leaves:
            answer["content"][PROBLEM_MEDIA] = {"schema": self._problem(status, leaves)}
        headers = {
            header.name: {"description": header.summary, "schema": {"type": "string"}}
            for header in route.headers
            if status in header.statuses
        }
        if headers:
            answer["headers"] = headers
        if status < HTTPStatus.MULTIPLE_CHOICES:
            links = {
                follow.operation: _link(follow)
                for follow in route.follows
                if status in self._linking(route, follow)
            }
            if links:
                answer["links"] = links
        return answer

    def _linking(self, route: Route, follow: Follow) -> set[int]:
        """Statuses whose answers have the field that leads on."""
        assert follow.operation in self._statuses, follow.operation
        return {
            status
            for status, kind in route.answers.items()
            if any(follow.field in each.__struct_fields__ for each in _alternatives(kind))
        }

    def _refused(self, status: HTTPStatus, leaves: Sequence[Leaf]) -> Json:
        """A reference to the response that refuses with one of these."""
        response: Json = {
            "description": status.phrase,
            "content": {PROBLEM_MEDIA: {"schema": self._problem(status, leaves)}},
        }
        if any(map(is_waiting, leaves)):
            header = "Retry-After" if all(map(is_waiting, leaves)) else "Retry-After-Of-Some"
            response["headers"] = {"Retry-After": {"$ref": f"#/components/headers/{header}"}}
        if status is HTTPStatus.UNAUTHORIZED:
            header = "WWW-Authenticate"
            whose = "-Of-Miners" if CredentialsNeeded in leaves else ""
            response["headers"] = {header: {"$ref": f"#/components/headers/{header}{whose}"}}
        content = json.dumps(response)
        if content not in self._names:
            word = status.phrase.title().replace(" ", "")
            kin = sum(name.startswith(word) for name in self._responses)
            name = f"{word}{kin + 1}" if kin else word
            self._names[content] = name
            self._responses[name] = response
        return {"$ref": f"#/components/responses/{self._names[content]}"}

    def _problem(self, status: int, leaves: Sequence[Leaf]) -> Json:
        """The schema of a problem document that has one of these codes."""
        codes = [leaf.code for leaf in leaves] or [INTERNAL.code]
        for leaf in leaves:
            self._problems[leaf.code] = {
                "status": int(status_of(leaf)),
                "text": leaf.text,
                "advice": leaf.advice,
            }
        if codes == [INTERNAL.code]:
            self._problems[INTERNAL.code] = {
                "status": INTERNAL.status,
                "text": INTERNAL.detail,
                "advice": INTERNAL.advice,
            }
        return {
            "allOf": [
                self._refs[str(Problem)],
                {"properties": {"status": {"const": int(status)}, "code": {"enum": codes}}},
            ]
        }

    def _schema(self, kind: Any) -> Json:
        schemas = [self._refs[str(each)] for each in _alternatives(kind)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if kind is None:
        return ()
    return kind if isinstance(kind, tuple) else (kind,)


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.summary,
        "schema": {"type": parameter.kind, **parameter.limits},
    }
    if parameter.place == "path":
        described["required"] = True
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _link(follow: Follow) -> Mapping[str, Any]:
    return {
        "operationId": follow.operation,
        "parameters": {follow.parameter: f"$response.body#/{follow.field}"},
    }
