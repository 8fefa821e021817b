"""Finds models by name on a search path."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.settings import shorten, suggestion
from edge_inference.errors import ModelError

SEARCH_PATH_VARIABLE = "EDGE_INFERENCE_MODELS"

_MAX_FOLDERS = 64
_SHARED_MODELS = Path("share", "edge_inference", "models")


def find_model(name_or_path: str, search_path: Sequence[Path] | None = None) -> ModelDescription:
    """Load a model by the name of its folder, or by the path to it.

    A text with a slash, or with a dot or tilde at the start, is a path. A name is searched in
    the folders of ``search_path`` (by default ``default_search_path()``), in order. Raises
    ModelError with the available models.
    """
    if {"/", os.sep} & {*name_or_path} or name_or_path.startswith((".", "~")):
        folder = _expand_user(name_or_path)
        _refuse_file(folder)
        return load_model(folder)
    parents = default_search_path() if search_path is None else tuple(search_path)
    folders = available_models(parents)
    if name_or_path in folders:
        return load_model(folders[name_or_path])
    _refuse_file(Path(name_or_path))
    listing = "; ".join(
        f"{parent}: {', '.join(_model_names(parent)) or 'none'}" for parent in parents
    )
    hint = suggestion(name_or_path, folders) if folders else ""
    remedy = f"add folders with {SEARCH_PATH_VARIABLE}, or give a path"
    here = Path(name_or_path)
    if os.path.isfile(here / DESCRIPTION_FILE):  # noqa: PTH113 - any text
        remedy = f"the folder of that name here is {as_argument(here)}: give this path"
    raise ModelError(
        f"unknown model {shorten(name_or_path)}{hint}; searched in "
        f"{listing or 'no folder'}; {remedy}"
    )


def command_argument(model: ModelDescription) -> str:
    """Return the text that names a model on a command line: its name, or the path where it has to.

    The name finds only a model of the default search path that no earlier folder hides.
    """
    candidates = (parent / model.name for parent in default_search_path())
    try:
        found = next((each for each in candidates if (each / DESCRIPTION_FILE).is_file()), None)
        if found is not None and found.samefile(model.folder):
            return model.name
    except OSError:  # a folder that cannot be read finds no model
        pass
    return as_argument(model.folder)


def _refuse_file(path: Path) -> None:
    """Raise ModelError if a path is that of a file, such as an ONNX file, not of a folder."""
    if not os.path.isfile(path):  # noqa: PTH113 - any text
        return
    if (path.parent / DESCRIPTION_FILE).is_file():
        advice = f"give its folder, {as_argument(path.parent)}"
    else:
        advice = f"write one for it with: edge-inference models new {shlex.quote(str(path))}"
    raise ModelError(f"{shorten(str(path))}: expected a model folder, got a file; {advice}")


def as_argument(folder: Path) -> str:
    """Return the text, for a shell, that names a model by its folder, not on the search path."""
    text = str(folder)
    is_path = text.startswith((".", "/")) or ("/" in text and not text.startswith("~"))
    return shlex.quote(text if is_path else f".{os.sep}{text}")


def available_models(search_path: Sequence[Path]) -> dict[str, Path]:
    """Return the folder of every model on a search path by name; earlier folders win."""
    folders: dict[str, Path] = {}
    for parent in search_path:
        for name in _model_names(parent):
            folders.setdefault(name, parent / name)
    return folders


def default_search_path(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the parent folders of models, most specific first.

    The folders of ``$EDGE_INFERENCE_MODELS`` come first (they need not exist), then those of the
    source tree, of every colcon prefix, and of the virtual environment.
    """
    environ = os.environ if environ is None else environ
    named = parse_search_path(environ.get(SEARCH_PATH_VARIABLE, ""))
    tree = Path(__file__).parents[3]
    shipped = [tree / "models"] if (tree / "package.xml").is_file() else []
    prefixes = environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shipped += [Path(text) / _SHARED_MODELS for text in prefixes if text]
    shipped.append(Path(sys.prefix) / _SHARED_MODELS)
    folders = named + [folder for folder in shipped if folder.is_dir()]
    return tuple(dict.fromkeys(folders))


def parse_search_path(text: str) -> list[Path]:
    """Return the folders of a colon-separated list.

    Raises ModelError for an unknown ~user, and for more than 64 folders.
    """
    entries = [entry for entry in text.split(os.pathsep) if entry]
    if len(entries) > _MAX_FOLDERS:
        raise ModelError(
            f"model path: expected at most {_MAX_FOLDERS} folders, got {len(entries)}: "
            f"{shorten(text)}; put the models into fewer folders"
        )
    return [_expand_user(entry) for entry in entries]


def _model_names(parent: Path) -> list[str]:
    try:
        return sorted(entry.parent.name for entry in parent.glob(f"*/{DESCRIPTION_FILE}"))
    except OSError as error:
        raise ModelError(f"{parent}: cannot be listed: {error.strerror}") from error


def _expand_user(text: str) -> Path:
    if "\0" in text:
        raise ModelError(f"{shorten(text)}: not a valid path; remove the NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{text}: no such user on this machine; write the path without ~"
        ) from error
