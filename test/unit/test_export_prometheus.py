"""The page for Prometheus, read back by its own parsers."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.export.prometheus import content_type, format_metrics
from robot_snapshot import empty_snapshot, full_snapshot, make_stage

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture(autouse=True)
def needs_the_package() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")


def samples(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of a page in the text format 0.0.4."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_the_page_has_names_types_and_texts() -> None:
    page = format_metrics(full_snapshot()).decode()
    assert "# TYPE edge_inference_stage_process_seconds summary\n" in page
    assert "# TYPE edge_inference_stage_frames_total counter\n" in page
    assert "# TYPE edge_inference_engine_info gauge\n" in page
    assert "# HELP edge_inference_stage_rate_hertz Frames that a stage processes per sec" in page
    line = (
        'edge_inference_stage_process_seconds{node="/ai/inference",quantile="0.99",'
        'stage="inference"} 0.04\n'
    )
    assert line in page


def test_the_page_can_be_read_back() -> None:
    found = samples(format_metrics(full_snapshot()))
    info = {
        "node": "/ai/inference",
        "model": "nanodet",
        "backend": "ort",
        "precision": "int8",
        "engine": 'ONNX Runtime 1.23 "CPU"',
    }
    assert found["edge_inference_engine_info", frozenset(info.items())] == 1.0
    place = {"stage": "decode", "node": "/ai/decode", "reason": "too_old"}
    assert found["edge_inference_stage_dropped_frames_total", frozenset(place.items())] == 2.0


def test_open_metrics_is_served_where_it_is_asked_for() -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    page = format_metrics(full_snapshot(), OPEN_METRICS).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["edge_inference_stage_process_seconds"].unit == "seconds"
    assert families["edge_inference_stage_process_seconds"].type == "summary"
    assert families["edge_inference_engine"].type == "info"
    assert families["edge_inference_stage_frames"].type == "counter"
    assert content_type(OPEN_METRICS).startswith("application/openmetrics-text")
    assert content_type().startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    "accept", ["*/*", ";;,,=", "text/html", "application/openmetrics-text;v" * 99]
)
def test_any_accept_header_gets_a_page(accept: str) -> None:
    assert b"edge_inference_pipeline_running" in format_metrics(empty_snapshot(), accept)


def test_an_unknown_or_vanished_thing_is_absent() -> None:
    page = format_metrics(empty_snapshot())
    assert b"NaN" not in page and page.count(b"# TYPE ") == 2
    assert {name for name, _ in samples(page)} == {
        "edge_inference_pipeline_running",
        "edge_inference_pipelines",
    }
    later = replace(full_snapshot(), stages=(make_stage("decode", "/ai/decode"),))
    assert b'stage="inference"' not in format_metrics(later)


def test_a_hostile_name_cannot_add_a_line() -> None:
    name = 'x"} 1\nfake_metric 1\n'
    page = format_metrics(replace(full_snapshot(), stages=(make_stage(name, "/ai/\\n"),)))
    assert not any(each.startswith("fake") for each in page.decode().splitlines())
    assert samples(page)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match="pip install prometheus-client"):
        format_metrics(full_snapshot())
