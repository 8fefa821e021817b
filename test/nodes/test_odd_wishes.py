"""What nobody can ask of a node: it is refused, or the node does less."""

from __future__ import annotations

import pytest

from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

TOPIC = "/ai/performance_directive"


def test_a_directive_that_cannot_be_meant_is_the_safe_level(rig: Rig, outside: Outside) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 3.0}
    node = Pipeline(rig, model="efficientnet_lite0", inference=settings).inference
    speak = outside.speak(TOPIC, "edge_inference/PerformanceDirective")
    rig.hears(node, TOPIC)
    speak(id=1, manager="odd", throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads and workloads[-1].directive_id == 1)
    speak(id=2, manager="odd", level=9, throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads[-1].obeys == "safe_level", "the safe level")
    assert (workloads[-1].limits.max_rate_hz, workloads[-1].directive_id) == (3.0, 0)
    assert "expected a level of [0, 1, 2, 3], got 9" in workloads[-1].problem
    assert [reason for reason, _ in node.health.take_errors()] == ["directive"]
    speak(id=3, manager="odd", throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads[-1].directive_id == 3, "a directive that is understood")


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        (["fp7"], "expected <precision> or <model>:<precision>"),
        (["nothing_there:int8"], "nothing_there"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(
    rig: Rig, outside: Outside, variants: list[str], words: str
) -> None:
    Pipeline(rig, model="nanodet")
    told = outside.set_parameters(node="/ai/inference", values={"variants": variants})[-1]
    assert told[0] is False
    assert words in told[1]
