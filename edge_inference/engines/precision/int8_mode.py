"""int8 in two ways on a processor that adds products of bytes in 16 bits: exact, or fast.

Exact is the default: weights of 8 bits, and ONNX Runtime's kernels that lose nothing, which
are hardly quicker than fp32. Fast are weights of 7 bits: no pair of their products leaves 16
bits, so that the quick kernels lose nothing either; the weights themselves are coarser. Other
processors have one way, which is both.
"""

from __future__ import annotations

from edge_inference.backends.processor import Processor, find_processor
from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError

EXACT = "exact"
FAST = "fast"
INT8_MODES = (EXACT, FAST)

FULL_BITS = 8
_FAST_BITS = 7


def weight_bits(mode: str, processor: Processor | None = None) -> int:
    """Return the bits of int8 weights for a mode; ``processor`` is this machine's where None.

    Raises ConfigError for an unknown mode.
    """
    if mode not in INT8_MODES:
        raise ConfigError(f"int8_mode: {mode!r} is unknown{suggestion(mode, INT8_MODES)}")
    is_fast = mode == FAST and (processor or find_processor()).saturates
    return _FAST_BITS if is_fast else FULL_BITS


def mode_in_use(bits: int, processor: Processor | None = None) -> str | None:
    """Return the mode that weights of so many bits are computed in; None where there is one."""
    if not (processor or find_processor()).saturates:
        return None
    return FAST if bits < FULL_BITS else EXACT


def describe_int8_mode(mode: str | None) -> str:
    """Say how int8 is computed."""
    what = {None: "", EXACT: " exact, no VNNI", FAST: " fast, 7-bit weights, no VNNI"}
    return f"int8{what[mode]}"
