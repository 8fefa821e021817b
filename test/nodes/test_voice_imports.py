"""The voice pipeline does not import image libraries."""

from __future__ import annotations

import subprocess
import sys

from edge_inference.composition.pipeline import load_pipeline

_PROBE = """
import sys
from edge_inference.composition.container import find_plugin

for plugin in sys.argv[1:]:
    find_plugin(plugin)
print("cv2" in sys.modules)
"""


def test_the_voice_pipeline_does_not_import_opencv() -> None:
    plugins = [component.plugin for component in load_pipeline("voice").components()]
    assert len(plugins) > 5
    command = [sys.executable, "-c", _PROBE, *plugins]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
