"""The metrics of a robot, sent to a collector of OpenTelemetry by OTLP over HTTP."""

from __future__ import annotations

import importlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import edge_inference
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError
from edge_inference.observe.export.bounded_session import make_bounded_session
from edge_inference.observe.export.exported_metric import ExportedMetric, MetricKind
from edge_inference.observe.export.machine_metrics import MACHINE_METRICS
from edge_inference.observe.export.output_state import OutputState
from edge_inference.observe.export.pipeline_metrics import PIPELINE_METRICS
from edge_inference.observe.monitor.snapshot import Snapshot

#: For one export, with its repetitions.
_EXPORT_S = 5.0
#: How long an export that is under way may delay the end.
_STOP_S = 1.0
_LOGGER = "opentelemetry"
_SYSTEM_MESSAGE = re.compile(r"\[Errno -?\d+\] ([A-Z][\w ]+)")


class OtlpSender:
    """Sends the newest snapshot, in a thread of its own, so that a slow collector delays nothing.

    ``url`` is the complete address of the collector's endpoint for metrics. Headers, certificates,
    compression and attributes of the robot come from the variables ``OTEL_EXPORTER_OTLP_…`` and
    ``OTEL_RESOURCE_ATTRIBUTES``. A collector that is away is said once, and tried again with the
    next snapshot. Raises ConfigError where the packages of OpenTelemetry are missing.
    """

    def __init__(self, url: str, on_message: Callable[[str], None]) -> None:
        self.state = OutputState(url, on_message)
        http = _import("opentelemetry.exporter.otlp.proto.http.metric_exporter")
        session = make_bounded_session(_EXPORT_S)
        self._exporter = http.OTLPMetricExporter(endpoint=url, timeout=_EXPORT_S, session=session)
        self._resource = make_resource()
        self._newest: Snapshot | None = None
        self._has_ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def send(self, snapshot: Snapshot) -> None:
        """Send a snapshot soon; one that was not sent yet is replaced."""
        with self._changed:
            self._newest = snapshot
            self._changed.notify()

    def close(self) -> None:
        """End, without waiting long for a collector that does not answer."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()
        self._thread.join(_STOP_S)
        self._exporter.shutdown()

    def _run(self) -> None:
        with _collect_log() as log:
            while (snapshot := self._take()) is not None:
                log.clear()
                problem = self._export(snapshot)
                if problem is None:
                    self.state.note_success()
                else:
                    self.state.note_failure(_shorten(log[0] if log else problem))

    def _take(self) -> Snapshot | None:
        """Wait for a snapshot; None at the end, after the last one was sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._has_ended)
            snapshot, self._newest = self._newest, None
            return snapshot

    def _export(self, snapshot: Snapshot) -> str | None:
        """Export a snapshot; return what went wrong."""
        try:
            result = self._exporter.export(make_metrics_data(snapshot, self._resource))
        except OSError as error:  # those of requests are OSErrors; some versions let them pass
            return str(error)
        return None if result.name == "SUCCESS" else "the metrics were not accepted"


def make_resource() -> Any:
    """Return the OpenTelemetry resource: which service of which robot the metrics are of.

    Raises ConfigError where the packages of OpenTelemetry are missing.
    """
    name = os.environ.get("OTEL_SERVICE_NAME") or "edge-inference"
    attributes = {"service.name": name, "service.version": edge_inference.__version__}
    return _import("opentelemetry.sdk.resources").Resource.create(attributes)


def make_metrics_data(snapshot: Snapshot, resource: Any) -> Any:
    """Return the metrics of a snapshot as OpenTelemetry's ``MetricsData``.

    It is made anew each time, so that nothing remains of a node that has gone. Raises ConfigError
    where the packages of OpenTelemetry are missing.
    """
    sdk = _import("opentelemetry.sdk.metrics.export")
    scopes = _import("opentelemetry.sdk.util.instrumentation")
    scope = scopes.InstrumentationScope("edge_inference", edge_inference.__version__)
    made = (_make_metric(sdk, each, snapshot) for each in (*PIPELINE_METRICS, *MACHINE_METRICS))
    metrics = [metric for metric in made if metric.data.data_points]
    group = sdk.ResourceMetrics(resource, [sdk.ScopeMetrics(scope, metrics, "")], "")
    return sdk.MetricsData([group])


def _make_metric(sdk: Any, metric: ExportedMetric, snapshot: Snapshot) -> Any:
    at_ns = round(snapshot.at_s * 1e9)
    # When a count began is unknown.
    points = [
        sdk.NumberDataPoint(labels, None, at_ns, value)
        for labels, value in metric.measure(snapshot)
    ]
    if metric.kind is MetricKind.COUNTER:
        data = sdk.Sum(points, sdk.AggregationTemporality.CUMULATIVE, True)
    else:
        data = sdk.Gauge(points)
    return sdk.Metric(metric.otlp_name, metric.description, metric.unit, data)


@contextmanager
def _collect_log() -> Iterator[list[str]]:
    """Collect what OpenTelemetry logs, which would else be on stderr with each attempt."""
    texts: list[str] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, handler = logging.getLogger(_LOGGER), _Collector()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _shorten(text: str) -> str:
    """Return only what the system says in a text of the libraries, where it says something."""
    found = _SYSTEM_MESSAGE.search(text)
    return found[1] if found else one_line(text)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            "metrics for OpenTelemetry need the packages opentelemetry-sdk and "
            f"opentelemetry-exporter-otlp-proto-http, which cannot be imported ({error}); install "
            "them with: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        ) from error
