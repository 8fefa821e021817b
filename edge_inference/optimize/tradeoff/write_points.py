"""Writes which operating points a model has into its ``model.yaml``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from edge_inference.core.models.declared_points import KEY
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.yaml_file import load_yaml
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.tradeoff.pareto import pareto_front
from edge_inference.optimize.tradeoff.tradeoff_point import AGREEMENT, Tradeoff, TradeoffPoint
from edge_inference.optimize.yaml_edit import set_list


def write_operating_points(folder: Path, points: Sequence[TradeoffPoint]) -> tuple[str, ...]:
    """Write points into ``model.yaml``, most accurate first; return the written entries as text.

    Only names are written: what the points cost is in the cache of each machine. Points of other
    models get their model's name; a robot finds it on its model path. Nodes run one image at a time
    in the input size of the model, so points of a batch, of another input size, and those with a
    problem are left out. Of two int8 modes of a model the faster is written. Everything else in the
    file stays as it is, character by character. Raises ModelError for a model that cannot be read
    or a file that cannot be edited or written, ConfigError if no point is left.
    """
    model = load_model(folder)
    served = [point for point in points if _is_served(point, model)]
    if not served:
        raise ConfigError(
            f"model {model.name}: no point to write; a node runs one image at a time in the input "
            "size of model.yaml, with an engine that passes the self-check"
        )
    entries = _entries(model.name, served)
    file = (folder / DESCRIPTION_FILE).resolve()  # a colcon symlink install has links to the files
    expected = {**load_yaml(file).plain(), KEY: entries}
    try:
        text = set_list(file.read_bytes().decode(), KEY, entries)
    except (ConfigError, OSError) as error:
        raise _edit_error(folder, entries) from error
    checked = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    write_atomically(checked, text.encode())
    try:
        got = load_yaml(checked).plain()
        if got != expected:
            raise _edit_error(folder, entries)
        checked.replace(file)
    except ConfigError as error:
        raise _edit_error(folder, entries) from error
    except OSError as error:
        raise ModelError(f"{file}: cannot be written ({error.strerror})") from error
    finally:
        checked.unlink(missing_ok=True)
    return tuple(" ".join(entry.values()) for entry in entries)


def servable_front(tradeoff: Tradeoff, model: ModelDescription) -> tuple[TradeoffPoint, ...]:
    """Return the Pareto front of accuracy and latency over the points that a node can serve.

    Points of other models are among them only where accuracy says which model is better: not where
    it is the agreement of each with itself. ONNX Runtime's CPU engine computes fp16 in fp32, so
    that chance would decide between the two: its fp16 is left out.
    """
    return pareto_front(
        [
            point
            for point in tradeoff.points
            if _is_served(point, model)
            and (point.backend, point.precision) != ("ort", "fp16")
            and (point.model == model.name or tradeoff.accuracy_kind != AGREEMENT)
        ]
    ).points


def _is_served(point: TradeoffPoint, model: ModelDescription) -> bool:
    size = (model.input.width, model.input.height)
    is_own_size = point.model != model.name or (point.width, point.height) == size
    return point.batch == 1 and not point.problem and is_own_size


def _entries(own: str, points: Sequence[TradeoffPoint]) -> list[dict[str, str]]:
    """Return the entries of the file, one for each model and precision."""
    fastest: dict[tuple[str, str], TradeoffPoint] = {}
    for point in sorted(points, key=lambda each: (each.image_s is None, each.image_s or 0.0)):
        fastest.setdefault((point.model, point.precision), point)
    ordered = sorted(
        fastest.values(),
        key=lambda each: (-(each.accuracy.share if each.accuracy else 0.0), -(each.image_s or 0.0)),
    )
    return [
        {
            "precision": point.precision,
            **({"int8_mode": point.int8_mode} if point.int8_mode else {}),
            **({"model": point.model} if point.model != own else {}),
        }
        for point in ordered
    ]


def _edit_error(folder: Path, entries: Sequence[dict[str, str]]) -> ModelError:
    return ModelError(
        f"{folder / DESCRIPTION_FILE}: its layout cannot be edited here; write it as lines of "
        f"`key: value`, with a list {KEY}: {list(entries)}"
    )
