"""A recipe that must meet a target, and recipes that are killed in every step.

The target is judged on images that no decision was made on. The recipe that is killed is the real
command; each of its processes gets SIGKILL in a part of the work that no process before got it in.
The command that ends at last must have written the same files as one that nothing disturbed.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from edge_inference.optimize.recipe.recipe_file import load_recipe
from edge_inference.optimize.recipe.recipe_run import run_recipe
from edge_inference.optimize.training.torch_model import import_torch

_SIZE = 56
_RECIPE = f"""\
model: {{function: benchmarks.optimize_recipe:make_network}}
data: {{source: digits, limit: 1500}}
input: {{width: {_SIZE}, height: {_SIZE}, color: GRAY, std: [255]}}
training: {{epochs: 4, learning_rate: 0.003, batch: 32}}
target: {{speedup: 2.5, max_accuracy_loss: 0.02}}
"""
_QUICK_STEPS = "steps: [train, quantize, {prune: {ratio: 0.5, training: {epochs: 3}}}]\n"
#: The last step gives the fastest network by far, so that noise decides nothing.
_KILLED = f"""\
model: {{function: benchmarks.optimize_recipe:make_network}}
data: {{source: digits, limit: 600}}
input: {{width: {_SIZE}, height: {_SIZE}, color: GRAY, std: [255]}}
training: {{epochs: 2, learning_rate: 0.003, batch: 32}}
target: {{speedup: 99, max_accuracy_loss: 0.5}}
steps:
- train
- prune: {{ratio: 0.5, training: {{epochs: 2}}}}
- distill: {{training: {{epochs: 2}}}}
- quantize_aware: {{training: {{epochs: 2}}}}
"""
_COMMAND = (
    sys.executable,
    "-c",
    "import sys; from edge_inference.cli.main import console; sys.exit(console())",
)
_NOT_MET = 3
_MAX_RUNS, _QUICK_RUNS = 40, 4
_TIMEOUT_S = 600


def make_network(width: int = 32) -> Any:
    """Return a CNN for the digits."""
    nn = import_torch().nn
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AvgPool2d(_SIZE // 8),
        nn.Flatten(),
        nn.Linear(2 * width * 4, 10),
    )


def measure(report: Report) -> None:
    """Run the recipes, and add the figures and claims."""
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        _meet_target(report, Path(folder))
        _kill_and_go_on(report, Path(folder))


def _meet_target(report: Report, folder: Path) -> None:
    file = folder / "target.yaml"
    file.write_text(_RECIPE + (_QUICK_STEPS if report.quick else ""), encoding="utf-8")
    seconds: list[float] = []
    result = run_recipe(
        load_recipe(file),
        folder / "work",
        folder / "target",
        started=lambda plan: seconds.append(plan.seconds),
    )
    report.figure("recipe: estimated cost, all steps", seconds[0], "s")
    for number, decision in enumerate(result.decisions, 1):
        report.figure(f"recipe: decision {number}", decision.describe())
    tested, reference = result.tested, result.reference_accuracy
    report.figure("recipe: accuracy on the test part", tested.accuracy.share)
    report.figure("recipe: accuracy of fp32 on the test part", reference.share)
    report.figure("recipe: speed-up on the test part", tested.speedup)
    report.claim("recipe-meets-its-target", float(result.is_met), at_least=1)


def _kill_and_go_on(report: Report, folder: Path) -> None:
    file = folder / "killed.yaml"
    file.write_text(_KILLED, encoding="utf-8")
    undisturbed = _run(file, folder / "work 1", folder / "undisturbed", None)
    killed_in: set[str] = set()
    found = None
    for _ in range(_QUICK_RUNS if report.quick else _MAX_RUNS):
        found = _run(file, folder / "work 2", folder / "killed", killed_in)
        if found is not None:
            break
    if found is None:
        found = _run(file, folder / "work 2", folder / "killed", None)
    steps = {part.partition(": ")[0] for part in killed_in}
    report.figure("recipe: runs that were killed", len(killed_in))
    report.figure("recipe: parts in which they were", "; ".join(sorted(killed_in)))
    report.claim("recipe-steps-killed", len(steps), at_least=2 if report.quick else 4)
    report.claim("recipe-same-result-after-kills", float(found == undisturbed), at_least=1)


def _run(file: Path, work: Path, output: Path, killed_in: set[str] | None) -> str | None:
    """Run the command; return the digest of its folder, or None where it was killed.

    It is killed in the first part that is not in ``killed_in``, which is added; None kills it
    nowhere.
    """
    arguments = ("optimize", "run", str(file), "--work", str(work), "--output", str(output))
    process = subprocess.Popen(
        [*_COMMAND, *arguments, "--json", "--timeout-s", str(_TIMEOUT_S)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    summary = None
    # Read to the end: only then the child of the command has ended, too, and its lock is free.
    for line in process.stdout:
        message = json.loads(line)
        summary = message.get("summary", summary)
        part = _part(message)
        if killed_in is not None and part is not None and part not in killed_in:
            killed_in.add(part)
            process.send_signal(signal.SIGKILL)
            killed_in = None
    code = process.wait()
    if code == -signal.SIGKILL:
        return None
    if code not in (0, _NOT_MET) or summary is None:
        raise RuntimeError(f"the command ended with {code}")
    return str(summary["sha256"])


def _part(message: dict[str, Any]) -> str | None:
    """Return the step and what it does, None for another message."""
    phase = message.get("progress", {}).get("phase")
    if phase is None:
        return None
    text = phase.partition(", about ")[0].partition(", ")[2]
    return re.sub(r"( \d+%|, epoch \d+ of \d+)", "", text)
