"""What schemathesis is told of this API: a media type, a patience, and a promise of its own."""

import re
from typing import Any

import msgpack
import schemathesis

FORM_CODES = {
    "body-malformed",
    "http-malformed",
    "media-type-unsupported",
    "query-unknown",
    "route-unknown",
}


@schemathesis.deserializer("application/msgpack")
def read_messages(_context: Any, response: Any) -> list[Any]:
    """The values of a MessagePack stream."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(response.content)
    return list(unpacker)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Ask no page to be held until something happens: that is a test of its own. Name no dead
    letter of a subscription that was made just now: it is there, and has none."""
    is_positive = case.meta is not None and case.meta.generation.mode.is_positive
    if case.operation.path.endswith("/retry") and is_positive and isinstance(case.body, dict):
        case.body = {}
    wait = str((case.query or {}).get("wait", ""))
    if case.operation.path.endswith("/events") and wait.isascii() and wait.isdigit():
        # What is changed is judged anew, so what no URL can say (an empty list) has to go with it.
        sent = {name: value for name, value in case.query.items() if value != []}
        case.query = {**sent, "wait": wait if int(wait) > 30 else "0"}


@schemathesis.check
def described_form_is_understood(_context: Any, response: Any, case: Any) -> None:
    """What the description allows is never refused for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    problem = response.json()
    made_up_cursor = problem.get("values", {}).get("name") == "cursor"
    endless_number = re.search(r"number \S+ is out of range", problem["detail"])  # as info says
    refused = problem["code"] in FORM_CODES or problem["code"] == "query-invalid"
    assert not refused or made_up_cursor or endless_number, problem["detail"]
