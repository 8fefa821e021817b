"""Measures the age of frames during a live change of precision.

A camera publishes VGA images at less than the maximum rate of the pipeline, and the parameter
``precision`` of the inference node alternates between fp32 and int8. The age of a frame is the
time from its capture stamp to the end of decoding. The normal age is measured without a
change, in the slower precision. A switch lasts from the change of the parameter until one
second after the new engine is in use. The first switch also builds the int8 derived model, in
the background; later switches reuse it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rclpy.parameter import Parameter

from benchmarks.perception import SIZES, ContainedPipeline, OneAtATime, make_image
from benchmarks.report import Report, Samples
from edge_inference.core.images.frame import Frame
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.results import Result

_LOAD = 0.6
_BOUND = 2.0
_SINGLE_IMAGES = 20
_AFTER_S = 1.0
_DRAIN_S = 1.0
_POLL_S = 0.02
_DEADLINE_S = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("switch", argv, __doc__)
    switches, normal_s = (4, 3.0) if report.quick else (20, 10.0)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["EDGE_INFERENCE_CACHE"] = cache
        _measure(report, switches, normal_s)
    return report.finish()


def _measure(report: Report, switches: int, normal_s: float) -> None:
    run = Run()
    try:
        rate = _LOAD * 1e9 / run.service_ns()
        report.figure("rate of the camera", rate, "Hz")
        with run.camera(rate):
            normal = _measure_unchanged(run, normal_s)
            during_build = run.switch("int8")
            during = []
            for number in range(switches):
                during += run.switch("fp32" if number % 2 == 0 else "int8")
            run.switch("fp32")
            normal += _measure_unchanged(run, normal_s)
        report.samples("age, normal", Samples(normal))
        report.samples("age while int8 is built", Samples(during_build))
        report.samples("age during a switch", Samples(during))
        lost, duplicated = run.lost_and_duplicated()
    finally:
        run.close()
    normal_p99 = Samples(normal).percentile(99)
    for name, ages in (("build", during_build), ("switch", during)):
        ratio = Samples(ages).percentile(99) / normal_p99
        report.claim(f"p99-age-during-{name}-over-normal", ratio, at_most=_BOUND)
    report.claim("frames-lost", lost, at_most=0)
    report.claim("frames-duplicated", duplicated, at_most=0)


def _measure_unchanged(run: Run, seconds: float) -> list[int]:
    """Return the ages of frames during some seconds without a change."""
    first = run.count()
    time.sleep(seconds)
    return run.ages(first)


class Run:
    """The pipeline in a container, with a camera, and the result of every image."""

    def __init__(self) -> None:
        self._image = make_image(*SIZES["VGA"])
        self._pipeline = ContainedPipeline()
        self._inference: Any = next(
            component.node
            for component in self._pipeline.container.components
            if component.full_name == "/ai/inference"
        )
        self._sent: list[int] = []
        self._results: list[tuple[int, int]] = []
        self._state: InferenceState | None = None
        self._one_at_a_time = OneAtATime(self._pipeline)
        self._pipeline.tap("/ai/inference_state", self._take_state)

    def service_ns(self) -> float:
        """Return the duration of a single image in the idle pipeline."""
        duration_ns = (
            Samples([self._one_at_a_time(self._image) for _ in range(_SINGLE_IMAGES)]).p50 * 1e6
        )
        self._pipeline.listen(self._take_result)
        return duration_ns

    @contextmanager
    def camera(self, rate: float) -> Iterator[None]:
        """Publish images at a rate, then wait for the last result."""
        stop = threading.Event()

        def publish() -> None:
            due = time.monotonic()
            while not stop.is_set():
                stamp = self._pipeline.now_ns()
                frame = Frame.from_array(self._image.copy(), "bgr8", stamp, "camera")
                self._sent.append(stamp)
                self._pipeline.publish(frame)
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            time.sleep(_DRAIN_S)

    def switch(self, precision: str) -> list[int]:
        """Change the precision; return the ages until one second after it is in use."""
        first = self.count()
        self._inference.set_parameters([Parameter("precision", value=precision)])
        deadline = time.monotonic() + _DEADLINE_S
        while self._state is None or self._state.precision != precision:
            if time.monotonic() > deadline or (self._state and self._state.problem):
                raise RuntimeError(f"no {precision}: {self._state}")
            time.sleep(_POLL_S)
        time.sleep(_AFTER_S)
        return self.ages(first)

    def count(self) -> int:
        """Return the number of results."""
        return len(self._results)

    def ages(self, first: int) -> list[int]:
        """Return the ages of the results from index ``first`` on, in nanoseconds."""
        return [age for _, age in self._results[first:]]

    def lost_and_duplicated(self) -> tuple[int, int]:
        """Return the numbers of lost and of duplicated frames."""
        received = [stamp for stamp, _ in self._results]
        return len(set(self._sent) - set(received)), len(received) - len(set(received))

    def close(self) -> None:
        """Unload the pipeline."""
        self._pipeline.close()

    def _take_result(self, result: Result) -> None:
        self._results.append((result.stamp_ns, self._pipeline.now_ns() - result.stamp_ns))

    def _take_state(self, state: InferenceState) -> None:
        self._state = state


if __name__ == "__main__":
    sys.exit(main())
