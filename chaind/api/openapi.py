"""OpenAPI 3.1 from the route table and the message types: nothing is described twice."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from chaind import __version__
from chaind.api.answers import JSON_MEDIA
from chaind.api.guards import Access
from chaind.api.problems import PROBLEM_MEDIA, Problem
from chaind.api.route import Route

COMMON_ERRORS = (400, 403, 429, 500)
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_ACCESS = {
    Access.OPEN: "",
    Access.DEVELOPMENT: "Needs the node's token, except on a development chain over loopback.",
    Access.TOKEN: "Needs the node's token.",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of all routes, aliases included."""
    types: list[Any] = [Problem]
    for route in routes:
        for kind in (route.request, *route.answers.values()):
            types += _alternatives(kind)
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    refs = dict(zip(map(str, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for number, path in enumerate((route.path, *route.aliases)):
            operation = _operation(route, refs)
            if number:
                operation["operationId"] += f"_alias{number}"
                operation["description"] = f"The same as {route.path}."
            paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "chaind", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if kind is None:
        return ()
    return kind if isinstance(kind, tuple) else (kind,)


def _schema(kind: Any, refs: dict[str, Any]) -> dict[str, Any]:
    schemas = [refs[str(each)] for each in _alternatives(kind)]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _operation(route: Route, refs: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(route.path)
    ]
    parameters += [
        {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.summary,
            "schema": {"type": parameter.kind},
        }
        for parameter in route.parameters
    ]
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "responses": _responses(route, refs),
    }
    if parameters:
        operation["parameters"] = parameters
    if route.access is not Access.OPEN:
        operation["description"] = _ACCESS[route.access]
        operation["security"] = [{"token": []}]
        if route.access is Access.DEVELOPMENT:
            operation["security"].append({})
    if route.request is not None:
        schema = _schema(route.request, refs)
        content: dict[str, Any] = {media: {} for media in route.media} | {
            JSON_MEDIA: {"schema": schema}
        }
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route, refs: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in route.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            content = {"schema": _schema(kind, refs)} if kind is not None else {}
            answer["content"] = {route.answer_media: content}
        responses[str(status)] = answer
    for status in sorted({*COMMON_ERRORS, *route.errors}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_MEDIA: {"schema": refs[str(Problem)]}},
        }
    return responses
