"""Writes the recordings in this folder from the documented layout of each board.

Run it with the project on the path; ``test_platform_recordings.py`` checks that its output is
committed. The values are examples; the layouts and their defects are those of the boards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jetsons
import other_machines as others
from edge_inference.platforms.recording.recording import (
    FileContent,
    RecordedSample,
    RecordingHeader,
    format_header,
    format_sample,
)
from layouts import Files

HERE = Path(__file__).resolve().parent
NOTE = "written from the documented layout of the board; the values are examples"
HEAT_NOTE = "warms up from 45 to 84 and cools down to 50 degrees within a minute"
_PERIOD_S = 0.5


def recordings() -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each recording."""
    for name, board, kernel, samples in _still():
        yield name, _text(RecordingHeader(board, kernel, f"{NOTE}: {_about(name)}", True), samples)
    header = RecordingHeader("Jetson Orin NX", "5.15.148-tegra", f"{NOTE}: {HEAT_NOTE}", True)
    yield "orin_nx_heats_up", _text(header, list(_warming_up()))


def _still() -> Iterator[tuple[str, str, str, Sequence[Files]]]:
    jetpack_4, jetpack_5, jetpack_6 = "4.9.337-tegra", "5.10.216-tegra", "5.15.148-tegra"
    yield "jetson_nano", "Jetson Nano", jetpack_4, [jetsons.nano()]
    yield "agx_xavier", "Jetson AGX Xavier", jetpack_4, [jetsons.agx_xavier()]
    yield "xavier_nx", "Jetson Xavier NX", jetpack_5, [jetsons.xavier_nx()]
    yield "orin_nano", "Jetson Orin Nano", jetpack_6, [jetsons.orin_nano()]
    yield "orin_nx", "Jetson Orin NX", jetpack_6, [jetsons.orin_nx()]
    yield "agx_orin", "Jetson AGX Orin", jetpack_5, [jetsons.agx_orin()]
    yield "agx_thor", "Jetson AGX Thor", "6.8.12-tegra", [jetsons.thor()]
    yield "pc", "PC", "6.8.0-45-generic", list(_working_pc())
    yield "laptop", "laptop", "6.8.0-45-generic", list(_running_laptop())
    yield "two_batteries", "notebook", "6.8.0-45-generic", list(_exchanging_batteries())
    yield "raspberry_pi", "Raspberry Pi 5", "6.6.31+rpt-rpi-2712", [others.raspberry_pi()]
    yield "server", "server", "5.15.0-122-generic", [others.server()]
    yield "bare_machine", "virtual machine", "6.1.0-25-cloud-amd64", [others.bare_machine()]


def _about(name: str) -> str:
    return {
        "pc": "a sample each half second at 20 W; the counter of the package wraps after 1 s",
        "laptop": "a sample each half second on battery",
        "two_batteries": "on batteries, from 1 s on with a charger, from 2 s on without the second",
    }.get(name, "one sample")


def _working_pc() -> Iterator[Files]:
    """20 W of the package, 12 of them of the cores, and a busy share of 0.5."""
    for sample in range(5):
        energy = others.RAPL_HIGHEST - 15_000_000 + sample * 10_000_000
        package = energy % (others.RAPL_HIGHEST + 1)
        yield others.pc(package, 40_120_000_000 + sample * 6_000_000, 25 * sample)


def _running_laptop() -> Iterator[Files]:
    for sample in range(5):
        yield others.laptop(31_400_000 - sample * 2_000, 14_250_000 + sample * 10_000)


def _exchanging_batteries() -> Iterator[Files]:
    for sample in range(6):
        time_s = sample * _PERIOD_S
        yield others.two_batteries(charger=time_s >= 1.0, exchangeable=time_s < 2.0)


def _warming_up() -> Iterator[Files]:
    """Two seconds idle, 32 at work, then idle: the die follows the power with 12 s delay."""
    idle_c, work_c, delay_s = 45.0, 86.9, 12.0
    temperature_c = idle_c
    for sample in range(121):
        time_s = sample * _PERIOD_S
        works = 2 <= time_s < 34
        goal_c = work_c if works else idle_c
        yield {
            **jetsons.orin_nx(
                tj=round(temperature_c * 8) * 125,
                # A hot die leaks more.
                input_ma=(3400 if works else 1440) + round((temperature_c - idle_c) / 5) * 24,
                core_ma=2080 if works else 400,
                load=940 if works else 60,
            ),
            "proc/stat": (
                f"cpu  {40000 + 200 * sample} 0 0 {160000 + 200 * sample} 0 0 0\n".encode()
            ),
        }
        temperature_c = goal_c + (temperature_c - goal_c) * math.exp(-_PERIOD_S / delay_s)


def _text(header: RecordingHeader, samples: Sequence[Files]) -> str:
    lines = [format_header(header)]
    before: Files = {}
    for number, files in enumerate(samples):
        gone = [path for path in before if path not in files]
        changed: dict[str, FileContent | None] = dict.fromkeys(gone)
        changed |= {path: each for path, each in files.items() if before.get(path) != each}
        lines.append(format_sample(RecordedSample(number * _PERIOD_S, changed)))
        before = files
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, text in recordings():
        (HERE / f"{name}.jsonl").write_text(text)
