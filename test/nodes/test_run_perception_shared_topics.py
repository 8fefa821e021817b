"""``edge-inference run perception`` while another process publishes on the same topic."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from edge_inference.core.results import DETECTION
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
#: On a loaded machine, discovery may take longer than a person at a robot wants to wait.
PATIENT = (
    f"from edge_inference.cli import run_namespace; run_namespace._DISCOVERY_S = 15; {PROGRAM}"
)
DEADLINE_S = 600
IMAGES = 40
pytestmark = pytest.mark.usefixtures("alone")


def make_images(folder: Path) -> None:
    for index in range(IMAGES):
        cv2.imwrite(str(folder / f"{index:02d}.png"), np.zeros((60, 80, 3), np.uint8))


def run(folder: Path, *arguments: str, program: str = PROGRAM) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", "perception", "--source", str(folder), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )


def test_a_second_pipeline_gets_another_namespace(tmp_path: Path) -> None:
    make_images(tmp_path)
    context = Context()
    rclpy.init(context=context)
    nodes = [
        rclpy.create_node("inference", namespace=namespace, context=context)
        for namespace in ("/ai", "/ai_2")
    ]
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(nodes[0])
    kind = result_adapter(DETECTION).message_type
    received: dict[str, list[object]] = {"/ai": [], "/ai_3": []}
    for namespace, found in received.items():
        nodes[0].create_subscription(kind, f"{namespace}/detections", found.append, 100)
    pace = ("--real-time", "--rate", "20")  # slow enough for a subscription to be there in time
    process = run(tmp_path, "--json", *pace, program=PATIENT)
    try:
        while process.poll() is None:
            executor.spin_once(timeout_sec=0.05)
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert process.returncode == 0
    assert summary["frames"]["read"] == IMAGES
    assert "another pipeline runs in the namespace /ai" in errors
    assert "this one runs in /ai_3" in errors
    assert "another node publishes" not in errors
    assert received["/ai"] == []
    assert received["/ai_3"]


def test_two_runs_that_start_at_once_are_separate(tmp_path: Path) -> None:
    make_images(tmp_path)
    processes = [run(tmp_path, "--json") for _ in range(2)]
    try:
        ended = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    for out, _ in ended:
        summary = json.loads(out.splitlines()[-1])["summary"]
        assert summary["frames"]["results"] == IMAGES
        assert summary["frames"]["dropped"] == {}
    errors_by_run = sorted(errors for _, errors in ended)
    assert errors_by_run[0] == ""
    assert "this one runs in /ai_2" in errors_by_run[1]


def test_a_pipeline_that_starts_later_is_reported(tmp_path: Path) -> None:
    make_images(tmp_path)
    process = run(tmp_path, "--json", "--real-time", "--rate", "1")
    context = Context()
    try:
        assert json.loads(process.stdout.readline())
        rclpy.init(context=context)
        node = rclpy.create_node("inference", namespace="/ai", context=context)
        errors_by_run = process.stderr.readline()
        node.destroy_node()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        rclpy.shutdown(context=context)
    assert "another pipeline has started in the namespace /ai" in errors_by_run


def test_every_image_is_processed_and_the_other_publisher_reported(tmp_path: Path) -> None:
    make_images(tmp_path)
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context)
    publisher = node.create_publisher(Image, "/camera/image_raw", 5)
    stranger = Image(width=4, height=4, step=12, encoding="bgr8", data=bytes(48))
    process = run(tmp_path, "--json")
    try:
        while process.poll() is None:
            stranger.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(stranger)
            try:
                process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        node.destroy_node()
        rclpy.shutdown(context=context)
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert process.returncode == 0
    assert summary["frames"] == {
        "read": IMAGES,
        "results": IMAGES,
        "unreadable": 0,
        "dropped": {},
    }
    assert "another node publishes on /camera/image_raw" in errors
