"""The levels that the sensors of a machine give: CPU, GPU and power."""

from __future__ import annotations

from collections.abc import Iterator

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading

_CPU = "cpu/load"
#: GPUs under devfreq, and those that NVML reads.
_GPUS = ("gpu/", "nvml/")

NO_GPU = "no sensor reports the load of a GPU"
NO_GPU_MEMORY = "no sensor reports the memory in use of a GPU"
NO_POWER = "no sensor reports the power of the whole board"
NO_CPU = "no sensor reports the load of the CPU"


def platform_levels(state: PlatformState) -> Iterator[tuple[str, float | str]]:
    """Yield each measure with its value, or the reason why there is none.

    Of several GPUs the one with the highest value counts.
    """
    cpu = state.named(_CPU)
    yield "cpu_percent", _percent([cpu] if cpu else [], NO_CPU)
    yield "gpu_percent", _percent(_of_gpus(state, "load"), NO_GPU)
    yield "gpu_memory_percent", _percent(_of_gpus(state, "memory_used"), NO_GPU_MEMORY)
    yield "power_w", NO_POWER if state.power_w is None else state.power_w


def _of_gpus(state: PlatformState, quantity: str) -> list[Reading]:
    return [
        each
        for each in state.readings
        if each.name.startswith(_GPUS) and each.name.endswith(f"/{quantity}")
    ]


def _percent(readings: list[Reading], missing: str) -> float | str:
    values = [each.value for each in readings if each.value is not None]
    if values:
        return 100.0 * max(values)
    problem = next((each.problem for each in readings if each.problem), "")
    return f"{readings[0].name}: {problem}" if problem else missing
