"""``edge-inference models new``: writes the model folder of an ONNX file, and tries it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_inference.backends.ort import OrtBackend
from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.model_yaml import UNKNOWN_LICENSE, NewDescription
from edge_inference.cli.models.new_model_report import NewModelReport
from edge_inference.core import decoders
from edge_inference.core.checksum import sha256_of
from edge_inference.core.disk import describe_write_error
from edge_inference.core.images import image_file
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.exporter_metadata import read_exporter_metadata
from edge_inference.core.models.golden_check import make_ramp_image
from edge_inference.core.models.labels import parse_labels, read_labels_file
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.models.model_search import default_search_path
from edge_inference.core.models.onnx_files import MAX_EXTERNAL_BYTES, external_files
from edge_inference.core.models.onnx_problems import find_file_problem
from edge_inference.core.models.onnx_summary import OnnxSummary, read_summary
from edge_inference.core.proposals.graph_input import ImageInput, extra_values, find_image_input
from edge_inference.core.proposals.proposal import RAW, UNIT, Evidence, Proposal, pixels
from edge_inference.core.proposals.sidecars import read_sidecars
from edge_inference.core.proposals.table import propose
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.settings import rules
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import select_backend
from edge_inference.errors import EdgeInferenceError, ImageError, ModelError

LABELS_FILE = "labels.txt"
_SAMPLE = Path("nanodet", "golden", "astronaut.jpg")
_QUANTIZED = ("DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")


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

    @property
    def target(self) -> Path:
        """The folder to write."""
        return self.folder or Path(self.name or self.file.stem)


def new_model(options: NewModelOptions) -> int:
    """Write a model folder, run one image through it, and print both; return the exit code.

    Nothing is written where a model cannot be described, or where it does not run as described.
    Raises EdgeInferenceError.
    """
    if options.folder is not None and options.name:
        raise UsageError("--name and a folder exclude each other; the folder's name is the name")
    if options.task:
        RESULT_KINDS.get(options.task)
    if options.decoder:
        decoders.find(options.decoder)
    frame, image_name = _read_image(options.image)
    problem = find_file_problem(options.file)
    if problem is not None:
        raise ModelError(problem)
    summary = read_summary(options.file)
    weights = [options.file.name, *external_files(options.file)]
    _check_target(options, weights)
    try:
        evidence, image, extra = _look(options, summary, frame)
        proposal = _choose(options, evidence, image)
    except ModelError as error:
        is_named = str(error).startswith(str(options.file))
        raise ModelError(str(error) if is_named else f"{options.file}: {error}") from error
    staged = _Staged(options, weights)
    try:
        description = staged.write(evidence, image, proposal, extra)
        model = load_model(staged.folder)
        result = _run(model, frame, options, proposal)
        folder = staged.keep()
    except OSError as error:
        raise ModelError(
            f"{options.target}: cannot be written ({describe_write_error(error)})"
        ) from error
    finally:
        staged.remove()
    problems = evidence.sidecars.problems
    report = NewModelReport(folder, model, description, image_name, result, problems)
    sys.stdout.write(json.dumps(report.to_json()) + "\n" if options.as_json else report.text())
    return 0


def _read_image(file: Path | None) -> tuple[Frame, str]:
    """Return the image to try, and its name."""
    if file is None:
        samples = [parent / _SAMPLE for parent in default_search_path()]
        file = next((sample for sample in samples if sample.is_file()), None)
    if file is None:
        return make_ramp_image(), "a generated image"
    try:
        return Frame.from_array(image_file.read_image(file)), file.name
    except OSError as error:
        raise ImageError(
            f"{file}: cannot be read ({error.strerror}); name an image with --image"
        ) from error
    except ImageError as error:
        raise ImageError(f"{file}: {error}; name another image with --image") from error


def _check_target(options: NewModelOptions, names: list[str]) -> None:
    """Raise ModelError if something that would be written exists already."""
    target = options.target
    if target.exists() and not target.is_dir():
        raise ModelError(f"{target}: expected a folder, got a file; name another folder")
    if options.force:
        return
    for name in (DESCRIPTION_FILE, LABELS_FILE, *names):
        there = target / name
        if there.exists() and not _is_same(there, options.file.parent / name):
            raise ModelError(
                f"{there}: it exists already; name another folder, or replace it with --force"
            )


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _look(
    options: NewModelOptions, summary: OnnxSummary, frame: Frame
) -> tuple[Evidence, ImageInput, dict[str, Any]]:
    """Collect what is known, including the outputs of one run."""
    metadata = read_exporter_metadata(summary.metadata)
    sidecars = read_sidecars(options.file.parent)
    image = find_image_input(summary, metadata, sidecars)
    extra = extra_values(summary, image, options.extra_inputs or {})
    evidence = Evidence(
        stem=options.file.stem,
        summary=summary,
        metadata=metadata,
        sidecars=sidecars,
        image=image.tensor,
        extra=tuple(tensor for tensor in summary.inputs if tensor is not image.tensor),
        width=image.width,
        height=image.height,
        outputs={},
        labels=read_labels_file(options.labels) if options.labels is not None else (),
    )
    scale = RAW if evidence.is_integer_input else UNIT
    spec = _spec({**image.keys(), **scale}, options.file)
    trial = ModelDescription(
        name=options.file.stem,
        folder=options.file.parent,
        task="",
        description="",
        license="",
        source="",
        input=spec,
        decoder="",
        decoder_settings=None,
        labels=(),
        variants={},
        golden=(),
        extra_inputs={name: np.asarray(value) for name, value in extra.items()},
    )
    with OrtBackend(options.file).fit_to(trial) as backend:
        outputs = backend.infer({spec.name: Preprocessor(spec)(frame)[0]})
    return replace(evidence, outputs=outputs), image, extra


def _spec(keys: Mapping[str, Any], file: Path) -> InputSpec:
    known = rules(InputSpec)
    try:
        return InputSpec(**{key: known[key].convert(value) for key, value in keys.items()})
    except (EdgeInferenceError, KeyError) as error:
        raise ModelError(f"{file}: its input cannot be fed: {error}") from error


def _choose(options: NewModelOptions, evidence: Evidence, image: ImageInput) -> Proposal:
    """Return the proposal with the user's own choices. Raises ModelError for unknown outputs."""
    proposal = None
    try:
        proposal = propose(evidence)
    except ModelError:
        if not options.decoder:
            raise
    if proposal is None and not options.decoder:
        raise ModelError(
            f"no decoder is known for its outputs {_describe_outputs(evidence)}; name one with "
            f"--decoder: {', '.join(decoders.names())}, or your own module:function"
        )
    if proposal is None or options.decoder not in ("", proposal.decoder):
        task = options.task or (proposal.task if proposal is not None else "detection")
        family = proposal.family if proposal is not None else "unknown"
        image_keys = proposal.input if proposal is not None else pixels(evidence, UNIT)
        labels = evidence.labels or evidence.metadata.labels or evidence.sidecars.labels
        proposal = Proposal(family, task, options.decoder, {}, image_keys, labels).assuming(
            {
                "decoder.name": "named with --decoder; its other settings are the defaults",
                "input.mean": "assumed; check mean, std, color and resize with a known image",
            }
        )
    if options.task:
        proposal = replace(proposal, task=options.task)
    return proposal.assuming(image.assumed)


def _describe_outputs(evidence: Evidence) -> str:
    return ", ".join(
        f"{name} {array.dtype} {list(array.shape)}" for name, array in evidence.outputs.items()
    )


def _run(
    model: ModelDescription, frame: Frame, options: NewModelOptions, proposal: Proposal
) -> Result:
    """Run an image as ``run perception`` does. Raises ModelError where that fails."""
    (precision,) = model.variants
    try:
        selection = select_backend(EngineRequest(model, "ort", precision))
        assert selection.backend is not None
        tensor, geometry = Preprocessor(model.input)(frame)
        with selection.backend as backend:
            outputs = backend.infer({model.input.name: tensor})
        return model.decode(outputs, geometry)
    except EdgeInferenceError as error:
        raise ModelError(
            f"{options.file}: it does not run as proposed ({proposal.family}, decoder "
            f"{proposal.decoder}), so nothing was written: {error}"
        ) from error


class _Staged:
    """The new folder under a hidden name beside its destination, until all of it is proved."""

    def __init__(self, options: NewModelOptions, weights: Sequence[str]) -> None:
        self._options = options
        self._weights = weights
        target = Path(os.path.abspath(options.target))  # noqa: PTH100 - links stay as they are
        self._target = target
        self._outer = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        self.folder = self._outer / target.name

    def write(
        self, evidence: Evidence, image: ImageInput, proposal: Proposal, extra: Mapping[str, Any]
    ) -> NewDescription:
        """Copy the weights, and write labels and description. Raises OSError."""
        file, summary = self._options.file, evidence.summary
        remove_with_child(self._outer)
        self.folder.mkdir(parents=True)
        for name in self._weights:
            copy = self.folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.parent / name, copy)
        keys = {**proposal.input, **image.keys()}
        if image.color != "GRAY" and "color" in proposal.input:
            keys["color"] = proposal.input["color"] if image.color == "RGB" else image.color
        elif image.color == "GRAY":
            keys |= {key: [sum(keys[key]) / len(keys[key])] for key in ("mean", "std")}
        metadata = evidence.metadata
        is_quantized = bool(summary.operators & set(_QUANTIZED))
        description = NewDescription(
            proposal=proposal,
            input=keys,
            description=metadata.description or f"{proposal.family}, {file.name}",
            license=metadata.license or UNKNOWN_LICENSE,
            source=metadata.source or summary.producer or file.name,
            labels=self._write_labels(proposal.labels),
            extra_inputs=extra,
            precision="int8" if is_quantized else "fp32",
            weights=(file.name, sha256_of(self.folder / file.name)),
            external={
                name: sha256_of(self.folder / name, MAX_EXTERNAL_BYTES)
                for name in self._weights[1:]
            },
        )
        (self.folder / DESCRIPTION_FILE).write_text(description.text(), encoding="utf-8")
        return description

    def _write_labels(self, labels: tuple[str, ...]) -> str | list[str]:
        """Write one label a line, where that reads back as the same labels."""
        text = "".join(f"{label}\n" for label in labels)
        try:
            is_plain = bool(labels) and parse_labels(text) == labels
        except ValueError:
            is_plain = False
        if not is_plain:
            return list(labels)
        (self.folder / LABELS_FILE).write_text(text, encoding="utf-8")
        return LABELS_FILE

    def keep(self) -> Path:
        """Move the folder to its destination, and return that. Raises OSError."""
        if self._options.force or self._target.exists():
            for source in [*self.folder.rglob("*")]:
                if source.is_file():
                    there = self._target / source.relative_to(self.folder)
                    if not _is_same(there, self._options.file.parent / there.name):
                        there.parent.mkdir(parents=True, exist_ok=True)
                        source.replace(there)
        else:
            self.folder.rename(self._target)
        return self._options.target

    def remove(self) -> None:
        """Remove what was not kept."""
        shutil.rmtree(self._outer, ignore_errors=True)
