"""CPU time, memory, and what the sensors show while something is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_inference.core.runtime.memory_limit import resident_mib
from edge_inference.core.runtime.worker import format_error

#: Values of sensors by name; those without a value are left out.
Sense = Callable[[], Mapping[str, float]]
#: The name under which ``Sense`` gives the power of the machine in watts.
POWER = "power_w"

_PERIOD_S = 0.25


@dataclass(frozen=True)
class ResourceUse:
    """What a piece of work took; ``sensors`` are means by name over ``sensor_samples``.

    ``cpu_s`` is the CPU time of all threads of this process, ``memory_mib`` its resident memory at
    the end, None where it was not measured. ``problem`` says why there are no sensors.
    """

    wall_s: float
    cpu_s: float
    memory_mib: float | None
    sensors: Mapping[str, float] = field(default_factory=dict)
    sensor_samples: int = 0
    problem: str = ""

    @property
    def energy_j(self) -> float | None:
        """The energy of the whole machine, its idle power included; None without a sensor."""
        power_w = self.sensors.get(POWER)
        return None if power_w is None else power_w * self.wall_s


class ResourceMeter:
    """Measures from ``start`` to ``stop``, sensors in a thread of its own; may be started again."""

    def __init__(self, sense: Sense | None = None, period_s: float = _PERIOD_S) -> None:
        self._sense = sense
        self._period_s = period_s
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._sums: dict[str, list[float]] = {}
        self._samples = 0
        self._problem = ""
        self._wall_s = self._cpu_s = 0.0

    def start(self) -> None:
        """Begin a measurement."""
        self._sums, self._samples, self._problem = {}, 0, ""
        self._ending.clear()
        if self._sense is not None:
            self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
            self._thread.start()
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def stop(self) -> ResourceUse:
        """End the measurement and return it."""
        wall_s = time.perf_counter() - self._wall_s
        cpu_s = time.process_time() - self._cpu_s
        memory_mib = resident_mib()
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        return ResourceUse(wall_s, cpu_s, memory_mib, means, self._samples, self._problem)

    def _run(self) -> None:
        assert self._sense is not None
        while not self._ending.wait(self._period_s):
            try:
                values = self._sense()
            except Exception as error:  # a sensor of another package must not end a measurement
                self._problem = format_error(error)
                return
            for name, value in values.items():
                self._sums.setdefault(name, []).append(value)
            self._samples += 1
