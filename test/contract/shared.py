"""Files that are slow to make, made once for all workers and processes of a run."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.onnx_file import write_onnx
from edge_inference.optimize.onnx_lowering.speech_graphs import lower_speech_graph
from edge_inference.speech.recognition.speech_model import SpeechModel

#: The variable with the run's folder, for workers and their processes.
VARIABLE = "EDGE_INFERENCE_TESTS_SHARE"


def share(config: pytest.Config) -> None:
    """Make the folder of this run, and remove it at the end, unless it existed before."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="edge_inference_tests_")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(VARIABLE)))


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return a file of the run's folder. The first caller makes it, others wait."""
    file = Path(os.environ[VARIABLE], name)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            making = file.with_suffix(".making")
            make(making)
            making.rename(file)
    return file


def speech_graph_of(model: SpeechModel, role: str) -> Path:
    """Return one of a recognizer's graphs in standard operators."""
    files = {name: file.path for name, file in model.files.items()}
    return made_once(
        f"{model.name}-{role}.onnx", lambda file: write_onnx(lower_speech_graph(role, files), file)
    )


def derived_model_of(model: ModelDescription, precision: str, target: str) -> Path:
    """Return a shipped model's file in a precision, for an engine."""
    return made_once(
        f"{model.name}-{precision.replace(' ', '-')}-{target}.onnx",
        lambda file: derive_model(model, precision, target, file),
    )


def derive_model(
    model: ModelDescription, precision: str, target: str, file: Path, per_channel: bool = True
) -> None:
    """Derive a shipped model with the settings of its model.yaml; also "7-bit int8"."""
    bits, _, precision = precision.rpartition("-bit ")
    derive(
        model.variants["fp32"].file,
        precision,
        target,
        file,
        keep_fp32=model.derive.keep_fp32(precision),
        calibration=calibration_of(model.calibration),
        per_channel=per_channel,
        weight_bits=int(bits or 8),
    )


@cache
def calibration_of(file: Path) -> Calibration:
    """Read the calibration of a model."""
    return Calibration.load(file)
