"""``edge-inference optimize distill``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.optimize import optimize_options as shared

if TYPE_CHECKING:
    from edge_inference.optimize.distillation.distill import Distillation
    from edge_inference.optimize.distillation.distillation_report import DistillationReport
    from edge_inference.optimize.distillation.teachers import Teacher
    from edge_inference.optimize.training.labeled_dataset import LabeledDataset
    from edge_inference.optimize.training.torch_model import ModuleSource, TorchModel

_EXAMPLES = """\
examples:
  edge-inference optimize distill --teacher net.py:make_net --teacher-weights net.pt \\
      --ratio 0.25 --data digits --output student
  edge-inference optimize distill --teacher efficientnet_lite0 --student net.py:make_small \\
      --data photos/ --unlabeled more_photos/ --epochs 40 --output student
  edge-inference optimize distill --teacher net.py:make_net --teacher-weights net.pt \\
      --student net.py:make_small --data photos/ --input width=96 --input height=96 \\
      --stage epochs=5,alpha=1 --stage epochs=20,alpha=0.5,unlabeled=false --output student

The student learns from the teacher's outputs on the training images (soft targets), from their
classes (hard targets, 1 - alpha of the loss), and with --feature from inner layers of the
teacher. Images of --unlabeled have soft targets only. Each --stage continues with the student of
the one before. With --ratio the student is made from the teacher: depthwise-separable
convolutions in its stages, or a transformer. Accuracies are measured on held-out images, times on
this machine, in ONNX Runtime on one thread.

exit codes: 0 distilled; 1 failed, and nothing was written; 2 wrong usage; 130 interrupted."""

_DEFAULT_EPOCHS = 30
_DEFAULT_FEATURE_WEIGHT = 1.0
_LATENCY_RUNS = 50
_ONNX_FILE = ".onnx"
#: Share of the training in the progress; the rest is the export.
_TRAINED = 0.9
#: Keys of ``--stage`` and their types.
_STAGE_KEYS = {
    "epochs": int,
    "temperature": float,
    "alpha": float,
    "features": float,
    "learning_rate": float,
    "unlabeled": bool,
}


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "distill",
        _start,
        help="train a small model with the outputs of a large one",
        description="Train a small classifier with the outputs of a large one as its targets.",
        epilog=_EXAMPLES,
    )
    _add_teacher(parser)
    _add_student(parser)
    shared.add_input(parser)
    shared.add_dataset(parser)
    parser.add_argument(
        "--unlabeled",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="further images, whose classes are not read: a folder with images, or as --data",
    )
    _add_loss(parser)
    shared.add_training(parser, _DEFAULT_EPOCHS)
    parser.add_argument(
        "--compare-alone",
        action="store_true",
        help="also train the student without the teacher, to see what the teacher is worth",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder of the student",
    )
    parser.add_argument(
        "--weights-output",
        type=Path,
        metavar="FILE",
        help="also write the student's state dict, as torch.save writes it",
    )
    given.add_bounds(parser, "teacher", timeout_s=24 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_teacher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--teacher",
        required=True,
        type=given.non_empty_text,
        metavar="MODEL",
        help="the large model: a model by name or path, an ONNX file that takes the images of "
        "--data, or MODULE:FUNCTION that returns a torch.nn.Module",
    )
    parser.add_argument(
        "--teacher-argument",
        action="append",
        default=[],
        type=shared.key_value,
        metavar="KEY=VALUE",
        help="argument of the teacher's function; may be repeated",
    )
    parser.add_argument(
        "--teacher-weights", type=Path, metavar="FILE", help="state dict of the teacher's module"
    )
    given.add_model_path(parser)


def _add_student(parser: argparse.ArgumentParser) -> None:
    student = parser.add_mutually_exclusive_group(required=True)
    student.add_argument(
        "--student",
        type=given.non_empty_text,
        metavar="MODULE:FUNCTION",
        help="function that returns the small torch.nn.Module",
    )
    student.add_argument(
        "--ratio",
        type=given.number_between(1e-6, 0.999),
        metavar="SHARE",
        help="make a student with at most this share of the teacher's weights, such as 0.25",
    )
    parser.add_argument(
        "--kind",
        choices=("auto", "cnn", "vit"),
        help="the student of --ratio: separable convolutions or a transformer; default: auto, as "
        "the teacher is",
    )
    parser.add_argument(
        "--argument",
        action="append",
        default=[],
        type=shared.key_value,
        metavar="KEY=VALUE",
        help="argument of the student's function; may be repeated",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="state dict that the student starts from"
    )


def _add_loss(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature",
        type=given.number_between(0.01, 1000.0),
        default=4.0,
        metavar="T",
        help="divides the logits of the soft targets; default: 4",
    )
    parser.add_argument(
        "--alpha",
        type=given.number_between(0.0, 1.0),
        default=0.7,
        metavar="SHARE",
        help="share of the soft targets in the loss; default: 0.7",
    )
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        type=_layer_pair,
        metavar="LAYER=LAYER",
        help="a layer of the student that imitates one of a teacher in PyTorch; may be repeated",
    )
    parser.add_argument(
        "--feature-weight",
        type=given.number_between(0.0, 1e6),
        metavar="WEIGHT",
        help=f"weight of the layers in the loss; default: {_DEFAULT_FEATURE_WEIGHT:g}",
    )
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        type=_stage_values,
        metavar="KEY=VALUE,…",
        help=f"a stage, instead of --epochs: {', '.join(_STAGE_KEYS)}; may be repeated",
    )


def _layer_pair(text: str) -> tuple[str, str]:
    own, separator, teacher = text.partition("=")
    if not (own and separator and teacher):
        raise argparse.ArgumentTypeError(
            f"expected a layer of the student and one of the teacher, as 5=layer2.0, got {text!r}"
        )
    return own, teacher


def _stage_values(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in text.split(","):
        key, value = shared.key_value(each)
        kind = _STAGE_KEYS.get(key)
        if kind is None:
            raise argparse.ArgumentTypeError(
                f"{key!r}: expected one of {', '.join(_STAGE_KEYS)} in {text!r}"
            )
        if not isinstance(value, (int, float) if kind is float else kind) or (
            kind is not bool and isinstance(value, bool)
        ):
            wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
            raise argparse.ArgumentTypeError(f"{key}: expected {wanted} in {text!r}")
        values[key] = value
    if "epochs" not in values:
        raise argparse.ArgumentTypeError(f"expected epochs=N in {text!r}")
    return values


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.bounded_run import remove_with_child
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.optimize.distillation.distill import distill
    from edge_inference.optimize.export.model_folder import export_folder
    from edge_inference.optimize.training.labeled_dataset import split_dataset
    from edge_inference.optimize.training.torch_model import save_weights

    _check(options)
    output = Path(options.output).expanduser()
    teacher, dataset = _open_teacher_and_data(options)
    source, student = _make_student(options, teacher, dataset)
    split = split_dataset(dataset, options.seed)
    settings = _read_settings(options, student)
    with (
        cancel_on_signal() as cancelled,
        show_progress(f"distilling {teacher.name}", sys.stdout, options.json) as progress,
    ):
        report = distill(
            student,
            teacher,
            split.train,
            settings,
            lambda phase, fraction: progress(phase, _TRAINED * (fraction or 0.0)),
            cancelled,
            measured_on=split.test,
            compare_alone=options.compare_alone,
            latency_runs=_LATENCY_RUNS,
        )
        export_folder(
            report.model,
            output,
            calibration=split.train,
            evaluation=split.test,
            description=f"{student.name}, distilled from {teacher.name}",
            progress=lambda phase, fraction: progress(
                phase, _TRAINED + (1 - _TRAINED) * (fraction or 0.0)
            ),
            cancelled=cancelled,
            before_staging=remove_with_child,
        )
        if options.weights_output is not None:
            save_weights(report.model.module, options.weights_output)
    _print(options, report, source, output)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise UsageError for options that exclude each other or would have no effect."""
    from edge_inference.core.disk import check_new_file

    if options.student is None:
        for name in ("argument", "weights"):
            if getattr(options, name):
                raise UsageError(f"--{name} is for --student; --ratio makes a student of its own")
    elif options.kind is not None:
        raise UsageError("--kind is for --ratio; --student is a network of your own")
    if not _is_module(options.teacher) and (options.teacher_argument or options.teacher_weights):
        raise UsageError(
            "--teacher-argument and --teacher-weights are for a teacher MODULE:FUNCTION; "
            f"{options.teacher} has its weights in it"
        )
    if options.feature_weight is not None and not options.feature:
        raise UsageError("--feature-weight needs --feature STUDENT_LAYER=TEACHER_LAYER")
    output = Path(options.output)
    if output.exists() or output.is_symlink():
        raise UsageError(f"--output {output}: it exists already; name a new folder")
    if options.weights_output is not None:
        check_new_file(options.weights_output, "--weights-output")


def _is_module(teacher: str) -> bool:
    return ":" in teacher and not Path(teacher).exists()


def _open_teacher_and_data(options: argparse.Namespace) -> tuple[Teacher, LabeledDataset]:
    """Return both; each may decide the format of the other's images."""
    from edge_inference.cli.perception.run_options import search_path
    from edge_inference.core.models.model_search import find_model
    from edge_inference.optimize.distillation.students import planar_input
    from edge_inference.optimize.distillation.teachers import OnnxTeacher, TorchTeacher
    from edge_inference.optimize.training.torch_model import ModuleSource, TorchModel, load_module
    from edge_inference.optimize.training.train import deterministic

    path = Path(options.teacher).expanduser()
    if not _is_module(options.teacher) and path.suffix.lower() != _ONNX_FILE:
        teacher = OnnxTeacher(find_model(options.teacher, search_path(options.model_path)))
        return teacher, shared.read_dataset(options, planar_input(teacher.input))
    dataset = shared.read_dataset(options)
    if path.suffix.lower() == _ONNX_FILE:
        return OnnxTeacher.from_file(path, dataset.input, dataset.labels), dataset
    source = ModuleSource(options.teacher, dict(options.teacher_argument), options.teacher_weights)
    name = options.teacher.rpartition(":")[2]
    with deterministic(options.seed):
        module = load_module(source)
    return TorchTeacher(TorchModel(module, dataset.input, dataset.labels, name)), dataset


def _make_student(
    options: argparse.Namespace, teacher: Teacher, dataset: LabeledDataset
) -> tuple[ModuleSource, TorchModel]:
    """Return the student, and the function and arguments that made it."""
    from edge_inference.optimize.distillation.students import plan_student
    from edge_inference.optimize.training.torch_model import ModuleSource, TorchModel, load_module
    from edge_inference.optimize.training.train import deterministic

    if options.student is None:
        kind = options.kind or "auto"
        source = plan_student(teacher, len(dataset.labels), options.ratio, kind)
        name = f"{teacher.name}_student"
    else:
        source = ModuleSource(options.student, dict(options.argument), options.weights)
        name = options.student.rpartition(":")[2]
    with deterministic(options.seed):
        module = load_module(source)
    return source, TorchModel(module, dataset.input, dataset.labels, name)


def _read_settings(options: argparse.Namespace, student: TorchModel) -> Distillation:
    from edge_inference.optimize.distillation.distill import Distillation, DistillationStage
    from edge_inference.optimize.distillation.unlabeled_images import open_unlabeled

    weight = _DEFAULT_FEATURE_WEIGHT if options.feature_weight is None else options.feature_weight
    unlabeled = None
    if options.unlabeled is not None:
        unlabeled = open_unlabeled(options.unlabeled, student.input)
        shared.print_skipped(unlabeled)
    stages = tuple(
        DistillationStage(
            uses_unlabeled=each.get("unlabeled", True),
            **{key: value for key, value in each.items() if key != "unlabeled"},
        )
        for each in options.stage
    )
    return Distillation(
        temperature=options.temperature,
        alpha=options.alpha,
        features=weight if options.feature else 0.0,
        feature_layers=tuple(options.feature),
        training=shared.read_training(options),
        unlabeled=unlabeled,
        stages=stages,
    )


def _print(
    options: argparse.Namespace, report: DistillationReport, source: ModuleSource, output: Path
) -> None:
    if options.json:
        made_by = {"function": source.function, "arguments": dict(source.arguments)}
        summary = {**report.to_json(), "student_source": made_by, "folder": str(output)}
        sys.stdout.write(json.dumps({"summary": summary}) + "\n")
        return
    for stage in report.stages if len(report.stages) > 1 else ():
        accuracy = "" if stage.accuracy is None else f", accuracy {stage.accuracy.share:.1%}"
        sys.stdout.write(
            f"stage {stage.number}: {stage.epochs} epochs on {stage.labeled} labeled and "
            f"{stage.unlabeled} unlabeled images, loss {stage.loss:.4f}{accuracy}\n"
        )
    sys.stdout.write(f"{report.summary()}\n")
    arguments = "".join(
        f" --argument {shlex.quote(f'{key}={json.dumps(value)}')}"
        for key, value in source.arguments.items()
    )
    sys.stdout.write(f"student: {source.function}{arguments}\nmodel folder: {output}\n")
