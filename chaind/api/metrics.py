"""What the door counts, in the node's registry: requests, how long they took, open sockets."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ApiMetrics:
    """Labelled children are kept: looking one up costs more than counting."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "chaind_api_requests", "Requests answered", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "chaind_api_request_seconds",
            "Time from a request's head to its answer",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.sockets = Gauge("chaind_api_sockets", "Open WebSockets", registry=registry)
        self._registry = registry
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def observe(self, route: str, status: int, elapsed_s: float) -> None:
        """Count one answer. `route` is a pattern of the table, so that labels stay few."""
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = self._requests.labels(route, str(status))
        counter.inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        histogram.observe(elapsed_s)

    def close(self) -> None:
        """Leave the node's registry, so that another API can enter it."""
        for collector in (self._requests, self._seconds, self.sockets):
            self._registry.unregister(collector)
