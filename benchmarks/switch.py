"""What a live change of precision costs the images that flow meanwhile.

A camera publishes VGA images, more slowly than the pipeline could take them,
and the parameter precision of the inference node goes to and fro between fp32
and int8. A frame's age runs from its capture stamp to the end of decoding. It
is normal while nothing changes, in the slower of the two precisions. During a
switch is from the moment the parameter is set until a second after the new
engine is in service. First the int8 derived model is made, beside the pipeline;
from then on it is there.
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
_ALONE = 20
_AFTER_S = 1.0
_DRAIN_S = 1.0
_LOOK_S = 0.02
_DEADLINE_S = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("switch", argv, __doc__)
    switches, quiet_s = (4, 3.0) if report.quick else (20, 10.0)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["EDGE_INFERENCE_CACHE"] = cache
        _measure(report, switches, quiet_s)
    return report.finish()


def _measure(report: Report, switches: int, quiet_s: float) -> None:
    run = Run()
    try:
        rate = _LOAD * 1e9 / run.service_ns()
        report.figure("rate of the camera", rate, "Hz")
        with run.camera(rate):
            normal = _quiet(run, quiet_s)
            during_making = run.switch("int8")
            during = []
            for number in range(switches):
                during += run.switch("fp32" if number % 2 == 0 else "int8")
            run.switch("fp32")
            normal += _quiet(run, quiet_s)
        report.samples("age, normal", Samples(normal))
        report.samples("age while int8 is made", Samples(during_making))
        report.samples("age during a switch", Samples(during))
        lost, doubled = run.lost_and_doubled()
    finally:
        run.close()
    usual = Samples(normal).percentile(99)
    for what, ages in (("making", during_making), ("switch", during)):
        ratio = Samples(ages).percentile(99) / usual
        report.claim(f"p99-age-during-{what}-over-normal", ratio, at_most=_BOUND)
    report.claim("frames-lost", lost, at_most=0)
    report.claim("frames-doubled", doubled, at_most=0)


def _quiet(run: Run, seconds: float) -> list[int]:
    """Return the ages of some seconds without any change."""
    first = run.count()
    time.sleep(seconds)
    return run.ages(first)


class Run:
    """The pipeline in a container, with a camera, and what came of every image."""

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
        self._alone = OneAtATime(self._pipeline)
        self._pipeline.tap("/ai/inference_state", self._take_state)

    def service_ns(self) -> float:
        """Return how long an image takes that is alone in the pipeline."""
        found = Samples([self._alone(self._image) for _ in range(_ALONE)]).p50 * 1e6
        self._pipeline.listen(self._take_result)
        return found

    @contextmanager
    def camera(self, rate: float) -> Iterator[None]:
        """Publish images at a rate, then wait until the last has come out."""
        stop = threading.Event()

        def shoot() -> None:
            due = time.monotonic()
            while not stop.is_set():
                stamp = self._pipeline.now_ns()
                frame = Frame.from_array(self._image.copy(), "bgr8", stamp, "camera")
                self._sent.append(stamp)
                self._pipeline.publish(frame)
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))

        thread = threading.Thread(target=shoot)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            time.sleep(_DRAIN_S)

    def switch(self, precision: str) -> list[int]:
        """Change the precision; return the ages from then until a second after it is in force."""
        first = self.count()
        self._inference.set_parameters([Parameter("precision", value=precision)])
        deadline = time.monotonic() + _DEADLINE_S
        while self._state is None or self._state.precision != precision:
            if time.monotonic() > deadline or (self._state and self._state.problem):
                raise RuntimeError(f"no {precision}: {self._state}")
            time.sleep(_LOOK_S)
        time.sleep(_AFTER_S)
        return self.ages(first)

    def count(self) -> int:
        """Return how many results have come."""
        return len(self._results)

    def ages(self, first: int) -> list[int]:
        """Return the ages of the results from a number on, in nanoseconds."""
        return [age for _, age in self._results[first:]]

    def lost_and_doubled(self) -> tuple[int, int]:
        """Compare what was sent with what came."""
        came = [stamp for stamp, _ in self._results]
        return len(set(self._sent) - set(came)), len(came) - len(set(came))

    def close(self) -> None:
        """Unload everything."""
        self._pipeline.close()

    def _take_result(self, result: Result) -> None:
        self._results.append((result.stamp_ns, self._pipeline.now_ns() - result.stamp_ns))

    def _take_state(self, state: InferenceState) -> None:
        self._state = state


if __name__ == "__main__":
    sys.exit(main())
