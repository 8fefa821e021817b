"""Decoders: convert a model's raw outputs to results in source pixels.

A decoder is a plain function; :func:`register` gives it a name::

    @register("mine", MySettings)
    def decode(outputs, context, settings):
        ...

``model.yaml`` refers to it as ``package.module:decode``, or as ``mine`` where an installed package
lists it as an entry point, see ``docs/extending.md``.
"""

from __future__ import annotations

from edge_inference.core.decoders.decoder_table import DECODERS, find, names
from edge_inference.core.decoders.registry import DecodeContext, Decoder, DecoderEntry, register

__all__ = [
    "DECODERS",
    "DecodeContext",
    "Decoder",
    "DecoderEntry",
    "find",
    "names",
    "register",
]
