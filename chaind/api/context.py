"""What every handler is given: the node, its chain's forms, guards, channels, webhooks."""

from aiohttp import web

from chaind.api.channels import Hub
from chaind.api.forms import Forms
from chaind.api.guards import Guards
from chaind.api.metrics import ApiMetrics
from chaind.api.pages import read_pages
from chaind.api.plan_forms import PlanForms
from chaind.api.rpc_access import MinerAccess
from chaind.api.webhook_subscriptions import Subscriptions
from chaind.node.config import ApiSection
from chaind.node.invoices import Invoices
from chaind.node.node import Node


class Api:
    """One node's API. `sockets` are the open WebSockets, `document` the OpenAPI description,
    `pages` the files of the dashboard, `docs` those of the page that shows the description;
    `miners` may use JSON-RPC, on chains that are mined."""

    def __init__(
        self, node: Node, token: str, invoices: Invoices, miners: MinerAccess | None
    ) -> None:
        self.node = node
        self.miners = miners
        self.plan_forms = PlanForms()
        self.invoices = invoices
        self.section: ApiSection = node.config.api
        self.forms = Forms(node.genesis)
        self.guards = Guards(
            self.section,
            dev=node.genesis.dev,
            token=token,
            clock_ms=node.clock.monotonic_ms,
        )
        self.metrics = ApiMetrics(node.metrics)
        self.hub = Hub(node, self.forms)
        self.webhooks = Subscriptions(node, self.forms)
        self.sockets: set[web.WebSocketResponse] = set()
        self.document = b""
        self.pages = read_pages("dashboard")
        self.docs = read_pages("docs")
