"""Compares the perception pipeline in a container with a bare loop of the functions it calls.

Each image is published after the result of the previous one, so that
both sides process one image at a time and the difference is the cost of nodes,
bus, threads, checks, timings and diagnostics. Both run NanoDet in ONNX
Runtime with one thread, in the same process, alternating after a few images.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from benchmarks.perception import SIZES, BareLoop, ContainedPipeline, OneAtATime, make_image
from benchmarks.report import Report, Samples
from benchmarks.sides import domains, isolation
from edge_inference.core.images.frame import Frame

_BLOCK = 2
_WARM_UP = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("pipeline", argv, __doc__)
    os.environ.update(isolation(*domains(1)))
    blocks = 100 if report.quick else 750
    pipeline, bare = ContainedPipeline(), BareLoop()
    one_at_a_time = OneAtATime(pipeline)
    for name, (width, height) in SIZES.items():
        ours, plain = _measure(one_at_a_time, bare, width, height, blocks)
        report.samples(f"{name}, pipeline, publish to result", ours)
        report.samples(f"{name}, bare loop", plain)
        report.figure(f"{name}, difference of the medians", ours.p50 - plain.p50, "ms")
        report.claim(f"pipeline-{name}-p50-of-bare-loop", ours.p50 / plain.p50, at_most=1.10)
        p99 = ours.percentile(99) / plain.percentile(99)
        report.claim(f"pipeline-{name}-p99-of-bare-loop", p99, at_most=1.5)
    pipeline.close()
    bare.close()
    return report.finish()


def _measure(
    pipeline: OneAtATime, bare: BareLoop, width: int, height: int, blocks: int
) -> tuple[Samples, Samples]:
    image = make_image(width, height)
    frame = Frame.from_array(image)
    for _ in range(_WARM_UP):
        pipeline(image)
        bare(frame)
    ours: list[int] = []
    plain: list[int] = []
    for _ in range(blocks):
        ours += [pipeline(image) for _ in range(_BLOCK)]
        for _ in range(_BLOCK):
            started = time.perf_counter_ns()
            bare(frame)
            plain.append(time.perf_counter_ns() - started)
    return Samples(ours), Samples(plain)


if __name__ == "__main__":
    sys.exit(main())
