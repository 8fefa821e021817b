"""``edge-inference run perception`` while another process publishes on the same topic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.context import Context
from sensor_msgs.msg import Image

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.tools.main import console; sys.exit(console())"
DEADLINE_S = 600
PICTURES = 40


def test_every_picture_is_processed_and_the_company_is_told(tmp_path: Path) -> None:
    for index in range(PICTURES):
        cv2.imwrite(str(tmp_path / f"{index:02d}.png"), np.zeros((60, 80, 3), np.uint8))
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context)
    publisher = node.create_publisher(Image, "/camera/image_raw", 5)
    stranger = Image(width=4, height=4, step=12, encoding="bgr8", data=bytes(48))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "perception", "--source", str(tmp_path), "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )
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
        "read": PICTURES,
        "results": PICTURES,
        "unreadable": 0,
        "dropped": {},
    }
    assert "somebody else publishes on /camera/image_raw" in errors
