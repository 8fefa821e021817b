"""What a processor can do with bytes, told from recorded texts of Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.backends.ort import session_options
from edge_inference.backends.processor import UNKNOWN, Processor, find_processor

RECORDED = Path(__file__).parents[1] / "cpuinfo"

KNOWN = {
    "intel_xeon_sapphire_rapids": Processor("amx_int8", saturates=False),
    "intel_xeon_ice_lake": Processor("avx512_vnni", saturates=False),
    "intel_core_alder_lake": Processor("avx_vnni", saturates=False),
    "intel_xeon_skylake": Processor("avx512bw", saturates=True),
    "amd_epyc_milan": Processor("avx2", saturates=True),
    "jetson_orin": Processor("asimddp", saturates=False),
    "raspberry_pi_4": Processor("asimd", saturates=False),
    "arm_neoverse_v1": Processor("i8mm", saturates=False),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_recorded_cpu_is_identified(name: str) -> None:
    assert find_processor(RECORDED / f"{name}.txt") == KNOWN[name]


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
    assert find_processor(file) == Processor(UNKNOWN, saturates=True)


def test_a_machine_without_cpuinfo_is_unknown(tmp_path: Path) -> None:
    assert find_processor(tmp_path / "none") == Processor(UNKNOWN, saturates=True)
    assert find_processor(tmp_path) == Processor(UNKNOWN, saturates=True)


def test_the_abilities_are_those_of_all_cores(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("flags\t: sse2 avx2 avx_vnni\n\nflags\t: sse2 avx2\n")
    assert find_processor(file) == Processor("avx2", saturates=True)
    file = tmp_path / "arm"
    file.write_text("Features\t: asimd asimddp i8mm\n\nFeatures\t: asimd asimddp\n")
    assert find_processor(file) == Processor("asimddp", saturates=False)


@pytest.mark.parametrize("name", KNOWN)
def test_exact_kernels_are_set_only_for_a_cpu_that_saturates(name: str) -> None:
    options = session_options(_Runtime, 2, KNOWN[name])
    assert options.intra_op_num_threads == 2
    expected = {"session.x64quantprecision": "1"} if KNOWN[name].saturates else {}
    assert options.entries == expected


class _Runtime:
    """The part of ONNX Runtime that takes options."""

    class SessionOptions:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value
