"""GPUs of desktops and servers, read with NVIDIA's management library (NVML).

Without the package or the driver there are no sensors, and ``on_problem`` is called with the
reason. On a Jetson the library returns "not supported" for nearly every quantity; a quantity
that is not supported at the probe is left out.
"""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Channel, Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_MIN_C, _MAX_C = -40.0, 130.0
#: The value of an unsigned field that means "not available".
_NOT_AVAILABLE = 0xFFFFFFFF


@dataclass(frozen=True)
class _GpuQuantity:
    """One quantity of a GPU. ``query`` takes the library and the GPU's handle.

    Its result divided by ``divisor`` is in the unit of ``quantity``.
    """

    name: str
    quantity: Quantity
    query: Callable[[Any, Any], int]
    divisor: float = 1.0
    role: Role = Role.NONE
    min_value: float = 0.0
    max_value: float = math.inf

    def make_channel(self, gpu: str) -> Channel:
        """Return the channel of this quantity on a GPU."""
        return Channel(
            f"nvml/{gpu}/{self.name}",
            "NVML",
            self.quantity,
            role=self.role,
            min_value=self.min_value,
            max_value=self.max_value,
            device=f"nvml/{gpu}",
        )


def _temperature(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))


def _power_mw(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetPowerUsage(gpu))


def _load(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)


def _memory_load(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetUtilizationRates(gpu).memory)


def _memory_used_ppm(nvml: Any, gpu: Any) -> int:
    memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
    return round(1e6 * memory.used / memory.total) if memory.total else _NOT_AVAILABLE


def _clock_mhz(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_GRAPHICS))


def _memory_clock_mhz(nvml: Any, gpu: Any) -> int:
    return int(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM))


def _is_throttling(nvml: Any, gpu: Any) -> int:
    """Return 1 while heat or the power brake limits the clocks."""
    reasons = (
        nvml.nvmlClocksThrottleReasonSwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwSlowdown
        | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )
    return int(bool(_clock_reasons(nvml, gpu) & reasons))


def _is_power_capped(nvml: Any, gpu: Any) -> int:
    """Return 1 while the power limit limits the clocks, as at full load on many boards."""
    return int(bool(_clock_reasons(nvml, gpu) & nvml.nvmlClocksThrottleReasonSwPowerCap))


def _clock_reasons(nvml: Any, gpu: Any) -> int:
    # The name in drivers before 535; later drivers still accept it.
    return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


_QUANTITIES = (
    _GpuQuantity(
        "temperature",
        Quantity.TEMPERATURE,
        _temperature,
        role=Role.CONTROL,
        min_value=_MIN_C,
        max_value=_MAX_C,
    ),
    _GpuQuantity("power", Quantity.POWER, _power_mw, divisor=1e3),
    _GpuQuantity("load", Quantity.SHARE, _load, divisor=100, max_value=1.0),
    _GpuQuantity("memory_load", Quantity.SHARE, _memory_load, divisor=100, max_value=1.0),
    _GpuQuantity("memory_used", Quantity.SHARE, _memory_used_ppm, divisor=1e6, max_value=1.0),
    _GpuQuantity("clock", Quantity.FREQUENCY, _clock_mhz, divisor=1e-6),
    _GpuQuantity("memory_clock", Quantity.FREQUENCY, _memory_clock_mhz, divisor=1e-6),
    _GpuQuantity("throttling", Quantity.STATE, _is_throttling, role=Role.THROTTLE),
    _GpuQuantity("power_cap", Quantity.STATE, _is_power_capped),
)


@dataclass(eq=False)
class NvmlGpu:
    """One GPU. It keeps ``library`` initialised."""

    handle: Any
    quantities: tuple[tuple[_GpuQuantity, Channel], ...]
    library: _Library
    clock: Clock = field(default=time.monotonic_ns)

    @property
    def name(self) -> str:
        """The name of the first reading."""
        return self.quantities[0][1].name

    @property
    def names(self) -> Sequence[str]:
        """The names of all readings."""
        return [channel.name for _, channel in self.quantities]

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a STALE reading of every name."""
        problem = "the sensor has not been read yet"
        return [
            each.make_empty_reading(ReadingStatus.STALE, problem, stamp_ns)
            for _, each in self.quantities
        ]

    def read(self) -> Sequence[Reading]:
        """Read every quantity once."""
        return [self._read(quantity, channel) for quantity, channel in self.quantities]

    def _read(self, quantity: _GpuQuantity, channel: Channel) -> Reading:
        nvml = self.library.nvml
        try:
            number = quantity.query(nvml, self.handle)
        except nvml.NVMLError as error:
            return channel.make_empty_reading(*_classify_error(nvml, error), self.clock())
        if number == _NOT_AVAILABLE:
            problem = "the driver reports that it is not available"
            return channel.make_empty_reading(ReadingStatus.INVALID, problem, self.clock())
        return channel.make_reading(number / quantity.divisor, self.clock())


class _Library:
    """NVML, initialised as long as this object is referenced."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        nvml.nvmlInit()
        # NVML counts its initialisations. No shutdown is needed at the end of the program.
        weakref.finalize(self, _shut_down, nvml).atexit = False


def find(
    nvml: Any = None,
    clock: Clock = time.monotonic_ns,
    on_problem: Callable[[str], None] | None = None,
) -> list[Sensor]:
    """Return a sensor for each GPU: ``nvml/<PCI address>/temperature``, ``…/power`` and so on.

    ``nvml`` is the module ``pynvml``, imported by default; ``on_problem`` receives the reason
    for a missing sensor as a sentence. A missing package, driver or GPU raises no exception.
    """
    report = on_problem or _ignore
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            report("NVML is not used: the package nvidia-ml-py is not installed (extra 'nvml')")
            return []
        nvml = pynvml
    try:
        library = _Library(nvml)
    except nvml.NVMLError as error:
        report(f"NVML found no driver: {error}")
        return []
    return list(_find_gpus(library, clock, report))


def _find_on_board(_: SystemFiles, board: Board, clock: Clock) -> list[Sensor]:
    return find(clock=clock) if board.settings.nvml else []


def _ignore(text: str) -> None:
    del text


def _shut_down(nvml: Any) -> None:
    with contextlib.suppress(nvml.NVMLError):  # already shut down
        nvml.nvmlShutdown()


def _find_gpus(library: _Library, clock: Clock, report: Callable[[str], None]) -> Iterator[Sensor]:
    nvml = library.nvml
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        report(f"NVML cannot count the GPUs: {error}")
        return
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            report(f"NVML cannot open GPU {index}: {error}")
            continue
        quantities = tuple(_find_supported(nvml, handle, _format_address(nvml, handle, index)))
        if quantities:
            yield NvmlGpu(handle, quantities, library, clock)
        else:
            report(f"NVML measures nothing on GPU {index}")


def _format_address(nvml: Any, handle: Any, index: int) -> str:
    """Return the PCI address of a GPU, or its number if it has none."""
    try:
        address = nvml.nvmlDeviceGetPciInfo(handle).busId
    except nvml.NVMLError:
        return str(index)
    text = address.decode() if isinstance(address, bytes) else str(address)
    return text.lower().removeprefix("0000") if len(text) > len("0000:00:00.0") else text.lower()


def _find_supported(nvml: Any, handle: Any, gpu: str) -> Iterator[tuple[_GpuQuantity, Channel]]:
    unsupported = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    for quantity in _QUANTITIES:
        try:
            quantity.query(nvml, handle)
        except nvml.NVMLError as error:
            if error.value in unsupported:
                continue
        channel = quantity.make_channel(gpu)
        if quantity.quantity is Quantity.TEMPERATURE:
            channel = _add_limits(nvml, handle, channel)
        yield quantity, channel


def _add_limits(nvml: Any, handle: Any, channel: Channel) -> Channel:
    """Add the temperatures at which the GPU throttles and shuts down."""
    kinds = (
        nvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
        nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    )
    found = [_read_threshold(nvml, handle, kind) for kind in kinds]
    throttle = min((each for each in found if each is not None), default=None)
    critical = _read_threshold(nvml, handle, nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN)
    return replace(channel, throttle=throttle, critical=critical)


def _read_threshold(nvml: Any, handle: Any, kind: int) -> float | None:
    try:
        limit = float(nvml.nvmlDeviceGetTemperatureThreshold(handle, kind))
    except nvml.NVMLError:
        return None
    return limit if 0 < limit <= _MAX_C else None


def _classify_error(nvml: Any, error: Any) -> tuple[ReadingStatus, str]:
    """Return the status of a reading after this error, and the reason as a sentence."""
    gone = (
        nvml.NVML_ERROR_GPU_IS_LOST,
        nvml.NVML_ERROR_NOT_FOUND,
        nvml.NVML_ERROR_UNINITIALIZED,
        nvml.NVML_ERROR_DRIVER_NOT_LOADED,
    )
    if error.value in gone:
        return ReadingStatus.ABSENT, f"the GPU no longer exists ({error})"
    return ReadingStatus.INVALID, f"NVML cannot read it ({error})"


#: It reads no files, so it runs only on the machine itself.
PROBE = SensorProbe("nvml", _find_on_board)
