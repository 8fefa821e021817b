"""``edge-inference diagnose``: observes a pipeline for some seconds, and says what held it up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge_inference.cli.diagnose.diagnose_options import DiagnoseOptions
from edge_inference.cli.diagnose.diagnosis_output import write_json, write_text
from edge_inference.cli.diagnose.observation_recorder import ObservationRecorder
from edge_inference.cli.exit_status import EXIT_FAILED, print_error
from edge_inference.cli.sessions.live_session import LiveSession, open_live
from edge_inference.cli.sessions.pipeline_session import open_pipeline
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.observe.attribution.diagnosis import diagnose

if TYPE_CHECKING:
    from edge_inference.cli.sessions.pipeline_session import PipelineSession

#: The exit code where something held frames up.
EXIT_HELD_UP = 3
#: The first frames are slower: buffers are allocated, caches fill.
_WARM_UP_S = 1.5
#: How long the first timing may take.
_FIRST_S = 10.0


def diagnose_pipeline(options: DiagnoseOptions) -> int:
    """Diagnose a pipeline and write the result on stdout; return the exit code.

    0: nothing held frames up. 3: something did, or frames stopped coming. 1: no timings came. 130
    or 143: interrupted before there were any. Raises EdgeInferenceError where there is no pipeline,
    or it does not start.
    """
    options.check()
    name = options.pipeline or "the running pipeline"
    with _open(options) as session, catch_signals() as interrupted:
        recorder = ObservationRecorder(session)
        session.start()
        if not _observe(recorder, options, interrupted):
            if interrupted():
                return interrupted.exit_code
            print_error(
                f"{name}: no stage published its timings on {session.namespace}/stage_timing "
                f"within {_FIRST_S:.0f} s; check that its nodes are active and get data"
                f"{f' from {options.source}' if options.source else ''}, with `ros2 topic echo "
                "/diagnostics`"
            )
            return EXIT_FAILED
        observation = recorder.observation()
        has_ended = isinstance(session, LiveSession) and session.silent_s is not None
    result = diagnose(observation)
    if not result.frames:
        print_error(
            f"{name}: no timings of a stage that can be used came within {options.seconds:g} s: "
            + "; ".join(result.unknown)
        )
        return EXIT_FAILED
    write = write_json if options.json else write_text
    write(result, observation, session.namespace, sys.stdout)
    return EXIT_HELD_UP if result.findings or has_ended else 0


def _observe(
    recorder: ObservationRecorder, options: DiagnoseOptions, interrupted: Interrupt
) -> bool:
    """Wait for the window to end; False where no timing came."""
    poll_s = 0.1
    for _ in range(round(_FIRST_S / poll_s)):
        if recorder.has_begun.wait(poll_s) or interrupted():
            break
    if not recorder.has_begun.is_set():
        return False
    if options.pipeline and not interrupted.wait(_WARM_UP_S):
        recorder.clear()
    interrupted.wait(options.seconds)
    return True


@contextmanager
def _open(options: DiagnoseOptions) -> Iterator[LiveSession | PipelineSession]:
    on_message = partial(print_error)
    if not options.pipeline:
        with open_live("diagnose", options.namespace, on_message, verbose=options.verbose) as live:
            yield live
        return
    with open_pipeline(
        "diagnose",
        options.pipeline,
        options.pipeline_arguments(),
        on_message,
        params_file=options.params_file,
        verbose=options.verbose,
    ) as started:
        yield started
