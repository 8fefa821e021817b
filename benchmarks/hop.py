"""Measures one image from one node to the next in the same process, compared with stock rclpy.

"Stock" is two rclpy nodes on one executor and a ``sensor_msgs/Image`` whose data is
an ``array.array`` that was filled before (the fastest safe way), timed from
the call of ``publish`` to the entry of the callback. "Ours" is two nodes of a
container, timed in the same way, and also up to a worker thread as in a stage.

With a subscriber in another process, both sides use the shipped Fast
DDS profile, like launched nodes. The claims are again about publish to callback,
in the same process and in the other one. The latter is counted from the pixels,
because our ``publish`` makes the message itself, while in stock the caller fills it.
The duration of the ``publish`` call is reported too.

The claims compare with stock in its default configuration: SingleThreadedExecutor, the C library's
default allocator. Each side runs in its own process, because a container tunes the
allocator of its process; stock with that tuning and with the EventsExecutor is
measured too. The default allocator takes 2 or 11 ms for 1080p, depending on the state of
its thresholds, so the ratio to the fastest stock is reported too.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks.hop_sides import ContainerHop, Outside, StockHop, Times
from benchmarks.report import Report, Samples
from benchmarks.sides import Side, domains, shared_memory

_SIZES = {"1080p": (1920, 1080), "VGA": (640, 480)}
_BLOCK = 10
_CLAIM_SIZE = "1080p"
_CLAIM_INSIDE = "by reference, callback"
_CLAIMS_OUTSIDE = ("callback inside", "callback outside")
_STOCK = {
    "stock": ("single", False),
    "stock, tuned allocator": ("single", True),
    "stock, events executor": ("events", False),
    "stock, events executor and tuned allocator": ("events", True),
}

#: Durations in nanoseconds by the name of the measurement.
Durations = Mapping[str, Sequence[int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("hop", argv, __doc__)
    inside_rounds, outside_rounds = (10, 60) if report.quick else (60, 300)
    for name, (width, height) in _SIZES.items():
        times = _inside(width, height, inside_rounds)
        found = {what: Samples(durations) for what, durations in times.items()}
        for what, samples in found.items():
            report.samples(f"{name} rgb8, {what}", samples)
        fastest = min(found[what].p50 for what in _STOCK)
        for what in ("by reference, callback", "by reference, worker thread"):
            ratio = found[what].p50 / found["stock"].p50
            report.figure(f"{name} {what}, ratio to the fastest stock", found[what].p50 / fastest)
            if (name, what) == (_CLAIM_SIZE, _CLAIM_INSIDE):
                report.claim(f"hop-{name}-{_slug(what)}-of-stock", ratio, at_most=0.01)
            else:
                report.figure(f"{name} {what}, ratio to stock", ratio)
        _report_outside(report, name, _outside(width, height, outside_rounds))
    return report.finish()


def _inside(width: int, height: int, rounds: int) -> Durations:
    """Measure all sides in turn, in blocks, without a subscriber in another process."""
    times: dict[str, list[int]] = defaultdict(list)
    with ExitStack() as stack:
        free = domains(len(_STOCK) + 1)
        stock = {
            what: stack.enter_context(Side(free.pop(), StockHop, width, height, *settings))
            for what, settings in _STOCK.items()
        }
        ours = stack.enter_context(Side(free.pop(), ContainerHop, width, height))
        for number in range(rounds + 1):
            for what, side in stock.items():
                block: list[Times] = side.ask("run", _BLOCK)
                times[what] += [hop.received - hop.started for hop in block]
            for what, through_thread in (("callback", False), ("worker thread", True)):
                block = ours.ask("run", _BLOCK, through_thread)
                times[f"by reference, {what}"] += [hop.received - hop.started for hop in block]
            if number == 0:
                times.clear()  # the first blocks warm up caches and pools
    return times


def _outside(width: int, height: int, rounds: int) -> Durations:
    """Measure image by image, each side with a stock subscriber in another process."""
    times: dict[str, list[int]] = defaultdict(list)
    profile = shared_memory()
    with ExitStack() as stack:
        first, second = domains(2)
        pairs = [
            (
                name,
                stack.enter_context(Side(domain, factory, width, height, environment=profile)),
                stack.enter_context(Side(domain, Outside, environment=profile)),
            )
            for name, domain, factory in (
                ("stock", first, StockHop),
                ("by reference", second, ContainerHop),
            )
        ]
        for _, side, _ in pairs:
            side.ask("wait_for_outside")
        for number in range(rounds + 1):
            for name, side, outside in pairs:
                hop: Times = side.ask("run", 1, name == "stock")[0]
                arrived: int = outside.ask("wait", hop.stamp)
                times[f"{name}: callback inside"].append(hop.received - hop.started)
                times[f"{name}: call of publish"].append(hop.returned - hop.started)
                times[f"{name}: pixels to published"].append(hop.returned - hop.prepared)
                times[f"{name}: callback outside"].append(arrived - hop.prepared)
            if number == 0:
                times.clear()
    return times


def _report_outside(report: Report, size: str, times: Durations) -> None:
    found = {what: Samples(durations) for what, durations in times.items()}
    for what, samples in found.items():
        report.samples(f"{size} rgb8 with a subscriber outside, {what}", samples)
    for what in ("callback inside", "pixels to published", "call of publish", "callback outside"):
        ratio = found[f"by reference: {what}"].p50 / found[f"stock: {what}"].p50
        if size == _CLAIM_SIZE and what in _CLAIMS_OUTSIDE:
            report.claim(f"hop-{size}-outside-subscriber-{_slug(what)}-of-stock", ratio, at_most=1)
        else:
            report.figure(f"{size} with a subscriber outside, {what}, ratio to stock", ratio)


def _slug(text: str) -> str:
    return text.replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
