"""Holds every answer that a test gets against the description: status, media, headers, code."""

import json
import re
from typing import Any

import aiohttp
import msgspec

from chaind.api.openapi import document
from chaind.api.problems import PROBLEM_MEDIA
from chaind.api.routes import ROUTES

DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(document(ROUTES)))
_ALWAYS = {"content-type", "content-length", "date", "server", "connection", "allow"}


class Described:
    """A document, to be asked whether it foresees an answer."""

    def __init__(self, described: dict[str, Any]) -> None:
        self._document = described
        self._paths = sorted(
            (
                (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item)
                for path, item in described["paths"].items()
            ),
            key=lambda pair: "[^/]+" in pair[0].pattern,  # aiohttp, too, prefers the plain path
        )

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What serves a path; None where nothing is described."""
        for pattern, item in self._paths:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = item.get(method.lower())
                return found
        return None

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        """A part of the document, or what it refers to."""
        if "$ref" not in value:
            return value
        found: Any = self._document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        assert isinstance(found, dict)
        return found

    def codes(self, response: dict[str, Any]) -> list[str]:
        """The codes that a response may have."""
        schema = response["content"][PROBLEM_MEDIA]["schema"]
        codes: list[str] = schema["allOf"][1]["properties"]["code"]["enum"]
        return codes

    def tracing(self) -> aiohttp.TraceConfig:
        """For a client session: what it is answered must be described."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._check)
        return config

    async def _check(
        self, _session: aiohttp.ClientSession, _context: Any, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        response, path = ended.response, ended.url.raw_path
        operation = self.operation(ended.method, path)
        if operation is None or response.status in (101, 405):
            return
        said = f"{ended.method} {path} answers {response.status} {response.content_type}"
        assert str(response.status) in operation["responses"], said
        described = self.resolve(operation["responses"][str(response.status)])
        if "content" in described:
            assert response.content_type in described["content"], said
        for name, header in described.get("headers", {}).items():
            if self.resolve(header).get("required") and response.content_type == PROBLEM_MEDIA:
                assert name in response.headers, f"{said} without {name}"
        known = _ALWAYS | {name.lower() for name in described.get("headers", {})}
        unknown = {name.lower() for name in response.headers} - known
        assert not unknown, f"{said} with {unknown}"
        if response.content_type == PROBLEM_MEDIA and ended.method != "HEAD":
            code = json.loads(await response.read())["code"]
            assert code in self.codes(described), f"{said} with {code}"


DESCRIBED = Described(DOCUMENT)
