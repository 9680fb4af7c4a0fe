"""Routes for whoever watches over processes: alive, ready, and the metrics."""

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from chaind.api.answers import Answer, respond
from chaind.api.context import Api


class LiveAnswer(Answer, frozen=True):
    """The event loop turns."""

    status: str


class ReadyAnswer(Answer, frozen=True):
    """Whether the node follows a chain that makes progress; with 503, why it does not."""

    status: str
    ready: bool
    reasons: list[str]
    height: int


async def get_live(_api: Api, _request: web.Request) -> web.Response:
    """Answers as long as the process can."""
    return respond(LiveAnswer("ok"))


async def get_ready(api: Api, _request: web.Request) -> web.Response:
    """503 with reasons while the node should not be relied on."""
    health = api.node.vitals.health()
    status = "ok" if health.ready else "unavailable"
    answer = ReadyAnswer(status, health.ready, list(health.reasons), api.node.chain.final.height)
    return respond(answer, 200 if health.ready else 503)


async def get_metrics(api: Api, _request: web.Request) -> web.Response:
    """Everything the node counts, in Prometheus text."""
    return web.Response(
        body=generate_latest(api.node.metrics), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    )
