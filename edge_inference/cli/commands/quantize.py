"""``edge-inference quantize``: the short form of ``edge-inference optimize quantize``."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize.quantize_post_training import add_quantize


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    add_quantize(commands, "edge-inference quantize")
