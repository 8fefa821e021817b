"""Decoders: convert a model's raw outputs to results in source pixels.

A decoder is a plain function; :func:`register` gives it a name::

    @register("mine", MySettings)
    def decode(outputs, context, settings):
        ...

``model.yaml`` refers to it as ``package.module:decode``, or as ``mine`` where an installed package
lists it as an entry point, see ``docs/extending.md``.

What decoders share is here too: ``checks`` of the outputs, activations, the best class of each
row, the selection among overlapping boxes with all that stands beside them, and maps in the size
of the source image.
"""

from __future__ import annotations

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate, sigmoid, softmax
from edge_inference.core.decoders.box_formats import corners, input_size
from edge_inference.core.decoders.decoder_table import DECODERS, find, names
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    SelectionSettings,
    best_classes,
    select_best,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.nms import Overlaps
from edge_inference.core.decoders.registry import DecodeContext, Decoder, DecoderEntry, register
from edge_inference.core.decoders.source_maps import linear_to_source, nearest_to_source

__all__ = [
    "DECODERS",
    "Candidates",
    "DecodeContext",
    "Decoder",
    "DecoderEntry",
    "OverlapSettings",
    "Overlaps",
    "SelectionSettings",
    "activate",
    "best_classes",
    "checks",
    "corners",
    "find",
    "input_size",
    "linear_to_source",
    "names",
    "nearest_to_source",
    "register",
    "select_best",
    "select_non_overlapping",
    "sigmoid",
    "softmax",
    "to_detections",
]
