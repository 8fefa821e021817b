"""``edge-inference models new``: writes the model folder of an ONNX file, and tries it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.exports.new_model_report import NewModelReport
from edge_inference.core.images import image_file
from edge_inference.core.label_file import read_labels_file
from edge_inference.core.models.model_search import default_search_path
from edge_inference.errors import ImageError
from edge_inference.optimize.export.new_model_folder import NewModelRequest, make_model_folder

_SAMPLE = Path("nanodet", "golden", "astronaut.jpg")


@dataclass(frozen=True)
class NewModelOptions:
    """What the user asks for; empty texts stand for what is proposed."""

    file: Path
    folder: Path | None = None
    image: Path | None = None
    labels: Path | None = None
    task: str = ""
    decoder: str = ""
    name: str = ""
    extra_inputs: Mapping[str, Any] | None = None
    force: bool = False
    as_json: bool = False


def new_model(options: NewModelOptions) -> int:
    """Write a model folder, run one image through it, and print both; return the exit code.

    Nothing is written where a model cannot be described, or where it does not run as described.
    Raises EdgeInferenceError.
    """
    if options.folder is not None and options.name:
        raise UsageError("--name and a folder exclude each other; the folder's name is the name")
    image, image_name = _read_image(options.image)
    request = NewModelRequest(
        file=options.file,
        target=options.folder or Path(options.name or options.file.stem),
        image=image,
        labels=read_labels_file(options.labels) if options.labels is not None else (),
        task=options.task,
        decoder=options.decoder,
        extra_inputs=options.extra_inputs or {},
        replaces=options.force,
    )
    report = NewModelReport(make_model_folder(request, remove_with_child), image_name)
    sys.stdout.write(json.dumps(report.to_json()) + "\n" if options.as_json else report.text())
    return 0


def _read_image(file: Path | None) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the image to try as BGR or BGRA, None without a sample; and its name."""
    if file is None:
        samples = [parent / _SAMPLE for parent in default_search_path()]
        file = next((sample for sample in samples if sample.is_file()), None)
    if file is None:
        return None, "a generated image"
    try:
        return image_file.read_image(file, keeps_alpha=True), file.name
    except OSError as error:
        raise ImageError(
            f"{file}: cannot be read ({error.strerror}); name an image with --image"
        ) from error
    except ImageError as error:
        raise ImageError(f"{file}: {error}; name another image with --image") from error
