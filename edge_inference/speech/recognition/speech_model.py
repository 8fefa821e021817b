"""Speech models: a folder with a ``speech.yaml`` that describes and locates the model's files.

A file is in the folder, or, as ``package:<path>``, in an installed Python package. The package is
located without importing it, so weights can come from a package.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model_search import default_search_path
from edge_inference.core.settings import rules, setting, suggestion
from edge_inference.core.weights.external_data import (
    EXTERNAL_DATA,
    read_external_data,
    verify_external_data,
)
from edge_inference.core.yaml_file import Section, load_yaml, path_inside
from edge_inference.errors import ModelError

DESCRIPTION_FILE = "speech.yaml"
#: The required files of each task.
ROLES = {
    "recognition": ("encoder", "decoder", "tokenizer"),
    "activity": ("model",),
    "language_model": ("decoder", "tokenizer"),
    "embedding": ("encoder", "tokenizer"),
}
#: The optional files of each task: the second graph of a split decoder.
OPTIONAL_ROLES = {"recognition": ("decoder_with_past",)}
#: The files that are opened as models, in this order.
_GRAPHS = ("encoder", "decoder", "decoder_with_past", "model")
#: Further sections of a task's description; see language_model/prompt.py.
SECTIONS = {"language_model": ("prompt",)}

_IN_PACKAGE = "package:"


@dataclass(frozen=True)
class SpeechFile:
    """One file of a speech model; it may be missing until ``verify``."""

    path: Path
    sha256: str
    #: How to get a missing file.
    hint: str
    #: Its role in the description, and the files of weights that it references.
    role: str = ""
    external_data: Mapping[str, str] = field(default_factory=dict, hash=False)

    def verify(self) -> None:
        """Raise ModelError if the file is missing or its checksum differs."""
        if not is_regular_file(self.path):
            raise ModelError(f"{self.path}: no such file; {self.hint}")
        try:
            found = sha256_of(self.path)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read: {error.strerror}") from error
        if found != self.sha256:
            raise ModelError(
                f"{self.path}: the file is not the one described: expected sha256 "
                f"{self.sha256}, got {found}; {self.hint}"
            )
        if self.role in _GRAPHS:
            verify_external_data(
                self.path, self.external_data, f"files.{self.role}", DESCRIPTION_FILE
            )


@dataclass(frozen=True)
class SpeechModel:
    """Everything about a speech model except its weights; ``files`` are keyed by role."""

    name: str
    folder: Path
    task: str
    description: str
    license: str
    source: str
    locale: str
    files: Mapping[str, SpeechFile]

    @property
    def graphs(self) -> tuple[str, ...]:
        """The roles of the files that a backend opens: encoder, decoder, decoder_with_past."""
        return tuple(role for role in _GRAPHS if role in self.files)

    def path(self, role: str) -> Path:
        """Return the path of a role's file after verifying the file."""
        self.files[role].verify()
        return self.files[role].path

    def verify_files(self) -> None:
        """Raise ModelError for the first file that is missing or altered."""
        for file in self.files.values():
            file.verify()


@dataclass(frozen=True)
class _Head:
    task: str = setting(description="what the model does", choices=tuple(ROLES))
    license: str = setting(description="license of the weights")
    description: str = setting("", "what the model is")
    source: str = setting("", "where the weights come from")
    locale: str = setting("", "language of the model, such as 'en'; empty for any")
    install: str = setting("", "command that installs the package with the files")


@dataclass(frozen=True)
class _FileSettings:
    file: str = setting(description="file in the folder, or package:<path in a package>")
    sha256: str = setting(description="checksum of that file, 64 hexadecimal digits")

    def check(self) -> str | None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            return f"sha256: expected 64 lower-case hexadecimal digits, got {self.sha256!r}"
        return None


def load_speech_model(folder: Path) -> SpeechModel:
    """Read the description of a speech model; its files are not opened (see ``verify_files``).

    Raises ModelError for a missing folder or package, and ConfigError with file, line and key
    for an error in ``speech.yaml``.
    """
    folder = Path(folder)
    description = folder / DESCRIPTION_FILE
    if not is_regular_file(description):
        raise ModelError(f"{folder}: no speech model; expected a {DESCRIPTION_FILE} in it")
    top = load_yaml(description)
    head = top.read(_Head, "files", *(name for names in SECTIONS.values() for name in names))
    top.require_known(*rules(_Head), "files", *SECTIONS.get(head.task, ()))
    files = top.section("files")
    optional = OPTIONAL_ROLES.get(head.task, ())
    files.require_known(*ROLES[head.task], *optional)
    roles = (*ROLES[head.task], *(role for role in optional if role in files))
    return SpeechModel(
        name=folder.resolve().name,
        folder=folder,
        task=head.task,
        description=head.description,
        license=head.license,
        source=head.source,
        locale=head.locale,
        files={role: _file(files.section(role), folder, head.install) for role in roles},
    )


def find_speech_model(name_or_path: str, search_path: Sequence[Path] | None = None) -> SpeechModel:
    """Load a speech model by the name of its folder, or by a path to it.

    The rules are those of other models (see ``core.models.model_search.find_model``). Raises
    ModelError, which lists the searched folders.
    """
    if "/" in name_or_path or name_or_path.startswith((".", "~")):
        try:
            return load_speech_model(Path(name_or_path).expanduser())
        except RuntimeError as error:
            raise ModelError(f"{name_or_path}: unknown user after ~") from error
    places = default_search_path() if search_path is None else tuple(search_path)
    found = available_speech_models(places)
    if name_or_path in found:
        return load_speech_model(found[name_or_path])
    raise ModelError(
        f"unknown speech model {name_or_path!r}{suggestion(name_or_path, found)}; looked in "
        f"{', '.join(map(str, places)) or 'no folder'}"
    )


def available_speech_models(search_path: Sequence[Path]) -> dict[str, Path]:
    """Return the folder of every speech model on a search path, by name; the first one wins."""
    found: dict[str, Path] = {}
    for place in search_path:
        for file in sorted(place.glob(f"*/{DESCRIPTION_FILE}")):
            found.setdefault(file.parent.name, file.parent)
    return found


def _file(section: Section, folder: Path, install: str) -> SpeechFile:
    values = section.read(_FileSettings, EXTERNAL_DATA)
    role, external = section.path.rpartition(".")[2], read_external_data(section)
    if not values.file.startswith(_IN_PACKAGE):
        hint = f"copy it there, or correct the entry in {DESCRIPTION_FILE}"
        return SpeechFile(path_inside(folder, section, "file"), values.sha256, hint, role, external)
    path = PurePosixPath(values.file.removeprefix(_IN_PACKAGE))
    package = path.parts[0] if path.parts else ""
    if not package.isidentifier() or ".." in path.parts or len(path.parts) < 2:
        raise section.error(
            "file",
            f"expected {_IN_PACKAGE}<package>/<path to a file in it>, got {values.file!r}",
        )
    hint = f"install it: {install}" if install else f"install the package {package}"
    # find_spec imports nothing for a name without a dot.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"{section.file}: the Python package {package}, which contains {path.name}, is not "
            f"installed; {hint}"
        )
    root = Path(next(iter(found.submodule_search_locations)))
    return SpeechFile(root.joinpath(*path.parts[1:]), values.sha256, hint, role, external)
