"""The metrics of a robot in the text formats that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edge_inference.errors import ConfigError
from edge_inference.observe.export.exported_metric import ExportedMetric, MetricKind
from edge_inference.observe.export.machine_metrics import MACHINE_METRICS
from edge_inference.observe.export.pipeline_metrics import PIPELINE_METRICS
from edge_inference.observe.monitor.snapshot import Snapshot

_SUFFIXES = {MetricKind.COUNTER: "_total", MetricKind.INFO: "_info"}


def format_metrics(snapshot: Snapshot, accept: str = "") -> bytes:
    """Return the metrics as a page, of the type that :func:`content_type` names.

    What is unknown is absent, and so is what belongs to a node that has gone. ``accept`` is the
    header of the request: the text format 0.0.4, or OpenMetrics where it is asked for. Raises
    ConfigError where the package prometheus-client is missing.
    """
    encode, _ = _encoder(accept)
    registry = _client().CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    return encode(registry)


def content_type(accept: str = "") -> str:
    """Return the type of the page for this header of a request.

    Raises ConfigError where the package prometheus-client is missing.
    """
    return _encoder(accept)[1]


class _SnapshotCollector:
    """What prometheus-client calls a collector."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Any]:
        """Yield the metrics that have values."""
        for metric in (*PIPELINE_METRICS, *MACHINE_METRICS):
            family = _family(metric, self._snapshot)
            if family.samples:
                yield family


def _family(metric: ExportedMetric, snapshot: Snapshot) -> Any:
    name = metric.prometheus_name
    family = _client().Metric(name, metric.description, metric.kind.value, metric.unit_word)
    for labels, value in metric.measure(snapshot):
        family.add_sample(name + _SUFFIXES.get(metric.kind, ""), labels, value)
    return family


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    _client()
    from prometheus_client.exposition import choose_encoder

    encode, type_name = choose_encoder(accept)
    return encode, type_name


def _client() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise ConfigError(
            "metrics for Prometheus need the package prometheus-client, which cannot be imported "
            f"({error}); install it with: pip install prometheus-client"
        ) from error
    return prometheus_client
