"""A platform manager with sensors of a user's package and of the user's board file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.runtime.health import HealthLevel
from manager_rig import RECORDINGS, TOPIC
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

SHIPPED = Path(__file__).parents[2] / "config" / "platforms"
PACK_SENSOR = (
    "{name: pack/temperature, file: sys/bms/temperature, quantity: temperature, role: control, "
    "limit: 46}"
)


def write_recording(folder: Path, texts: dict[str, str]) -> str:
    """Write a recording of an Orin NX with further files."""
    head, first, *others = (RECORDINGS / "orin_nx.jsonl").read_text().splitlines()
    sample = json.loads(first)
    sample["files"] |= {path: {"text": text} for path, text in texts.items()}
    file = folder / "r.jsonl"
    file.write_text("\n".join([head, json.dumps(sample), *others]) + "\n")
    return str(file)


@pytest.mark.usefixtures("extension_package")
def test_a_lost_sensor_of_a_package_is_a_warning(
    rig: Rig, outside: Outside, tmp_path: Path
) -> None:
    """The battery pack of the recording is never written, so its temperature is unknown."""
    pack = {f"run/bms/front/{name}": "3000" for name in ("temperature", "voltage")}
    recording = write_recording(tmp_path, pack)
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    directives = rig.tap(TOPIC)
    node = rig.load("PlatformManager", recording=recording, rate_hz=10.0)
    problem = "control temperature bms/front/temperature has no value"
    assert problem in states.wait(3)[-1]["problem"]
    wait_for(lambda: problem in node.health.status(0).message, "the warning")
    assert node.health.status(0).level is HealthLevel.WARN
    # The processor is protected as before.
    assert directives.wait(1)[-1].level is DirectiveLevel.FULL


def test_the_limit_of_a_board_file_reduces_nodes(rig: Rig, tmp_path: Path) -> None:
    """The pack has 45 °C and a limit of 46 °C, while the processor may have 80 °C."""
    recording = write_recording(tmp_path, {"sys/bms/temperature": "45.0"})
    text = (SHIPPED / "jetson_orin.yaml").read_text()
    (tmp_path / "jetson_orin.yaml").write_text(f"{text}sensors:\n  - {PACK_SENSOR}\n")
    directives = rig.tap(TOPIC)
    Pipeline(rig, model="efficientnet_lite0")
    options = {"recording": recording, "platform_path": str(tmp_path)}
    rig.load("PlatformManager", rate_hz=10.0, **options)
    wait_for(lambda: directives and "pack/temperature at" in directives[-1].reason, "a reduction")
    assert directives[-1].level is not DirectiveLevel.FULL
