"""``edge-inference speech export``: writes a recognizer as a model folder for other engines."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import ProgressDisplay, show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.cli.sizes import format_megabytes
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.core.bounded_file import read_text
from edge_inference.core.checksum import sha256_of
from edge_inference.core.settings import change
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine, write_engine
from edge_inference.engines.build.model_options import environment_here
from edge_inference.engines.precision.onnx_file import import_onnx, write_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.speech_graphs import (
    DECODER,
    ENCODER,
    WITH_PAST,
    LengthRange,
    lower_speech_graph,
    shape_profiles,
)
from edge_inference.speech.recognition.recognizer import RecognizerSettings
from edge_inference.speech.recognition.speech_model import (
    DESCRIPTION_FILE,
    SpeechModel,
    find_speech_model,
)

GRAPHS = (ENCODER, DECODER, WITH_PAST)
_TOKENIZER, _NOTICE = "tokenizer", "NOTICE.md"
_TYPICAL_S = 2.0
_TYPICAL_TOKENS = 8

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class SpeechExportOptions:
    """The options of ``speech export``; ``max_speech_s`` and ``beam`` apply to engines."""

    model: str
    model_path: str
    output: str
    engine: bool
    max_speech_s: float
    beam: int
    gpu: int


def export(options: SpeechExportOptions, as_json: bool) -> int:
    """Write the folder and list its files; return the exit code."""
    model = find_speech_model(options.model, search_path(options.model_path))
    if model.task != "recognition":
        raise UsageError(
            f"model {model.name!r}: expected a recognizer, got a model for {model.task}"
        )
    model.verify_files()
    output = _new_folder(options.output)
    title = f"exporting {model.name}"
    with (
        cancel_on_signal() as cancelled,
        show_progress(title, sys.stdout, as_json) as progress,
        _temporary_folder(output) as folder,
    ):
        written = _write(model, folder, options, progress, cancelled)
    _print_files(output, written, as_json)
    return 0


def _write(
    model: SpeechModel,
    folder: Path,
    options: SpeechExportOptions,
    progress: ProgressDisplay,
    cancelled: Cancelled,
) -> dict[str, Path]:
    files = {role: file.path for role, file in model.files.items()}
    written: dict[str, Path] = {}
    for number, role in enumerate(GRAPHS):
        progress(f"rewriting the {role.replace('_', ' ')}", number / len(GRAPHS))
        written[role] = folder / f"{role}.onnx"
        write_onnx(lower_speech_graph(role, files), written[role])
    if options.engine:
        written = _build(written, model.name, options, progress, cancelled)
    written[_TOKENIZER] = folder / files[_TOKENIZER].name
    shutil.copyfile(files[_TOKENIZER], written[_TOKENIZER])
    (folder / _NOTICE).write_text(_notice(model))
    (folder / DESCRIPTION_FILE).write_text(_description(model, written, options))
    return written


def _build(
    graphs: Mapping[str, Path],
    name: str,
    options: SpeechExportOptions,
    progress: ProgressDisplay,
    cancelled: Cancelled,
) -> dict[str, Path]:
    """Build engines of the graphs for this machine; the graphs are removed."""
    onnx = import_onnx()
    vendor, environment = import_tensorrt(), environment_here(options.gpu)
    frames = _frames(graphs[ENCODER], options.max_speech_s)
    plans: dict[str, Path] = {}
    for role, file in graphs.items():
        lengths = _lengths(role, frames, options)
        profiles = shape_profiles(onnx.load(str(file), load_external_data=False), lengths)
        built = build_engine(
            file,
            change(BuildOptions(), {"profiles": [str(each) for each in profiles]}),
            vendor=vendor,
            environment=environment,
            model=f"{name}/{role}",
            progress=lambda step, role=role: progress(  # type: ignore[misc]
                f"{role.replace('_', ' ')}: {step.phase}", step.fraction
            ),
            cancelled=cancelled,
        )
        plans[role] = write_engine(built, file.with_suffix(".plan"))
    for file in graphs.values():
        file.unlink()
    return plans


def _samples(max_speech_s: float) -> LengthRange:
    least = RecognizerSettings().min_speech_s
    return (
        round(least * SAMPLE_RATE),
        round(min(max(_TYPICAL_S, least), max_speech_s) * SAMPLE_RATE),
        round(max_speech_s * SAMPLE_RATE),
    )


def _frames(encoder: Path, max_speech_s: float) -> LengthRange:
    """Return the number of encoder frames for the lengths of speech."""
    with OrtBackend(encoder) as backend:
        counts = [
            next(iter(backend.infer({"input_values": np.zeros((1, n), np.float32)}).values()))
            for n in _samples(max_speech_s)
        ]
    minimum, optimum, maximum = (int(states.shape[1]) for states in counts)
    return minimum, optimum, maximum


def _lengths(
    role: str, frames: LengthRange, options: SpeechExportOptions
) -> dict[str, LengthRange]:
    """Return the lengths of a graph's axes, by the names of Moonshine's exporters."""
    if role == ENCODER:
        samples = _samples(options.max_speech_s)
        names = ("encoder_sequence_length", "num_samples")
        return {"batch_size": (1, 1, 1), **dict.fromkeys(names, samples)}
    settings = RecognizerSettings()
    tokens = math.ceil(options.max_speech_s * settings.max_tokens_per_second) + 1
    return {
        "batch_size": (1, 1, options.beam),
        "decoder_sequence_length": (1, 1, 1),
        "encoder_sequence_length": frames,
        "encoder_sequence_length_out": frames,
        "past_decoder_sequence_length": (1, min(_TYPICAL_TOKENS, tokens), tokens),
    }


def _description(
    model: SpeechModel, written: Mapping[str, Path], options: SpeechExportOptions
) -> str:
    content = "TensorRT engines for one machine" if options.engine else "standard ONNX operators"
    lines = [
        f"# Made by: edge-inference speech export {model.name}",
        "task: recognition",
        f"description: {json.dumps(f'{model.description}; converted to fp32, {content}')}",
        f"license: {json.dumps(model.license)}",
        f"source: {json.dumps(model.source)}",
        f"locale: {json.dumps(model.locale)}",
        "",
        "files:",
    ]
    for role, file in written.items():
        lines += [f"  {role}:", f"    file: {file.name}", f"    sha256: {sha256_of(file)}"]
    return "\n".join(lines) + "\n"


def _notice(model: SpeechModel) -> str:
    """Return the notice of the source model, with the changes."""
    notice = model.folder / _NOTICE
    try:
        own = read_text(notice) if notice.is_file() else f"License: {model.license}\n"
    except OSError as error:
        raise ModelError(f"{notice}: cannot be read ({error.strerror})") from error
    return (
        f"# Changed files\n\nThe graphs in this folder are derived from the model "
        f"{model.name} ({model.source}): integer weights were converted to fp32, contrib "
        "operators of ONNX Runtime to standard operators, and the decoder was split. The notice "
        f"of that model follows.\n\n{own}"
    )


def _new_folder(text: str) -> Path:
    try:
        folder = Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"--output {text}: no such user") from error
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"--output {text}: expected a new folder, it exists already")
    return folder


@contextmanager
def _temporary_folder(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder; rename it after the block, or remove it after an error."""
    folder = destination.parent / f".{destination.name}.{secrets.token_hex(4)}"
    try:
        try:
            folder.mkdir(parents=True)
            yield folder
            folder.rename(destination)
        except OSError as error:
            raise ModelError(
                f"{destination}: cannot be written ({error.strerror}); free space, or choose "
                "another --output"
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _print_files(output: Path, written: Mapping[str, Path], as_json: bool) -> None:
    files = {role: output / file.name for role, file in written.items()}
    if as_json:
        sizes = {role: file.stat().st_size for role, file in files.items()}
        sys.stdout.write(json.dumps({"folder": str(output.resolve()), "bytes": sizes}) + "\n")
        return
    for role, file in files.items():
        sys.stdout.write(f"{role:<18} {file.name:<24} {format_megabytes(file.stat().st_size)}\n")
    sys.stdout.write(
        f"\nUse it: edge-inference run voice --source sample --model {output.resolve()}\n"
        f"or, with voice.launch.py, model:={output.resolve()}\n"
    )
