"""Invalid directives and parameters: they are refused, or the safe level applies."""

from __future__ import annotations

import pytest

from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

TOPIC = "/ai/performance_directive"


def test_an_invalid_directive_leads_to_the_safe_level(rig: Rig, outside: Outside) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 3.0}
    node = Pipeline(rig, model="efficientnet_lite0", inference=settings).inference
    publish = outside.speak(TOPIC, "edge_inference/PerformanceDirective")
    rig.wait_for_publishers(node, TOPIC)
    publish(id=1, manager="odd", throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads and workloads[-1].directive_id == 1)
    publish(id=2, manager="odd", level=9, throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads[-1].limits_source == "safe_level", "the safe level")
    assert (workloads[-1].limits.max_rate_hz, workloads[-1].directive_id) == (3.0, 0)
    assert "expected a level of [0, 1, 2, 3], got 9" in workloads[-1].problem
    assert [reason for reason, _ in node.health.take_errors()] == ["directive"]
    publish(id=3, manager="odd", throttle_factor=0.5, max_rate_hz=50.0)
    wait_for(lambda: workloads[-1].directive_id == 3, "a valid directive")


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (["fp7"], "expected <precision> or <model>:<precision>"),
        (["nothing_there:int8"], "nothing_there"),
    ],
)
def test_an_invalid_variant_is_refused(
    rig: Rig, outside: Outside, variants: list[str], message: str
) -> None:
    Pipeline(rig, model="nanodet")
    result = outside.set_parameters(node="/ai/inference", values={"variants": variants})[-1]
    assert result[0] is False
    assert message in result[1]
