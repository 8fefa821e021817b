"""The int8 abilities of a CPU, from recorded /proc/cpuinfo files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.backends.cpu_instructions import UNKNOWN, CpuInstructions, find_cpu_instructions
from edge_inference.backends.ort import session_options

RECORDED = Path(__file__).parents[1] / "cpuinfo"

KNOWN = {
    "intel_xeon_sapphire_rapids": CpuInstructions("amx_int8", saturates=False),
    "intel_xeon_ice_lake": CpuInstructions("avx512_vnni", saturates=False),
    "intel_core_alder_lake": CpuInstructions("avx_vnni", saturates=False),
    "intel_xeon_skylake": CpuInstructions("avx512bw", saturates=True),
    "amd_epyc_milan": CpuInstructions("avx2", saturates=True),
    "jetson_orin": CpuInstructions("asimddp", saturates=False),
    "raspberry_pi_4": CpuInstructions("asimd", saturates=False),
    "arm_neoverse_v1": CpuInstructions("i8mm", saturates=False),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_recorded_cpu_is_identified(name: str) -> None:
    assert find_cpu_instructions(RECORDED / f"{name}.txt") == KNOWN[name]


def test_every_recording_is_tested() -> None:
    assert sorted(KNOWN) == sorted(file.stem for file in RECORDED.glob("*.txt"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00 no text",
        b"flags",
        b"flags :\n",
        b"processor\t: 0\nmodel name\t: avx512_vnni\n",
        b"vmx flags\t: avx512_vnni\n",
        b"Features\t: something\n",
        b"flags\t\t: xavx512_vnni avx2_\n",
    ],
)
def test_an_unknown_cpu_counts_as_one_that_saturates(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_bytes(text)
    assert find_cpu_instructions(file) == CpuInstructions(UNKNOWN, saturates=True)


def test_a_machine_without_cpuinfo_is_unknown(tmp_path: Path) -> None:
    assert find_cpu_instructions(tmp_path / "none") == CpuInstructions(UNKNOWN, saturates=True)
    assert find_cpu_instructions(tmp_path) == CpuInstructions(UNKNOWN, saturates=True)


def test_the_abilities_are_those_of_all_cores(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("flags\t: sse2 avx2 avx_vnni\n\nflags\t: sse2 avx2\n")
    assert find_cpu_instructions(file) == CpuInstructions("avx2", saturates=True)
    file = tmp_path / "arm"
    file.write_text("Features\t: asimd asimddp i8mm\n\nFeatures\t: asimd asimddp\n")
    assert find_cpu_instructions(file) == CpuInstructions("asimddp", saturates=False)


@pytest.mark.parametrize("name", KNOWN)
def test_exact_kernels_are_set_only_for_a_cpu_that_saturates(name: str) -> None:
    options = session_options(_Runtime, 2, KNOWN[name])
    assert options.intra_op_num_threads == 2
    exact = "1" if KNOWN[name].saturates else None
    assert options.entries.get("session.x64quantprecision") == exact


class _Runtime:
    """The session options of ONNX Runtime."""

    class SessionOptions:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value
