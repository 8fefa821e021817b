"""A kind of result of another package passes through the nodes and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message

from edge_inference.core.results import RESULT_KINDS
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from keypoints_model import IMAGE_SIZE, KEYPOINTS, SCORE, source_points, write_keypoints_model
from perception_rig import Pipeline
from rig import Outside, Rig
from test_run_perception import frames_and_summary, run

pytestmark = pytest.mark.usefixtures("extension_package")
WIDTH, HEIGHT = IMAGE_SIZE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_keypoints_model(tmp_path / "models" / "pose")


def test_keypoints_reach_their_topic_and_the_overlay(
    rig: Rig, folder: Path, outside: Outside
) -> None:
    checks = {"golden_check": "refuse", "self_check": "refuse"}
    pipeline = Pipeline(rig, checks, model=str(folder))
    people, scores = rig.tap("/ai/keypoints"), rig.tap("/ai/inference_result")
    drawn = rig.tap("/ai/overlay")  # before the node, which works for a subscriber only
    rig.load("Overlay", "-r", "image_raw:=/image", when_full="wait")
    clouds = outside.listen("/ai/keypoints", "sensor_msgs/PointCloud2")
    rig.wait_for_subscribers(pipeline.decode, "/ai/keypoints", 2)  # the overlay, and from outside
    pipeline.image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    stamp = pipeline.send()
    found = people.wait()[0]
    assert (found.stamp_ns, found.frame_id, found.model) == (stamp, "cam", "pose")
    np.testing.assert_allclose(found.points[0], source_points(), atol=0.01)
    assert scores.wait()[0] == pytest.approx(SCORE)
    overlay = drawn.wait()[0]
    assert overlay.stamp_ns == stamp
    assert (overlay.data != 90).any()
    cloud = clouds.wait()[0]
    assert (cloud["height"], cloud["width"], cloud["header"]["frame_id"]) == (1, KEYPOINTS, "cam")


def test_keypoints_survive_their_message(rig: Rig) -> None:
    kind = RESULT_KINDS.get("keypoints")
    adapter = result_adapter(kind)
    for people in range(3):
        sent = kind.result_type(
            points=np.tile(source_points(), (people, 1, 1)),
            point_scores=np.full((people, KEYPOINTS), 0.5, np.float32),
            scores=np.linspace(0.9, 0.5, people, dtype=np.float32),
            source_width=None,
            source_height=None,
            stamp_ns=5,
            frame_id="cam",
        )
        back = adapter.from_bytes(adapter.to_bytes(sent))
        for name in ("points", "point_scores", "scores"):
            np.testing.assert_array_equal(getattr(back, name), getattr(sent, name))
        assert (back.stamp_ns, back.frame_id, back.source_width) == (5, "cam", None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"height": 2}, "expected 17 points a row"),
        ({"width": 16}, "expected 17 points a row"),
        ({"is_bigendian": True}, "expected 17 points a row"),
        ({"fields": []}, "expected 17 points a row"),
        ({"x": np.nan}, "expected points within"),
        ({"x": 1e9}, "expected points within"),
        ({"score": np.nan}, "expected scores from 0 to 1"),
        ({"score": 1.5}, "expected scores from 0 to 1"),
    ],
)
def test_a_message_that_contradicts_itself(change: dict[str, Any], reason: str) -> None:
    kind = RESULT_KINDS.get("keypoints")
    adapter = result_adapter(kind)
    person = kind.result_type(
        source_points()[None] * 1.0,
        np.full((1, KEYPOINTS), change.get("score", 0.5), np.float32),
        np.ones(1, np.float32),
        None,
        None,
    )
    person.points[0, 3, 0] = change.get("x", 1.0)
    message = adapter.to_message(person)
    for name in change.keys() - {"x", "score"}:
        setattr(message, name, change[name])
    with pytest.raises(InputError, match=reason):
        adapter.from_bytes(serialize_message(message))


@pytest.mark.usefixtures("alone")
def test_the_command_line_shows_and_draws_them(folder: Path, tmp_path: Path) -> None:
    images, overlays = tmp_path / "images", tmp_path / "overlays"
    images.mkdir()
    assert cv2.imwrite(str(images / "a.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    arguments = ("--source", str(images), "--model", str(folder))
    done = run(*arguments, "--json", "--save-overlay", str(overlays))
    assert done.returncode == 0, done.stderr
    ((frame,), summary) = frames_and_summary(done.stdout)
    (person,) = frame["results"]
    assert (person["label"], person["score"]) == ("person", pytest.approx(SCORE))
    places = [(point["x"], point["y"]) for point in person["keypoints"]]
    assert np.allclose(places, source_points(), atol=0.1)
    assert (summary["task"], summary["overlays"]["written"]) == ("keypoints", 1)
    (file,) = overlays.iterdir()
    assert (np.abs(cv2.imread(str(file)).astype(int) - 90) > 60).any()
    text = run(*arguments)
    assert "person 0.75, 17 of 17 keypoints" in text.stdout
    assert json.dumps(summary)
