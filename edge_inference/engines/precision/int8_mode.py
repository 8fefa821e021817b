"""The two int8 modes of a CPU that adds products of bytes in 16 bits: exact and fast.

"exact", the default, uses 8-bit weights and ONNX Runtime's kernels without overflow, which
are hardly faster than fp32. "fast" uses 7-bit weights: no sum of two products exceeds 16
bits, so that the fast kernels are exact, but the weights are coarser. On other CPUs both
modes are the same.
"""

from __future__ import annotations

from edge_inference.backends.cpu_instructions import CpuInstructions, find_cpu_instructions
from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError

EXACT = "exact"
FAST = "fast"
INT8_MODES = (EXACT, FAST)

FULL_BITS = 8
REDUCED_BITS = 7


def weight_bits(mode: str, cpu: CpuInstructions | None = None) -> int:
    """Return the bits of int8 weights for a mode; ``cpu`` is this machine's by default.

    Raises ConfigError for an unknown mode.
    """
    if mode not in INT8_MODES:
        raise ConfigError(f"int8_mode: {mode!r} is unknown{suggestion(mode, INT8_MODES)}")
    is_fast = mode == FAST and (cpu or find_cpu_instructions()).saturates
    return REDUCED_BITS if is_fast else FULL_BITS


def mode_in_use(bits: int, cpu: CpuInstructions | None = None) -> str | None:
    """Return the mode for weights of a number of bits; None on a CPU with one mode."""
    if not (cpu or find_cpu_instructions()).saturates:
        return None
    return FAST if bits < FULL_BITS else EXACT


def describe_int8_mode(mode: str | None) -> str:
    """Return the mode as text."""
    suffix = {None: "", EXACT: " exact, no VNNI", FAST: " fast, 7-bit weights, no VNNI"}
    return f"int8{suffix[mode]}"
