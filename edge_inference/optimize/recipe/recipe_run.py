"""Runs a recipe: prune, quantize, distill, export, build, validate, and hand over a model folder.

From a script::

    from pathlib import Path

    from edge_inference.optimize.recipe.recipe_file import load_recipe
    from edge_inference.optimize.recipe.recipe_run import run_recipe

    report = run_recipe(load_recipe(Path("recipe.yaml")))
    print(report.summary())
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import read_json
from edge_inference.core.disk import describe_write_error
from edge_inference.engines.cache import cache_lock
from edge_inference.engines.cache.artifacts import (
    Cancelled,
    Progress,
    default_cache,
    engine_plan,
)
from edge_inference.engines.cache.cache_folder import CACHE_VARIABLE, default_cache_folder
from edge_inference.errors import BackendError, CacheError, ConfigError
from edge_inference.optimize.onnx_timing import measure_files
from edge_inference.optimize.quantized_folder import StagedFolder
from edge_inference.optimize.recipe.measured_point import Deployment, MeasuredPoint, MeasureFiles
from edge_inference.optimize.recipe.plan_walk import PlanWalk
from edge_inference.optimize.recipe.recipe_cost import (
    PlannedCost,
    RecipeProgress,
    measure_cost_basis,
    plan_costs,
)
from edge_inference.optimize.recipe.recipe_file import Recipe
from edge_inference.optimize.recipe.recipe_inputs import RecipeInputs, open_inputs
from edge_inference.optimize.recipe.recipe_log import CHOSEN, RecipeDecision, RecipeLog
from edge_inference.optimize.recipe.recipe_report import RecipePlan, RecipeReport
from edge_inference.optimize.recipe.step_maker import TEST, StepMaker
from edge_inference.optimize.recipe.step_store import StepStore, folder_digest

#: Folder of the steps, inside the cache folder.
WORK_FOLDER = "recipes"
_RUNS = "runs"
_OUTPUT_FILE = "output.json"
_MAX_NAME = 40


def default_work_folder() -> Path:
    """Return the folder where recipes keep their finished steps. Raises CacheError."""
    return default_cache_folder() / WORK_FOLDER


def clean_work_folder(work: Path) -> int:
    """Remove the finished steps in a work folder; return how many. Raises CacheError."""
    return len(StepStore(work, work / _RUNS).cache.clean(0))


def plan_recipe(
    recipe: Recipe,
    work: Path | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> RecipePlan:
    """Return the steps with their estimated cost, measured on a training step and an inference.

    Raises what :func:`run_recipe` raises before its first step.
    """
    with _open_run(recipe, work or default_work_folder()) as run:
        progress("measuring what the steps cost", None)
        inputs = open_inputs(recipe, run.store, cancelled)
        return RecipePlan(recipe, _find_costs(recipe, inputs, cancelled), run.folder)


def run_recipe(
    recipe: Recipe,
    work: Path | None = None,
    output: Path | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    measure: MeasureFiles = measure_files,
    started: Callable[[RecipePlan], None] = lambda plan: None,
    before_staging: Callable[[Path], None] = lambda folder: None,
) -> RecipeReport:
    """Run a recipe and write the best model that it found as a model folder.

    ``work`` keeps each finished step with what was measured of it, found by its content: a run
    that was killed goes on from there and ends with the same folder. ``output`` replaces that of
    the recipe. ``started`` gets the plan with its cost before the first step, ``measure`` times
    ONNX files, ``before_staging`` is that of StagedFolder.

    Raises ConfigError for an output that exists and is not this recipe's, or a device that is not
    there; CacheError where another process runs the recipe or the work folder cannot be written;
    SourceError and ModelError for unusable data and models; CancelledError soon after
    ``cancelled`` returns True.
    """
    destination = output or recipe.output
    if destination is None:
        raise ConfigError(
            f"{recipe.file}: output: missing; expected the name of the new model folder, here or "
            "with --output"
        )
    with _open_run(recipe, work or default_work_folder()) as run:
        run.check_output(destination)
        inputs = open_inputs(recipe, run.store, cancelled)
        costs = _find_costs(recipe, inputs, cancelled)
        started(RecipePlan(recipe, costs, run.folder))
        title = f"Decisions of {recipe.file.name}: {recipe.target.describe()}"
        with RecipeLog(run.folder, title) as log:
            tracker = RecipeProgress(costs, progress)
            maker = StepMaker(inputs, recipe.target, run.store, cancelled, measure)
            chosen = PlanWalk(recipe, maker, log, tracker).run()
            tell = tracker.begin(len(costs) - 1)
            tested, reference = (
                maker.measure(each, TEST, tell)
                for each in (chosen.deployment, Deployment(maker.reference.model, "fp32"))
            )
            engine = _build_engine(chosen.deployment, tell, cancelled)
            misses = _misses(recipe, tested, reference)
            log.add(
                RecipeDecision(
                    0, "result", CHOSEN, f"test part: {tested.describe()}", tested.figures()
                )
            )
            sha256 = run.write_output(chosen, destination, before_staging)
            return RecipeReport(
                recipe,
                tuple(log.decisions),
                chosen,
                tested,
                reference.accuracy,
                misses,
                engine,
                destination,
                sha256,
                run.folder,
            )


@dataclass(frozen=True)
class _Run:
    """The folder of one recipe's runs, inside the work folder, and the steps of all recipes."""

    folder: Path
    store: StepStore

    def check_output(self, destination: Path) -> None:
        """Raise ConfigError for an output that exists, unless an earlier run has written it."""
        if not (destination.exists() or destination.is_symlink()):
            return
        if destination.is_dir() and self._recorded() == (
            str(destination.absolute()),
            folder_digest(destination),
        ):
            return
        raise ConfigError(
            f"output {destination}: it exists already, and is not the unchanged result of this "
            "recipe; name a new folder"
        )

    def write_output(
        self, chosen: MeasuredPoint, destination: Path, before_staging: Callable[[Path], None]
    ) -> str:
        """Write the model folder in one step; return its digest.

        What is written is recorded before: a run that is killed in between knows it again.
        """
        source = chosen.deployment.model.folder
        sha256 = folder_digest(source)
        if destination.exists():
            if folder_digest(destination) == sha256:
                return sha256
            raise ConfigError(
                f"output {destination}: it has the result of an earlier run, and this one found "
                "another; remove it, or name a new folder"
            )
        self._record(destination, sha256)
        with StagedFolder(source, destination, before_staging) as staged:
            staged.keep()
        return sha256

    def _recorded(self) -> tuple[str, str] | None:
        try:
            found = read_json(self.folder / _OUTPUT_FILE)
        except (OSError, ValueError):
            return None
        match found:
            case {"folder": str(folder), "sha256": str(sha256)}:
                return folder, sha256
        return None

    def _record(self, destination: Path, sha256: str) -> None:
        file = self.folder / _OUTPUT_FILE
        content = {"folder": str(destination.absolute()), "sha256": sha256}
        try:
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
            partial.replace(file)
        except OSError as error:
            raise _work_error(self.folder, error) from error


@contextmanager
def _open_run(recipe: Recipe, work: Path) -> Iterator[_Run]:
    """Lock the run of a recipe in a work folder. Raises CacheError if another process has it."""
    name = f"{recipe.file.stem[:_MAX_NAME]}-{recipe.digest()[:16]}"
    folder = work / _RUNS / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _work_error(folder, error) from error
    with cache_lock.try_exclusive_lock(work / _RUNS / f"{name}.lock") as is_locked:
        if not is_locked:
            raise CacheError(
                f"{folder}: another process runs this recipe; wait for its end, or name another "
                "folder with --work"
            )
        try:
            with StepStore(work, folder / "unpacked") as store:
                yield _Run(folder, store)
        except CacheError as error:  # which names the cache folder; here that is the work folder
            text = str(error).replace(f"${CACHE_VARIABLE}", "--work")
            raise CacheError(text) from error


def _work_error(folder: Path, error: OSError) -> CacheError:
    return CacheError(
        f"{folder}: cannot be written ({describe_write_error(error)}); name another folder with "
        "--work"
    )


def _find_costs(
    recipe: Recipe, inputs: RecipeInputs, cancelled: Cancelled
) -> tuple[PlannedCost, ...]:
    """Return the cost of each step in order, with the fp32 network's and the final measurement."""
    network = inputs.network
    basis = measure_cost_basis(
        network.module, network.model, inputs.split, recipe.training, cancelled
    )
    steps = plan_costs(recipe.plan, basis, recipe.target)
    around_s = basis.inference_s * (basis.validation_images + 2 * recipe.target.runs)
    first = recipe.first_trainings
    return (
        *steps[:first],
        PlannedCost("network in fp32", around_s),
        *steps[first:],
        PlannedCost("validate", 2 * around_s),
    )


def _build_engine(deployment: Deployment, progress: Progress, cancelled: Cancelled) -> str:
    """Build the TensorRT engine where TensorRT and a GPU are here; return a sentence about it."""
    try:
        plan = engine_plan(deployment.model, deployment.precision)
    except BackendError as error:
        return f"No TensorRT here: ONNX Runtime serves it ({error})."
    plan.make(default_cache(), progress, cancelled)
    return f"A TensorRT engine in {deployment.precision} is in the cache."


def _misses(recipe: Recipe, tested: MeasuredPoint, reference: MeasuredPoint) -> tuple[str, ...]:
    """Return what of the target is not met on the test part."""
    target = recipe.target
    floor = target.floor(reference.accuracy)
    misses = list(tested.problems)
    if tested.accuracy.share < floor:
        misses.append(f"accuracy {tested.accuracy.share:.1%}, at least {floor:.1%} is needed")
    if not target.is_fast_enough(tested.time, tested.reference_time) or not (
        tested.is_confirmed is not False
    ):
        largest_ms = target.largest_s(tested.reference_time) * 1e3
        misses.append(
            f"{tested.time.median_s * 1e3:.3g} ms ({tested.speedup:.2f} times as fast as fp32), "
            f"at most {largest_ms:.3g} ms is needed"
        )
    return tuple(misses)
