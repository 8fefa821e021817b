"""A recipe that is killed goes on where it was, and ends with the same model folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import recipe_kit
from edge_inference.optimize.recipe.step_store import folder_digest

_RECIPE = (
    "target: {speedup: 1000, max_accuracy_loss: 0.2}",
    "steps: [train, quantize, {prune: {ratio: 0.5, training: {epochs: 1}}}, "
    "{quantize_aware: {training: {epochs: 1}}}, {distill: {training: {epochs: 1}}}]",
)
_SCRIPT = """\
import sys
from pathlib import Path
import recipe_kit
recipe_kit.run_through_kills(*map(Path, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the folder that a run gives that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = recipe_kit.write_recipe(folder, *_RECIPE)
    report = recipe_kit.run(file, folder / "work")
    assert {each.outcome for each in report.decisions} <= {
        "kept",
        "not faster",
        "stopped",
        "chosen",
    }
    return report.sha256


def test_the_result_is_the_same_after_kills_in_all_parts(tmp_path: Path, undisturbed: str) -> None:
    file = recipe_kit.write_recipe(tmp_path, *_RECIPE)
    work, output = tmp_path / "work", tmp_path / "out"
    arguments = [sys.executable, "-c", _SCRIPT, *map(str, (file, work, output))]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    killed_in = "".join(done.stdout.splitlines())
    for part in ("train", "network in fp32", "quantize", "prune 0.5", "quantize_aware", "distill"):
        assert f", {part}: " in killed_in
    assert len(done.stdout.splitlines()) > 10
    assert folder_digest(output) == undisturbed
    assert not list(tmp_path.glob(".out.*"))
    # What the killed processes left is gone.
    assert not list((work / ".making").iterdir())
    assert not list((work / "runs").glob("*/unpacked"))
