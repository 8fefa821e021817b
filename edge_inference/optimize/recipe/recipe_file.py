"""Reads a recipe: the model, its data, the target and the steps, from one YAML file.

The shortest one::

    model: {function: my_nets.py:make_net, weights: net.pt}
    data: {source: images/}
    input: {width: 64, height: 64, mean: [0], std: [255]}
    target: {speedup: 2, max_accuracy_loss: 0.01}
    output: my_model

Paths are relative to the folder of the recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.settings import rules, suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.engines.cache.artifact_cache import key_of
from edge_inference.errors import ConfigError
from edge_inference.optimize.recipe.settings_reader import read_settings
from edge_inference.optimize.recipe.step_kind import PlannedStep
from edge_inference.optimize.recipe.step_table import STEP_KINDS, default_plan, default_settings
from edge_inference.optimize.recipe.target import RecipeTarget
from edge_inference.optimize.training.labeled_dataset import SHARES
from edge_inference.optimize.training.train import TrainingSettings

_KEYS = ("model", "input", "data", "seed", "training", "target", "steps", "output")
_MAX_STEPS = 100
_INPUT_NAME = "image"


@dataclass(frozen=True)
class RecipeModel:
    """The model: a function that returns a torch module, or the folder of a finished model.

    ``function`` is ``package.module:name`` or ``file.py:name``; it gets ``arguments`` by keyword,
    and ``weights`` is a file of a state dict. Of a model ``folder`` only the precision can
    change. Raises ConfigError for both, or none.
    """

    function: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        if (self.function is None) == (self.folder is None):
            raise ConfigError(
                "function: expected either a function that returns a torch module or a model "
                f"folder, got {'both' if self.folder else 'neither'}"
            )
        if self.folder is not None and (self.weights is not None or self.arguments):
            name = "weights" if self.weights is not None else "arguments"
            raise ConfigError(f"{name}: a model folder has its own weights; leave it out")


@dataclass(frozen=True)
class RecipeData:
    """The labeled images, as ``open_dataset`` takes them.

    ``limit`` is the largest number of images, ``split`` the shares for training, for decisions
    and for the final figures. Raises ConfigError.
    """

    source: str
    limit: int | None = None
    split: tuple[float, float, float] = SHARES

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit: expected at least 1, got {self.limit}")
        if min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ConfigError(
                f"split: expected three shares above 0 with the sum 1, got {list(self.split)}"
            )


@dataclass(frozen=True)
class Recipe:
    """What to do. ``plan`` has the steps of the file, or the default ones.

    ``is_default_plan`` tells that the file has no steps.
    """

    file: Path
    model: RecipeModel
    data: RecipeData
    input: InputSpec | None
    target: RecipeTarget
    training: TrainingSettings
    plan: tuple[PlannedStep, ...]
    output: Path | None
    seed: int
    is_default_plan: bool

    @property
    def first_trainings(self) -> int:
        """Return the number of steps that train the network before anything is compared."""
        count = 0
        while count < len(self.plan) and self.plan[count].kind.name == "train":
            count += 1
        return count

    def digest(self) -> str:
        """Return a sha256 over everything in the recipe, wherever its file is."""
        values = dataclasses.asdict(dataclasses.replace(self, file=Path(), plan=()))
        plan = [(step.kind.name, dataclasses.asdict(step.settings)) for step in self.plan]
        return key_of({"recipe": repr(values), "plan": repr(plan)})


def load_recipe(file: Path) -> Recipe:
    """Read a recipe. Raises ConfigError with file, line and key."""
    top = load_yaml(file)
    top.require_known(*_KEYS)
    folder = file.absolute().parent
    seed = _read_seed(top)
    training = TrainingSettings(seed=seed)
    if "training" in top:
        training = read_settings(top.section("training"), TrainingSettings, training)
    model = read_settings(top.section("model"), RecipeModel)
    steps = _read_steps(top, training, model)
    plan = steps or default_plan(
        training, has_network=model.folder is None, is_trained=model.weights is not None
    )
    data = read_settings(top.section("data"), RecipeData)
    target = (
        read_settings(top.section("target"), RecipeTarget) if "target" in top else RecipeTarget()
    )
    return Recipe(
        file=file,
        model=_resolve_model(model, folder),
        data=dataclasses.replace(data, source=_resolve_name(data.source, folder)),
        input=_read_input(top.section("input")) if "input" in top else None,
        target=target,
        training=training,
        plan=tuple(plan),
        output=_read_output(top, folder),
        seed=seed,
        is_default_plan=not steps,
    )


def _read_seed(top: Section) -> int:
    seed = top.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise top.error("seed", f"expected an integer from 0 to {(1 << 32) - 1}, got {seed!r}")
    return seed


def _read_input(section: Section) -> InputSpec:
    """Read the format of the input as in model.yaml; the name of the tensor may be left out."""
    known = rules(InputSpec)
    section.require_known(*known)
    values: dict[str, Any] = {"name": _INPUT_NAME}
    for name, rule in known.items():
        if name in section:
            try:
                values[name] = rule.convert(section[name])
            except ConfigError as error:
                raise section.error(name, str(error).removeprefix(f"{name}: ")) from None
        elif rule.required and name not in values:
            raise section.error(name, rule.missing())
    spec = InputSpec(**values)
    problem = spec.check()
    if problem is not None:
        raise section.error(None, problem)
    return spec


def _read_output(top: Section, folder: Path) -> Path | None:
    if "output" not in top:
        return None
    output = top["output"]
    if type(output) is not str or not output:
        raise top.error("output", f"expected the name of a new folder, got {output!r}")
    return folder / Path(output).expanduser()


def _read_steps(top: Section, training: TrainingSettings, model: RecipeModel) -> list[PlannedStep]:
    if "steps" not in top:
        return []
    entries = top["steps"]
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_STEPS:
        raise top.error("steps", f"expected a list of 1 to {_MAX_STEPS} steps")
    return [_read_step(top, entry, training, model) for entry in entries]


def _read_step(
    top: Section, entry: Any, training: TrainingSettings, model: RecipeModel
) -> PlannedStep:
    """Read ``name`` or ``name: settings``."""
    section = entry if isinstance(entry, Section) else None
    if section is None and not isinstance(entry, str):
        raise top.error("steps", f"expected the name of a step, or name: settings, got {entry!r}")
    if section is not None and len(section) != 1:
        names = ", ".join(section)
        raise section.error(None, f"expected one step, got {names}; begin each step with '- '")
    name = next(iter(section)) if section is not None else entry
    at = (section or top).error
    key = name if section is not None else "steps"
    if name not in STEP_KINDS:
        raise at(key, f"unknown step {name!r}{suggestion(name, STEP_KINDS)}")
    kind = STEP_KINDS[name]
    if kind.needs_network and model.folder is not None:
        raise at(
            key,
            f"{name} needs the network in PyTorch, and a model folder has only its ONNX file; give "
            "model.function, or use the steps "
            + ", ".join(each.name for each in STEP_KINDS.values() if not each.needs_network),
        )
    settings = default_settings(kind, training)
    if section is not None and section[name] is not None:
        inner = section.section(name)
        settings = read_settings(inner, type(settings), settings, leave_out=kind.leave_out)
    return PlannedStep(kind, settings)


def _resolve_model(model: RecipeModel, folder: Path) -> RecipeModel:
    return dataclasses.replace(
        model,
        function=None if model.function is None else _resolve_name(model.function, folder),
        weights=None if model.weights is None else folder / model.weights.expanduser(),
        folder=None if model.folder is None else folder / model.folder.expanduser(),
    )


def _resolve_name(name: str, folder: Path) -> str:
    """Return a name with its path relative to the recipe's folder, where there is such a file."""
    path, separator, rest = name.partition(":")
    is_there = path and (folder / Path(path).expanduser()).exists()
    return f"{folder / Path(path).expanduser()}{separator}{rest}" if is_there else name
