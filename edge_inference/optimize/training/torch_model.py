"""A PyTorch model with what a model folder says of it: its input and the names of its classes."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.errors import BackendError, ConfigError, ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


def import_torch() -> ModuleType:
    """Return torch. Raises BackendError with the remedy if it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise BackendError(
            f"PyTorch is needed for this and cannot be imported ({error}); install the extra with "
            "pip install 'edge_inference[optimize]'"
        ) from error


@dataclass(frozen=True)
class TorchModel:
    """A classifier in PyTorch.

    ``module`` maps images ``(N, C, H, W)`` of the format ``input`` to logits ``(N, classes)``, in
    float32 on the CPU. It is in evaluation mode between the functions of this package, and no
    function changes the module that it gets: each returns a new one. Raises ConfigError for a
    format that PyTorch models are not trained with.
    """

    module: nn.Module
    input: InputSpec
    labels: tuple[str, ...]
    name: str = "model"

    def __post_init__(self) -> None:
        check_torch_input(self.input)

    def with_module(self, module: nn.Module) -> TorchModel:
        """Return the same model with another network."""
        return replace(self, module=module.eval())

    def example_input(self, batch: int = 1) -> Tensor:
        """Return zeros ``(batch, C, H, W)`` as an input to trace with."""
        torch = import_torch()
        spec = self.input
        return torch.zeros(batch, spec.channels, spec.height, spec.width)

    def parameter_count(self) -> int:
        """Return the number of weights."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def check_torch_input(spec: InputSpec) -> None:
    """Raise ConfigError for a format of images that is not float32 NCHW with a batch of one."""
    for name, expected in (("layout", "NCHW"), ("dtype", "float32"), ("batch", 1)):
        value = getattr(spec, name)
        if value != expected:
            raise ConfigError(
                f"input.{name}: expected {expected}, which PyTorch models are trained with, got "
                f"{value}"
            )


@dataclass(frozen=True)
class ModuleSource:
    """Where a module comes from: ``function`` is ``package.module:name`` or ``file.py:name``.

    The function returns the module and gets ``arguments`` by keyword. ``weights`` is a file of a
    state dict, as ``torch.save(module.state_dict(), file)`` writes it; it is read without running
    code from it.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None


def load_module(source: ModuleSource) -> nn.Module:
    """Import and call the function, load the weights, and return the module in evaluation mode.

    Raises ConfigError for a name that is none, ModelError for a function that fails or returns
    something else, and for weights that do not fit; BackendError without torch.
    """
    torch = import_torch()
    function = import_object(source.function, "a function that returns a torch.nn.Module")
    try:
        module = function(**source.arguments)
    except (Exception, SystemExit) as error:  # the user's own code: any may come out of it
        raise ModelError(
            f"{source.function}: calling it with {dict(source.arguments)} failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{source.function}: expected it to return a torch.nn.Module, got "
            f"{type(module).__name__}"
        )
    if source.weights is not None:
        load_weights(module, source.weights)
    return module.float().eval()


def load_weights(module: nn.Module, file: Path) -> None:
    """Load a state dict into a module. Raises ModelError if it cannot be read or does not fit."""
    torch = import_torch()
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file}: not a file of weights: expected a state dict, as "
            "torch.save(module.state_dict(), file) writes it; to read anything else, such as a "
            "whole module, would run code from it"
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        raise ModelError(
            f"{file}: not a file of weights ({type(error).__name__}: {error}); write one with "
            "torch.save(module.state_dict(), file)"
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).strip().splitlines()
        raise ModelError(
            f"{file}: its weights do not fit the module: {' '.join(first[:2])}"
        ) from error


def save_module(module: nn.Module, file: Path) -> None:
    """Write a whole module, with its layers as they are, as ``torch.save`` does.

    It loads only where the code of its classes can be imported. The file appears complete or not
    at all. Raises ModelError for a module that cannot be pickled or a file that cannot be written.
    """
    write_atomically(file, module_bytes(module, str(file)))


def module_bytes(module: nn.Module, subject: str) -> bytes:
    """Return a whole module as ``torch.save`` writes it.

    Raises ModelError for one that cannot be pickled; its text begins with ``subject``.
    """
    content = io.BytesIO()  # torch.save hides why a file cannot be written
    try:
        import_torch().save(module, content)
    except Exception as error:  # pickling runs the user's code: any error may come out of it
        raise ModelError(
            f"{subject}: the module cannot be saved ({type(error).__name__}: {error}); define its "
            "classes and functions at the top of a module that can be imported"
        ) from error
    return content.getvalue()


def save_weights(module: nn.Module, file: Path) -> None:
    """Write a state dict that :func:`load_weights` reads. Raises ModelError."""
    buffer = io.BytesIO()
    import_torch().save(module.state_dict(), buffer)
    write_atomically(file, buffer.getvalue())


def import_object(path: str, expected: str) -> Any:
    """Return the object that ``package.module:name`` or ``file.py:name`` names.

    A package is also looked up in the current folder, as ``python -m`` does. ``expected`` says in
    an error what it should be. Raises ConfigError.
    """
    module = import_module_of(path, expected)
    module_name, _, name = path.rpartition(":")
    if not hasattr(module, name):
        known = ", ".join(each for each in vars(module) if not each.startswith("_"))
        raise ConfigError(f"{path!r}: {module_name} has no {name!r}; it has {known:.300}")
    return getattr(module, name)


def import_module_of(path: str, expected: str = "a function") -> ModuleType:
    """Return the module of ``package.module:name`` or ``file.py:name``. Raises ConfigError."""
    module_name, _, name = path.rpartition(":")
    if not module_name or not name.isidentifier():
        raise ConfigError(f"{path!r}: expected {expected} as package.module:name or file.py:name")
    try:
        return _import_module(module_name)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # the user's own module: any may come out of it
        raise ConfigError(
            f"{path!r}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error


def _import_module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        folder = os.getcwd()  # noqa: PTH109 - sys.path holds texts
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(name)
    file = Path(name)
    if not file.is_file():
        raise ConfigError(f"{name}: no such file")
    # Under its own name, so that classes of the file can be pickled and found again.
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.import_module(file.stem)
    found = getattr(module, "__file__", None)
    if found is None or not Path(found).samefile(file):
        raise ConfigError(
            f"{name}: there is another module {file.stem} ({found or 'built in'}); rename the file"
        )
    return module
