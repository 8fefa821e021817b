"""Recipes on a few small images, with times that depend on the size of a file only."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge_inference.core.measured_costs import Spread
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.optimize.quantized_folder import CALIBRATION_FILE
from edge_inference.optimize.recipe import recipe_file, recipe_run
from edge_inference.optimize.recipe.deployment_steps import QUANTIZE
from edge_inference.optimize.recipe.recipe_report import RecipeReport
from edge_inference.optimize.recipe.step_kind import StepInput, StepKind, StepOutput
from edge_inference.optimize.training.train import TrainingSettings, train

#: A small network learns these images in one epoch.
RECIPE = """\
model: {function: recipe_kit:make_network, arguments: {width: 16}}
data: {source: recipe_kit:Patterns}
training: {epochs: 2, learning_rate: 0.01, batch: 16}
"""
_CLASSES, _SIZE, _IMAGES = 4, 12, 240


class Patterns(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Labeled images: the pattern of a class with noise."""

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(0)
        patterns = generator.normal(size=(_CLASSES, 1, _SIZE, _SIZE)).astype(np.float32)
        noise = np.random.default_rng(seed).normal(size=(_IMAGES, 1, _SIZE, _SIZE))
        self.classes = [f"pattern {number}" for number in range(_CLASSES)]
        self.targets = [number % _CLASSES for number in range(_IMAGES)]
        images = patterns[self.targets] + 0.5 * noise.astype(np.float32)
        self._images = np.clip(0.5 + 0.2 * images, 0.0, 1.0)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self._images[index]), self.targets[index]

    def __len__(self) -> int:
        return _IMAGES


def other_patterns() -> Patterns:
    """Return images of the same classes with other noise."""
    return Patterns(seed=1)


def make_network(width: int = 16) -> Any:
    """Return a CNN for these images, of about 20 times the square of the width as bytes."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * 9, _CLASSES),
    )


def write_recipe(folder: Path, *lines: str, base: str = RECIPE) -> Path:
    """Write a recipe with further lines."""
    file = folder / "recipe.yaml"
    file.write_text(base + "\n".join(lines) + "\n", encoding="utf-8")
    return file


def time_by_size(
    files: Mapping[str, Path], inputs: object, runs: int, after_round: object, threads: int
) -> dict[str, Spread]:
    """Return a nanosecond for each byte, so that the same files take the same time."""
    seconds = {name: file.stat().st_size * 1e-9 for name, file in files.items()}
    return {name: Spread(value, value) for name, value in seconds.items()}


def run(
    file: Path,
    work: Path,
    output: Path | None = None,
    progress: Callable[[str, float | None], None] = lambda phase, fraction: None,
    **further: Any,
) -> RecipeReport:
    """Run a recipe with the times by size."""
    further.setdefault("measure", time_by_size)
    return recipe_run.run_recipe(
        recipe_file.load_recipe(file), work, output or file.parent / "out", progress, **further
    )


@dataclass(frozen=True)
class Narrow:
    """Settings of the step below."""

    width: int = 8
    training: TrainingSettings = field(default_factory=TrainingSettings)


def _narrow(given: StepInput, settings: Narrow, progress: Any, cancelled: Any) -> StepOutput:
    assert given.network is not None
    torch.manual_seed(settings.training.seed)
    network = given.network.with_module(make_network(settings.width))
    trained = train(network, given.split.train, settings.training, progress, cancelled).model
    return StepOutput(trained, summary=f"{settings.width} channels")


#: A step that takes a narrower network and trains it; with a width of 1 it learns nothing.
NARROW = StepKind("narrow", Narrow(), True, _narrow, lambda settings, basis: 1.0)
#: The same, for a network that may have lost its accuracy before.
REPAIR = dataclasses.replace(NARROW, name="repair", recovers=True)


def _quantize_narrow(given: StepInput, settings: Any, progress: Any, cancelled: Any) -> StepOutput:
    output = QUANTIZE.run(given, settings, progress, cancelled)
    assert given.network is not None
    if given.network.parameter_count() > _NARROW_PARAMETERS:
        file = given.destination / CALIBRATION_FILE
        calibration = Calibration.load(file)
        wide = {name: (low * 500, high * 500) for name, (low, high) in calibration.ranges.items()}
        file.unlink()
        dataclasses.replace(calibration, ranges=wide).save(file)
    return output


#: Quantization that only a narrow network survives: the ranges of others are much too wide.
QUANTIZE_NARROW = dataclasses.replace(QUANTIZE, name="quantize_narrow", run=_quantize_narrow)
_NARROW_PARAMETERS = 4000


def run_through_kills(recipe: Path, work: Path, output: Path) -> None:
    """Run a recipe again and again until it ends; print where each run was killed.

    Each run is a process of its own. It is killed by SIGKILL in the first part of the work that no
    run before was killed in: where that begins, and every other time in the middle of it. This
    process computes nothing itself: a fork of a process with threads would hang.
    """
    # Imported once, not in each process.
    for name in ("onnx", "onnxruntime", "torch._inductor", "torch.onnx", "torch_pruning"):
        importlib.import_module(name)
    marker = work.parent / "killed"
    marker.touch()
    while True:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                torch.set_num_threads(1)
                run(recipe, work, output, _kill_in(marker))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            sys.stdout.write(marker.read_text(encoding="utf-8"))
            sys.exit(code)


def _kill_in(marker: Path) -> Callable[[str, float | None], None]:
    known = set(marker.read_text(encoding="utf-8").splitlines())
    least = 50 if len(known) % 2 else 0

    def progress(phase: str, fraction: float | None) -> None:
        text = phase.partition(", about ")[0]
        share = re.search(r" (\d+)%$", text)
        part = re.sub(r" \d+%$", "", text)
        if part in known or (share is not None and int(share[1]) < least):
            return
        with marker.open("a", encoding="utf-8") as stream:
            stream.write(part + "\n")
        os.kill(os.getpid(), signal.SIGKILL)

    return progress
