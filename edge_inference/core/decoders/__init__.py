"""Decoders: convert a model's raw outputs to results in source pixels.

A decoder is a plain function; :func:`register` gives it a name::

    @register("mine", MySettings)
    def decode(outputs, context, settings):
        ...

``model.yaml`` refers to it as ``mine``, or as ``package.module:decode``, which
also imports the module.
"""

from __future__ import annotations

from edge_inference.core.decoders import (
    classification,
    depth,
    detr,
    nanodet,
    segmentation,
    ssd,
    yolo,
    yolox,
)
from edge_inference.core.decoders.registry import (
    DecodeContext,
    Decoder,
    DecoderEntry,
    find,
    names,
    register,
)

__all__ = [
    "DecodeContext",
    "Decoder",
    "DecoderEntry",
    "classification",
    "depth",
    "detr",
    "find",
    "names",
    "nanodet",
    "register",
    "segmentation",
    "ssd",
    "yolo",
    "yolox",
]
