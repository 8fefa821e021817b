"""The page of a trace draws itself in Chromium, without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.profiling.pipeline_trace import trace_pipeline
from edge_inference.observe.profiling.trace_file import write_trace

MS = 1_000_000
HOSTILE = "</script><img src=x onerror=document.title='bad'>"
DEADLINE_S = 120
# Runs in the page after its own script: what it shows as text, in the title of the document.
PROBE = """
<script>
const shown = pen.getImageData(0, 0, canvas.width, canvas.height).data;
let colored = 0;
for (let i = 3; i < shown.length; i += 4) colored += shown[i] > 0;
const report = document.createElement("pre");
report.id = "report";
report.textContent = JSON.stringify({ colored, width: canvas.width, height: canvas.height,
  text: document.body.innerText, title: document.title, rows: rows.map((row) => row.name) });
document.body.append(report);
</script>
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return found


def browse(chromium: str, folder: Path, page: Path, *options: str) -> str:
    """Open a page without a network and return the document as it is then."""
    done = subprocess.run(
        [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--window-size=1200,600",
            "--virtual-time-budget=2000",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return done.stdout


def write_page(file: Path) -> None:
    def timing(stage: str, number: int, begin_ms: float, process_ms: float) -> StageTiming:
        return StageTiming(
            stage,
            f"/ai/{stage}",
            queue_ms=2.0,
            process_ms=process_ms,
            age_ms=1.0,
            stamp_ns=number,
            ended_ns=round((100 + begin_ms + process_ms) * MS),
            clock_id=1,
            publish_ms=1.0,
            model=HOSTILE,
        )

    timings = []
    for number in range(1, 21):
        timings += [
            timing("preprocess", number, 40 * number, 5),
            timing("inference", number, 40 * number + 8, 25),
            timing(HOSTILE, number, 40 * number + 35, 3),
        ]
    windows = [
        ProcessStatistics((f"/ai/{stage}",), pid, 1, 0, 900 * MS, 450.0, 80.0, 0, 0)
        for pid, stage in ((21, "preprocess"), (22, "inference"))
    ]
    write_trace(trace_pipeline(timings, windows).events, file, "--trace")


def test_the_page_shows_every_row_and_figure_as_text(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    write_page(page)
    page.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    document = browse(chromium, tmp_path, page, "--dump-dom")
    text = document.partition('<pre id="report">')[2].partition("</pre>")[0]
    shown = json.loads(
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&nbsp;", " ")
    )
    assert shown["title"] == "edge-inference trace"  # no script in a name ran
    for expected in (
        "edge-inference",
        "120 slices, 20 frames joined, 0 drops",
        "process 21: /ai/preprocess",
        "process 22: /ai/inference",
        "preprocess (/ai/preprocess)",
        "queue of inference",
        "CPU, cores",
        "memory, MiB",
        HOSTILE,
    ):
        assert expected in shown["text"]
    # The figures of inference: 20 slices of 25 ms and 1 ms for publishing.
    (line,) = [row for row in shown["text"].splitlines() if row.startswith("inference\t")]
    assert line.split("\t") == ["inference", "20", "26.000", "26.000", "520.000"]
    assert shown["colored"] > shown["width"] * shown["height"] * 0.2


def test_the_page_is_drawn(chromium: str, tmp_path: Path) -> None:
    page, file = tmp_path / "trace.html", tmp_path / "page.png"
    write_page(page)
    browse(chromium, tmp_path, page, f"--screenshot={file}")
    image = cv2.imread(str(file))
    assert image is not None
    # Rows of several colors: a page without fonts or without its script is white.
    colors = np.unique(image.reshape(-1, 3), axis=0)
    assert len(colors) > 20


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    write_page(page)
    text = page.read_text()
    assert "http:" not in text and "https:" not in text
    assert HOSTILE not in text  # it cannot end the script that holds the trace
    assert text.count("<script") == 2
