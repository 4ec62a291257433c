"""Metrics of the service for Prometheus; with several workers, /metrics of any of them sums all up."""

import os
from typing import Any

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that names the folder in which workers gather their metrics."""

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram."""


class Metrics:
    """Counters, gauges and histograms of one process."""

    def __init__(self) -> None:
        # The library chooses between memory and shared files when it is imported, by the environment variable.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = own = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("nearnext_requests", "Requests answered.", labels, registry=own)
        self._seconds = Histogram(
            "nearnext_request_seconds", "Seconds from headers to answer.", ("route",), buckets=SECONDS, registry=own
        )
        self.recommendations = Counter("nearnext_recommendations", "Lists of recommendations given.", registry=own)
        self.clicks = Counter("nearnext_clicks", "Clicks taken.", registry=own)
        self.stateless = Counter(
            "nearnext_stateless_answers", "Answers without the session, because the store was down.", registry=own
        )
        self.events_lost = Counter("nearnext_events_lost", "Events that the log could not take.", registry=own)
        self.swaps = Counter("nearnext_model_swaps", "Models that replaced an earlier one.", registry=own)
        self.refused = Counter("nearnext_models_refused", "Artifacts that were not served.", registry=own)

        def gauge(name: str, meaning: str, labels: tuple[str, ...] = (), mode: Any = "mostrecent") -> Gauge:
            return Gauge(f"nearnext_{name}", meaning, labels, multiprocess_mode=mode, registry=own)

        self.store_up = gauge("store_up", "1: the session store answers.")
        self.watcher_up = gauge("watcher_up", "1: a new model will be noticed.")
        self.sessions = gauge("sessions", "Sessions in the memory of the process.", mode="livesum")
        self.session_bytes = gauge("session_bytes", "Their estimated size.", mode="livesum")
        self.new_items = gauge("new_items", "Items beyond the model that can be recommended.")
        self.hidden_items = gauge("hidden_items", "Items removed or out of stock.")
        self._model = gauge("model", "1: the model that is served.", ("version", "method"))
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (route, method, status)
        found = self._children.get(key)
        if found is None:
            found = self._requests.labels(route, method, str(status)), self._seconds.labels(route)
            self._children[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def serves(self, version: str, method: str, before: tuple[str, str] | None) -> None:
        """Note which model is served, and which one was."""
        if before is not None:
            self._model.labels(*before).set(0)
        self._model.labels(version, method).set(1)

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        gathered = CollectorRegistry()
        MultiProcessCollector(gathered)
        return generate_latest(gathered)
