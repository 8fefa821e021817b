"""Options that the actions of ``optimize`` share: the PyTorch model, its data and its training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.cli import arguments as given
from edge_inference.cli.exit_status import UsageError, print_error

if TYPE_CHECKING:
    from edge_inference.core.images.input_spec import InputSpec
    from edge_inference.optimize.training.labeled_dataset import LabeledDataset
    from edge_inference.optimize.training.torch_model import TorchModel
    from edge_inference.optimize.training.train import TrainingSettings

_MAX_REASONS = 10
_MAX_THREADS = 1024
_PER_CHANNEL = ("mean", "std")


def add_torch_model(parser: argparse.ArgumentParser) -> None:
    """Add MODULE with its arguments and weights, and the options of its input and data."""
    parser.add_argument(
        "module",
        type=given.non_empty_text,
        metavar="MODULE:FUNCTION",
        help="function that returns the torch.nn.Module: package.module:name or file.py:name",
    )
    parser.add_argument(
        "--argument",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="argument of the function, such as width=32; may be repeated",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="state dict, as torch.save writes it"
    )
    add_input(parser)
    add_dataset(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add ``--input``."""
    parser.add_argument(
        "--input",
        action="extend",
        nargs="+",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="format of the input as in model.yaml, such as width=64 height=64 color=GRAY "
        "std=255; default: that of the data",
    )


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, ``--images`` and ``--seed``."""
    parser.add_argument(
        "--data",
        required=True,
        type=given.non_empty_text,
        metavar="SOURCE",
        help="labeled images: a folder with one subfolder for each class, a torch Dataset as "
        "package.module:name, or digits",
    )
    parser.add_argument(
        "--images",
        type=given.whole_number(1),
        metavar="N",
        help="maximum number of images, evenly spread over the classes; default: all",
    )
    parser.add_argument(
        "--seed", type=given.whole_number(0, given.MAX_SEED), default=0, help="default: 0"
    )


def add_training(
    parser: argparse.ArgumentParser, epochs: int, option: str = "--epochs", minimum: int = 1
) -> None:
    """Add ``--epochs``, ``--learning-rate``, ``--batch``, ``--amp``, ``--device``, ``--threads``.

    ``option`` is another name for ``--epochs``, ``minimum`` 0 allows not to train.
    """
    parser.add_argument(
        option,
        dest="epochs",
        type=given.whole_number(minimum),
        default=epochs,
        metavar="N",
        help=f"epochs of training{', or 0' if not minimum else ''}; default: {epochs}",
    )
    parser.add_argument(
        "--learning-rate",
        type=given.number_between(1e-9, 10.0),
        default=1e-3,
        metavar="RATE",
        help="default: 0.001",
    )
    parser.add_argument("--batch", type=given.whole_number(1), default=64, help="default: 64")
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--threads",
        type=given.whole_number(1, _MAX_THREADS),
        default=1,
        metavar="N",
        help="threads of the training: more are faster for large networks only; another number "
        "rounds sums in another order, so that the weights differ; default: 1",
    )


def key_value(text: str) -> tuple[str, Any]:
    """Parse ``KEY=VALUE``; the value as in YAML."""
    import yaml

    from edge_inference.core.settings import shorten

    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {shorten(text)}")
    try:
        return key, yaml.safe_load(value)
    # Wrong dates and deep nesting have errors of their own.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{shorten(text)}: {key} has no value of YAML") from error


def read_input(options: argparse.Namespace) -> InputSpec | None:
    """Return the format of ``--input``, None if it was not given. Raises UsageError."""
    from edge_inference.core.images.input_spec import InputSpec
    from edge_inference.core.settings import rules
    from edge_inference.errors import EdgeInferenceError

    if not options.input:
        return None
    known = rules(InputSpec)
    values = {"name": "image", **dict(options.input)}
    for key in values:
        if key not in known:
            raise UsageError(f"--input {key}: expected one of {', '.join(known)}")
    for key in _PER_CHANNEL:  # one number for all channels needs no brackets
        if type(values.get(key)) in (int, float):
            values[key] = [values[key]]
    try:
        spec = InputSpec(**{key: known[key].convert(value) for key, value in values.items()})
    except (EdgeInferenceError, TypeError) as error:
        raise UsageError(f"--input: {error}") from error
    problem = spec.check()
    if problem is not None:
        raise UsageError(f"--input: {problem}")
    return spec


def read_dataset(options: argparse.Namespace, default: InputSpec | None = None) -> LabeledDataset:
    """Return the dataset of ``--data``; print which images are left out.

    ``default`` is the format of the input without ``--input``. Raises UsageError, SourceError,
    ConfigError.
    """
    from edge_inference.optimize.training.dataset_sources import open_dataset

    spec = read_input(options) or default
    dataset = open_dataset(options.data, spec, limit=options.images)
    print_skipped(dataset)
    return dataset


def print_skipped(dataset: LabeledDataset) -> None:
    """Print which images of a dataset are left out."""
    for reason in dataset.skipped[:_MAX_REASONS]:
        print_error(reason)
    if len(dataset.skipped) > _MAX_REASONS:
        print_error(f"{len(dataset.skipped) - _MAX_REASONS} more images cannot be read")


def read_torch_model(options: argparse.Namespace, dataset: LabeledDataset) -> TorchModel:
    """Return the model of MODULE for the dataset's input and classes.

    Its first weights are those of ``--seed``. Raises EdgeInferenceError.
    """
    from edge_inference.optimize.training.torch_model import ModuleSource, TorchModel, load_module
    from edge_inference.optimize.training.train import deterministic

    source = ModuleSource(options.module, dict(options.argument), options.weights)
    name = options.module.rpartition(":")[2]
    with deterministic(options.seed):
        module = load_module(source)
    return TorchModel(module, dataset.input, dataset.labels, name)


def read_training(options: argparse.Namespace) -> TrainingSettings:
    """Return the settings of the training. Raises ConfigError."""
    from edge_inference.optimize.training.train import TrainingSettings

    return TrainingSettings(
        epochs=options.epochs,
        batch=options.batch,
        learning_rate=options.learning_rate,
        amp=options.amp,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
    )
