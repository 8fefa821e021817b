"""The dashboard's page in Chromium with a real pipeline: its panels, a parameter, a restart."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from benchmarks.chromium_page import ChromiumPage
from benchmarks.live_dashboard import live_dashboard
from benchmarks.programs import run_program
from dashboard_view import (
    STATUS,
    choose_node,
    find_field,
    look_at,
    show,
    text_of,
    wait_for_change,
    wait_for_image,
    wait_for_text,
)
from edge_inference.nodes.observe.pipeline_observer import PipelineObserver
from perception_rig import ASTRONAUT
from rig import Collected, Rig

RATE_HZ = 5
SHOWN = {
    "glance": ["end to end, p99", "fp"],
    "targets": ["NOT MEASURED"],
    "latency": ["preprocess", "inference", "decode", "overlay"],
    "charts": ["End to end", "inference p99"],
    "results": ["/ai/detections", "person"],
    "voice": ["nothing was said yet"],
    "log": ["/ai"],
    "engine": ["nanodet", "ort"],
    "platform": ["sensor"],
    "processes": ["/ai/decode"],
    "health": ["/ai/inference"],
}
MOVING = ("glance", "latency", "charts", "results", "processes", "health", "image")


def perception(*arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a pipeline on two images, again and again."""
    source = (f"source:={ASTRONAUT.parent}", "loop:=true", f"rate:={RATE_HZ}")
    words = [word for each in (*source, *arguments) for word in ("--argument", each)]
    domain = int(os.environ["ROS_DOMAIN_ID"])
    return run_program("component_container", ["--pipeline", "perception", *words], domain)


@pytest.fixture
def address(alone: None) -> Iterator[str]:
    with live_dashboard(int(os.environ["ROS_DOMAIN_ID"]), "--allow-changes") as address:
        yield address


def test_every_panel_shows_a_running_pipeline(
    page: ChromiumPage,
    address: str,
) -> None:
    with perception("targets:=specification"):
        show(page, address)
        page.click("#image-on")
        wait_for_image(page)
        for panel, texts in SHOWN.items():
            look_at(page, panel)
            for text in texts:
                wait_for_text(page, panel, text)
        for panel in MOVING:
            look_at(page, panel)
            wait_for_change(page, text_of(panel))


def test_the_page_outlives_the_pipeline(page: ChromiumPage, address: str) -> None:
    page.open(address)
    page.wait_for(f"{STATUS}.includes('no pipeline')")
    with perception():
        page.wait_for(f"{STATUS} === 'observing'")
        look_at(page, "latency")
        wait_for_text(page, "latency", "decode")
    page.wait_for(f"{STATUS}.includes('has ended')")
    with perception():
        page.wait_for(f"{STATUS} === 'observing'")
        look_at(page, "latency")
        wait_for_change(page, text_of("latency"))


def test_a_parameter_acts_from_the_next_frame_on(
    page: ChromiumPage,
    address: str,
    rig: Rig,
) -> None:
    results = Collected()
    node = rig.load_component(f"{PipelineObserver.__module__}::PipelineObserver").node
    with perception():
        rig.call(lambda: node.subscribe("/ai/detections", results.take, _fail))
        results.wait(3)
        assert all(len(each.scores) for each in results)
        show(page, address)
        choose_node(page, "/ai/decode")
        field = find_field(page, "confidence")
        page.type_text(f"{field} input", "1.0")
        page.press("Enter")
        page.wait_for(f"document.querySelector('{field} output').innerText === 'set'")
        set_ns = time.time_ns()
        results.wait(len(results) + 5)
    later = [each for each in results if each.stamp_ns > set_ns]
    assert len(later) >= 2
    assert [len(each.scores) for each in later] == [0] * len(later)


def _fail(error: Any) -> None:
    raise AssertionError(error)
