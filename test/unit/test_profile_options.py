"""The arguments that a profiled pipeline gets, and its figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.profile.pipeline_options import PipelineProfileOptions, pipeline_arguments
from edge_inference.cli.profile.profile_pipeline import _is_here
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.errors import ModelError, SourceError
from edge_inference.observe.profiling.pipeline_record import PipelineRecord
from edge_inference.observe.profiling.thread_meter import ThreadMeter

MINE = """\
name: mine
description: a camera alone
arguments:
  source: {description: images}
components:
  - {name: media_source, plugin: "edge_inference::MediaSource", parameters: {source: "${source}"}}
"""


def arguments(pipeline: str, source: str = "sample", **options: Any) -> dict[str, str]:
    return pipeline_arguments(PipelineProfileOptions(pipeline, source=source, **options))


def test_files_play_in_real_time_again_and_again() -> None:
    found = arguments("perception", rate=12.5)
    assert found["pace"] == "real_time"
    assert found["loop"] == "true"
    assert found["when_full"] == "drop_oldest"
    assert found["rate"] == "12.5"
    assert found["model"] == "nanodet"


def test_a_topic_has_no_pace() -> None:
    found = arguments("perception", "/camera/image_raw")
    assert found["image_topic"] == "/camera/image_raw"
    assert not {"source", "pace", "loop", "rate"} & set(found)


def test_a_pipeline_that_renames_its_arguments() -> None:
    found = arguments("robot", rate=5.0)
    assert {name for name in found if name.startswith("image_")} == {
        "image_source",
        "image_pace",
        "image_rate",
        "image_loop",
    }
    assert "source" not in found


def test_a_file_with_few_arguments(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    assert arguments(str(file)) == {"source": "sample"}
    with pytest.raises(UsageError, match="has no argument rate; it has source"):
        arguments(str(file), rate=2.0)
    with pytest.raises(UsageError, match="has no argument model; it has source"):
        arguments(str(file), model="nanodet")


@pytest.mark.parametrize(
    "options", [{"rate": 2.0}, {"backend": "ort"}, {"precision": "int8"}, {"int8_mode": "fast"}]
)
def test_options_that_voice_does_not_have(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: the pipeline voice has no"):
        arguments("voice", **options)


def test_what_cannot_be_used_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        arguments("perception", str(tmp_path / "none.mp4"))
    with pytest.raises(ModelError, match="no_such_model"):
        arguments("perception", model="no_such_model")


# The figures --------------------------------------------------------------------------------------


def timing(stage: str, process_ms: float | None = 10.0, **fields: Any) -> StageTiming:
    values = {"queue_ms": 1.0, "age_ms": 20.0, "stamp_ns": 1, **fields}
    return StageTiming(stage, f"/ai/{stage}", process_ms=process_ms, **values)


def test_a_stage_is_busy_while_it_processes_and_publishes() -> None:
    record = PipelineRecord()
    for process_ms in (10.0, 30.0):
        record.add_timing(timing("inference", process_ms, publish_ms=5.0, cpu_ms=process_ms / 2))
    record.add_timing(timing("inference", None, dropped="superseded"))
    (stage,) = record.stages(window_s=0.1)
    assert (stage.frames, stage.drops) == (2, {"superseded": 1})
    assert stage.busy == pytest.approx(0.5)
    assert (stage.process.p50, stage.publish.p50, stage.cpu_ms) == (20.0, 5.0, 10.0)
    assert stage.device_ms is None
    assert record.frames() == 2


def test_stages_are_in_the_order_of_the_way() -> None:
    record = PipelineRecord()
    for stage, age_ms in (("decode", 50.0), ("preprocess", 12.0), ("inference", 45.0)):
        record.add_timing(timing(stage, age_ms=age_ms))
    assert [each.stage for each in record.stages(1.0)] == ["preprocess", "inference", "decode"]


def test_a_process_over_all_its_windows() -> None:
    record = PipelineRecord()
    for number, memory_mib in enumerate((90.0, 120.0, 80.0)):
        begin_ns = number * 500_000_000
        hold = Hold(begin_ns, 40.0, 1.0)
        record.add_statistics(
            ProcessStatistics(
                ("/ai/decode",), 7, 1, begin_ns, begin_ns + 500_000_000, 250.0, memory_mib, 0, 0,
                holds=(hold,),
            )
        )  # fmt: skip
    (process,) = record.processes()
    assert process.cores == pytest.approx(0.5)
    assert process.memory_mib == 120.0
    assert (process.holds, process.held_ms) == (3, 120.0)
    assert [entry.end_ns for entry in record.latest_statistics()] == [1_500_000_000]


def test_too_many_timings_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipelineRecord, "MAX_TIMINGS", 2)
    record = PipelineRecord()
    for _ in range(5):
        record.add_timing(timing("decode"))
    assert (len(record.timings), record.not_kept) == (2, 3)


def test_names_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipelineRecord, "MAX_STAGES", 3)
    monkeypatch.setattr(PipelineRecord, "MAX_PROCESSES", 3)
    record = PipelineRecord()
    for number in range(5):
        for _ in range(2):
            record.add_timing(timing(f"stage{number}"))
            record.add_statistics(ProcessStatistics((), number, 1, 0, 1, 0.0, 1.0, 0, 0))
    assert [each.frames for each in record.stages(1.0)] == [2, 2, 2]
    assert len(record.processes()) == 3
    assert record.not_kept == 8


def test_drop_reasons_without_end_are_bounded() -> None:
    record = PipelineRecord()
    for number in range(40):
        record.add_timing(timing("decode", None, dropped=f"reason {number}"))
    record.add_timing(timing("decode", None, dropped="superseded"))
    record.add_timing(timing("decode", None, dropped="superseded"))
    (stage,) = record.stages(1.0)
    assert stage.drops["superseded"] == 2
    assert stage.drops["other"] == 9
    assert sum(stage.drops.values()) == 42


@pytest.mark.parametrize(
    ("reported", "is_here"), [(0.0, False), (1.0, True), (1.05, True), (2.0, False)]
)
def test_a_process_number_of_another_machine(reported: float, is_here: bool) -> None:
    resident_mib = ThreadMeter(os.getpid()).resident_mib()
    assert resident_mib is not None
    entry = ProcessStatistics(
        (), os.getpid(), clock_id(), 0, 1, 0.0, reported * resident_mib, 0, 0
    )  # fmt: skip
    assert _is_here(entry) == is_here
