"""What mends each cause: a sentence, and the parameter, key or option that it names."""

from __future__ import annotations

from edge_inference.core.runtime.capture_stamps import STAMP_ZERO
from edge_inference.observe.attribution.cause import Cause

#: Sentence and parameter of each cause.
_REMEDIES = {
    Cause.QUEUEING: (
        "lower the rate of the source, or make this stage faster; max_age_ms bounds how old a "
        "frame may be when it is processed",
        "max_age_ms",
    ),
    Cause.SLOW_PROCESSING: (
        "let this stage do less: a smaller model, smaller images or a lower rate of the source",
        "model",
    ),
    Cause.WAITING: (
        "look at what the stage waits for: a device, a file, the network or another thread; "
        "`py-spy dump` shows where it is",
        "",
    ),
    Cause.INTERPRETER_LOCK: (
        "move the node whose Python code runs meanwhile to a container of its own, under "
        "containers in the pipeline file",
        "containers",
    ),
    Cause.BUSY_CORE: (
        "reserve a core for the worker thread with cpu_affinity, raise its thread_priority, or "
        "run less beside it",
        "cpu_affinity",
    ),
    Cause.THROTTLING: (
        "cool the machine or allow it more power; with preset predictive the platform manager "
        "slows the pipeline down before the machine does",
        "preset",
    ),
    Cause.SLOW_SUBSCRIBER: (
        "let the callback only store the object and work in a thread of its own, or move the "
        "subscriber to another container, under containers in the pipeline file",
        "containers",
    ),
    Cause.PAGE_FAULTS: (
        "use buffers again instead of allocating for every frame, and keep memory from being "
        "swapped (`edge-inference platform tune`)",
        "platform tune",
    ),
    Cause.CLOCK: (
        "do not set the clock while the pipeline runs (let a time server slew it), and let all "
        "nodes and the source use the same clock: use_sim_time on all of them or on none",
        "use_sim_time",
    ),
    Cause.SLOW_CALLBACK: (
        "keep callbacks of the nodes in this process short, or move the node with the slow one "
        "to another container, under containers in the pipeline file",
        "containers",
    ),
    Cause.TRANSPORT: (
        "put both nodes into one container, under containers in the pipeline file, or send less; "
        "from a source, look at its driver and at the load of its process",
        "containers",
    ),
    Cause.LOST_MESSAGES: (
        "put both nodes into one container, under containers in the pipeline file, or send less",
        "containers",
    ),
    Cause.DROPS: (
        "see the errors of the node on /diagnostics and in its log",
        "",
    ),
    Cause.PROCESS_STOPPED: (
        "find what stops the process: a debugger, SIGSTOP, the freezer of its cgroup or a paused "
        "virtual machine",
        "",
    ),
}
#: Of the inference node.
_INFERENCE = {
    Cause.QUEUEING: (
        "choose a faster precision or a smaller model, let adapt_to_load switch to a faster "
        "variant, or lower the rate of the source",
        "adapt_to_load",
    ),
    Cause.SLOW_PROCESSING: (
        "choose a faster precision or backend (`edge-inference compare` shows them), more threads, "
        "or a smaller model",
        "precision",
    ),
    Cause.WAITING: (
        "other work on the device, or a remote server, delays the inference: raise "
        "stream_priority, or choose another backend",
        "stream_priority",
    ),
}
#: Of the nodes that receive images.
_IMAGES = {
    Cause.TRANSPORT: (
        "put the source into the same container, or send less: image_transport compressed, "
        "smaller images or a lower rate",
        "image_transport",
    ),
    Cause.LOST_MESSAGES: (
        "let publisher and subscriber be reliable (image_reliability), send less, or put the "
        "source into the same container",
        "image_reliability",
    ),
}
_BY_STAGE = {"inference": _INFERENCE, "preprocess": _IMAGES, "overlay": _IMAGES}
#: By reason of the drop.
_DROPS = {
    "too_old": (
        "frames were older than max_age_ms at the start of processing: mend what delays them, or "
        "raise max_age_ms",
        "max_age_ms",
    ),
    "rate_limited": (
        "the platform manager limits the rate: cool the machine, raise minimum_rate_hz, or set "
        "safety_critical for a node that must not be slowed down",
        "minimum_rate_hz",
    ),
    "no_image": (
        "results come later than the images that are kept for them: raise history",
        "history",
    ),
}
#: By what is wrong with the stamps.
_CLOCK = {
    STAMP_ZERO: (
        "let the driver set header.stamp; with use_sim_time start the simulator, or play the "
        "recording with --clock",
        "use_sim_time",
    ),
}
_BY_REASON = {Cause.DROPS: _DROPS, Cause.CLOCK: _CLOCK}


def find_remedy(cause: Cause, stage: str = "", reason: str = "") -> tuple[str, str]:
    """Return the sentence and the parameter for a cause in a stage; the parameter may be empty.

    ``reason`` is that of a drop, or the fault of the stamps.
    """
    by_reason = _BY_REASON.get(cause, {})
    if reason in by_reason:
        return by_reason[reason]
    return _BY_STAGE.get(stage, {}).get(cause, _REMEDIES[cause])


def all_remedies() -> list[tuple[str, str]]:
    """Return every sentence with its parameter."""
    of_causes = [remedy for table in (_REMEDIES, _INFERENCE, _IMAGES) for remedy in table.values()]
    of_reasons = [remedy for table in _BY_REASON.values() for remedy in table.values()]
    return of_causes + of_reasons
