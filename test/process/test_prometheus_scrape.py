"""A real Prometheus scrapes the metrics, and its own checker finds nothing to object to."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_inference.observe.export.metrics_server import MetricsServer
from edge_inference.observe.export.prometheus import content_type, format_metrics
from edge_inference.observe.monitor.snapshot import Snapshot
from robot_snapshot import empty_snapshot, full_snapshot

CONFIG = Path(__file__).parents[2] / "config" / "monitoring" / "prometheus.yml"
TIMEOUT_S = 120.0


@pytest.fixture(autouse=True)
def needs_the_package() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; on Debian: apt install prometheus")
    return found


@pytest.mark.parametrize("snapshot", [full_snapshot(), empty_snapshot()], ids=["full", "empty"])
def test_promtool_finds_nothing_to_object_to(snapshot: Snapshot) -> None:
    command = [program("promtool"), "check", "metrics"]
    done = subprocess.run(
        command, input=format_metrics(snapshot), capture_output=True, check=False, timeout=TIMEOUT_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_finds_a_wrong_name() -> None:
    page = b"# HELP a_ms Time.\n# TYPE a_ms counter\na_ms 1\n"
    command = [program("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode != 0 and b"_total" in done.stderr


def test_the_shipped_configuration_is_valid() -> None:
    command = [program("promtool"), "check", "config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr


class Prometheus:
    """A running Prometheus; ``query`` returns the value of each series by its labels."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def query(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        url = self._url + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                content: Any = json.load(answer)
        except (urllib.error.URLError, ConnectionError):  # not ready yet
            return {}
        return {
            frozenset(each["metric"].items()): float(each["value"][1])
            for each in content["data"]["result"]
        }

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression; None where there is none."""
        found = [*self.query(expression).values()]
        return found[0] if len(found) == 1 else None


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[Prometheus, list[Snapshot]]]:
    """Prometheus, and the snapshot that it scrapes ten times a second."""
    prometheus = program("prometheus")
    current = [full_snapshot()]
    port = free_port()
    with closing(
        MetricsServer(
            "127.0.0.1",
            0,
            lambda accept: (format_metrics(current[0], accept), content_type(accept)),
        )
    ) as server:
        config = CONFIG.read_text().replace("5s", "100ms").replace("9464", str(server.port))
        (tmp_path / "prometheus.yml").write_text(config)
        command = [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
        try:
            yield Prometheus(port), current
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_prometheus_scrapes_values_and_vanished_series_end(
    scraped: tuple[Prometheus, list[Snapshot]],
) -> None:
    prometheus, current = scraped
    wait_for(lambda: (prometheus.value("count_over_time(up[1m])") or 0) >= 5)
    assert prometheus.value("min_over_time(up[1m])") == 1.0
    selected = 'edge_inference_stage_process_seconds{stage="inference",quantile="0.99"}'
    assert prometheus.value(selected) == 0.04
    (info,) = prometheus.query("edge_inference_engine_info")
    assert ("precision", "int8") in info and ("robot", "my_robot") in info
    page = format_metrics(full_snapshot()).decode().splitlines()
    series = {line for line in page if not line.startswith("#")}
    assert prometheus.value('count({__name__=~"edge_inference_.*"})') == len(series)
    current[0] = empty_snapshot()
    wait_for(lambda: not prometheus.query(selected))
    assert prometheus.value("edge_inference_pipeline_running") == 0.0
