"""Models of Transformers, whose config.json and preprocessor_config.json may be beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_inference.core.exports.proposal import (
    CHECK_IT,
    IMAGENET,
    RAW,
    UNIT,
    Evidence,
    Proposal,
    pixels,
    read_numbers,
)

#: Architectures whose class scores are one sigmoid each, without "no object".
_SIGMOID = ("rtdetr", "rt_detr", "dfine", "d_fine", "deformable", "conditional", "deta")
#: Number of queries of DETR itself.
_DETR_QUERIES = 100
#: The interpolation by its number in Pillow.
_INTERPOLATIONS = {0: "nearest", 2: "linear", 3: "cubic"}
_MAX_SIDE = 16384
_COLOR = f"assumed RGB, as Transformers uses; {CHECK_IT}"


def propose_detr(evidence: Evidence) -> Proposal | None:
    """Propose for DETR and its relatives, with class logits and boxes of each query."""
    logits, boxes = evidence.first("logit", axes=3), evidence.first("box", axes=3)
    if not logits or not boxes or evidence.outputs[boxes].shape[2] != 4:
        return None
    config = evidence.sidecars.transformers
    names = f"{config.get('architectures', '')} {config.get('model_type', '')}".lower()
    names = names or evidence.stem.lower()
    queries = evidence.outputs[logits].shape[1]
    is_sigmoid = any(word in names for word in _SIGMOID)
    if not config:
        is_sigmoid = is_sigmoid or queries != _DETR_QUERIES
    settings = {"activation": "sigmoid" if is_sigmoid else "softmax"}
    settings |= {"logits_output": logits, "boxes_output": boxes}
    scale = by_preprocessor(evidence, UNIT if is_sigmoid else IMAGENET)
    labels = evidence.sidecars.labels
    proposal = Proposal("DETR (Transformers)", "detection", "detr", settings, scale, labels)
    proposal = proposal.assuming({"input.color": _COLOR, **_unsaid(evidence)})
    if config:
        return proposal
    text = (
        f"assumed {settings['activation']} for {queries} queries; no config.json beside the file "
        "names the architecture"
    )
    return proposal.assuming({"decoder.activation": text})


def propose_transformers(evidence: Evidence) -> Proposal | None:
    """Propose for depth, segmentation and classification models of Transformers."""
    depth = next(evidence.named("predicted_depth"), None)
    is_transformers = evidence.image.name == "pixel_values"
    if depth is not None:
        kind = evidence.sidecars.transformers.get("depth_estimation_type")
        unit = "m" if kind == "metric" or "zoe" in evidence.stem.lower() else "inverse"
        settings = {"unit": unit} | ({"depth_output": depth} if len(evidence.outputs) > 1 else {})
        scale = by_preprocessor(evidence, IMAGENET)
        return Proposal("depth (Transformers)", "depth", "depth", settings, scale).assuming(
            {
                "input.color": _COLOR,
                "decoder.unit": f"assumed {unit}: "
                + (
                    "metres"
                    if unit == "m"
                    else "larger values are nearer, as DPT and Depth Anything"
                ),
                **_unsaid(evidence),
            }
        )
    logits = next(evidence.named("logits"), None)
    if not is_transformers or logits is None or evidence.outputs[logits].ndim != 4:
        return None
    settings = {"mask_output": logits} if len(evidence.outputs) > 1 else {}
    scale, labels = by_preprocessor(evidence, IMAGENET), evidence.sidecars.labels
    family = "segmentation (Transformers)"
    return Proposal(family, "segmentation", "segmentation", settings, scale, labels).assuming(
        {"input.color": _COLOR, **_unsaid(evidence)}
    )


def by_preprocessor(
    evidence: Evidence, default: Mapping[str, Any], resize: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keys of ``input`` by preprocessor_config.json, as far as it says."""
    resample = evidence.sidecars.preprocessor.get("resample")
    interpolation = _INTERPOLATIONS.get(resample) if isinstance(resample, int) else None
    more = {} if interpolation is None else {"interpolation": interpolation}
    resize = resize or {"resize": "stretch"}
    return pixels(evidence, preprocessor_scale(evidence, default), **resize, **more)


def preprocessor_crop(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return how preprocessor_config.json brings an image to the size of a classifier.

    The crop keeps ``crop_size`` of an image whose shorter side became ``size``; ConvNeXT names
    the fraction, ``crop_pct``, which it uses below 384 pixels.
    """
    size, crop = _shorter_side(values.get("size")), _shorter_side(values.get("crop_size"))
    fraction = values.get("crop_pct")
    if isinstance(fraction, float) and 0.01 <= fraction <= 1 and size is not None and size < 384:
        return {"resize": "center_crop", "crop_fraction": fraction}
    if not values.get("do_center_crop"):
        return {"resize": "stretch"}
    if size is None or crop is None or not values.get("do_resize", True):
        return {"resize": "center_crop", "crop_fraction": 1.0}
    return {"resize": "center_crop", "crop_fraction": round(min(max(crop / size, 0.01), 1), 4)}


def _shorter_side(size: object) -> int | None:
    if isinstance(size, Mapping):
        sides = [size[key] for key in ("shortest_edge", "height", "width") if key in size]
    else:
        sides = [size]
    is_known = bool(sides) and all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides)
    return min(sides) if is_known else None


def _unsaid(evidence: Evidence) -> dict[str, str]:
    """Return what is assumed where there is no preprocessor_config.json."""
    if evidence.sidecars.preprocessor:
        return {}
    return {
        "input.mean": "assumed; no preprocessor_config.json beside the file says the normalization"
    }


def preprocessor_scale(evidence: Evidence, default: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return mean and std by preprocessor_config.json, the default without one."""
    values = evidence.sidecars.preprocessor
    if not values:
        return default
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    mean, std = read_numbers(values.get("image_mean")), read_numbers(values.get("image_std"))
    if not isinstance(factor, int | float) or not factor:
        return default
    if not values.get("do_normalize", mean is not None):
        return {"mean": [0.0], "std": [round(1 / factor, 6)]} if factor != 1 else RAW
    if mean is None or std is None:
        return default
    return {
        "mean": [round(value / factor, 4) for value in mean],
        "std": [round(value / factor, 4) for value in std],
    }
