"""A value of an unknown kind is an error: it is never drawn or counted as another kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_inference.backends.trt.vendor import ErrorLog, make_logger
from edge_inference.cli.perception.frame_format import record_to_json
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.run_output import RunPlainLines
from edge_inference.cli.perception.run_summary import ResultCounts
from edge_inference.cli.platform.sensor_format import make_rows
from edge_inference.core.decoders import DecodeContext, find
from edge_inference.core.decoders.activations import activate
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.models.agreement import compare_results
from edge_inference.core.models.golden_check import GoldenReport
from edge_inference.core.reading import Quantity, Reading
from edge_inference.core.results import Detections
from edge_inference.core.results.overlay import draw
from edge_inference.core.settings import build
from edge_inference.engines.build.network import require_precision
from edge_inference.engines.serving import engine_check
from edge_inference.errors import BackendError, ConfigError, InputError, ModelError
from governor_cases import state


class Keypoints:
    """A kind of result that does not exist yet, with the attributes of existing kinds."""

    depth = np.zeros((8, 8), np.float32)
    unit = model = "m"
    scores = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "use",
    [
        lambda result: draw(np.zeros((8, 8, 3), np.uint8), result),
        lambda result: record_to_json(FrameRecord(1, "", 0, result, {}, None)),
        lambda result: RunPlainLines(StringIO()).frame(FrameRecord(1, "", 0, result, {}, None)),
        ResultCounts().add,
        lambda result: compare_results(result, result),
    ],
    ids=["draw", "json", "text", "summary", "agreement"],
)
def test_an_unknown_result(use: Any) -> None:
    with pytest.raises(
        InputError, match="Keypoints is of no known kind; expected one of Detections"
    ):
        use(Keypoints())


def test_a_subclass_of_a_known_result_is_another_kind() -> None:
    """Its decoder may mean something else by the same fields."""

    @dataclass(frozen=True, eq=False)
    class RotatedBoxes(Detections):
        angles: Any = None

    empty = np.zeros(0, np.float32)
    found = RotatedBoxes(empty.reshape(0, 4), empty, empty.astype(np.int32), (), 8, 8)
    with pytest.raises(InputError, match="RotatedBoxes is of no known kind"):
        draw(np.zeros((8, 8, 3), np.uint8), found)


def test_an_unknown_activation() -> None:
    logits = np.zeros(3, np.float32)
    assert activate("none", logits) is logits
    with pytest.raises(ConfigError, match="expected softmax, sigmoid or none, got 'tanh'"):
        activate("tanh", logits)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_of_an_unknown_activation(channels: int) -> None:
    entry = find("segmentation")
    settings = replace(build(entry.settings_class, {}), activation="tanh")
    context = DecodeContext((), Geometry(4, 4, 1.0, 1.0), 4, 4, "made-up")
    with pytest.raises(ConfigError, match="got 'tanh'"):
        entry.function({"out": np.zeros((1, channels, 4, 4), np.float32)}, context, settings)


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_has_a_text(quantity: Quantity) -> None:
    (row,) = make_rows(state(Reading("a/b", quantity, 2.0, "test", 0)))
    assert row.values


@pytest.mark.parametrize("policy", ["refuse", "Warn", ""])
def test_an_unknown_policy_refuses(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = GoldenReport(1, ("no cat",), None, None)
    monkeypatch.setattr(engine_check, "run_golden_check", lambda model, infer: failed)
    model = SimpleNamespace(name="net", variants={}, input=SimpleNamespace(batch=1))
    request = SimpleNamespace(model=model, threads=1)
    selection: Any = SimpleNamespace(name="ort", precision="fp32", int8_mode="", request=request)
    backend: Any = SimpleNamespace(infer=None, describe=lambda: "a backend", precision_in_use="x")
    with pytest.raises(ModelError, match="no cat"):
        engine_check.check_engine(selection, backend, golden=policy, agreement="off")
    checked = engine_check.check_engine(selection, backend, golden="warn", agreement="off")
    assert "no cat" in checked.warnings[0]


def test_an_unknown_precision_is_refused() -> None:
    network = SimpleNamespace(num_layers=0)
    require_precision(Path("net.onnx"), network, "fp32")
    with pytest.raises(BackendError, match="expected a precision of fp32, fp16 or int8, got 'fp7'"):
        require_precision(Path("net.onnx"), network, "fp7")


def test_a_message_of_an_unknown_level_is_an_error() -> None:
    names = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
    base = type("ILogger", (), {name: number for number, name in enumerate(names)})
    errors = ErrorLog()
    logger = make_logger(SimpleNamespace(ILogger=base), errors)
    with errors.collect() as found:
        for number in range(len(names) + 1):
            logger.log(number, f"level {number}")
    assert found == ["level 0", "level 1", "level 5"]
