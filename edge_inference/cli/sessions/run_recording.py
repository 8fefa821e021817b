"""Records a pipeline that a command runs into an MCAP file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.sessions.pipeline_session import PipelineSession
from edge_inference.core.disk import check_new_file
from edge_inference.observe.recording.mcap_library import check_mcap
from edge_inference.observe.recording.mcap_recorder import McapRecorder, RecordingSummary

_RECORDER = "edge_inference.nodes.observe.run_recorder::RunRecorder"


class RunRecording:
    """The recording of a run; made by :func:`load_recorded`."""

    def __init__(
        self,
        session: PipelineSession,
        file: str,
        with_images: bool,
        on_problem: Callable[[str], None],
    ) -> None:
        self._node: Any = session.container.load(_RECORDER, ()).node
        self._recorder = McapRecorder(Path(file), on_problem)
        self._node.start(self._recorder, with_images)
        if with_images and (images := _topic_from_outside(session)):
            self._node.subscribe_to_images(*images, lambda error: on_problem(str(error)))

    def discard(self) -> None:
        """Stop, and remove the file."""
        self._node.stop()
        self._recorder.discard()

    def finish(self) -> RecordingSummary:
        """Complete the file, and return its figures; may be called again."""
        self._node.stop()
        return self._recorder.close()


def load_recorded(
    session: PipelineSession,
    file: str | None,
    with_images: bool,
    on_problem: Callable[[str], None],
) -> RunRecording | None:
    """Load a pipeline; where a file is named, record what it publishes from its first message on.

    ``on_problem`` gets sentences, from any thread. Raises ConfigError where the file cannot be made
    or the pipeline does not load; no file is left then.
    """
    if file is None:
        session.load()
        return None
    recording = RunRecording(session, file, with_images, on_problem)
    try:
        session.load()
    except BaseException:
        recording.discard()
        raise
    return recording


def check_recording(file: str | None, with_images: bool) -> None:
    """Check the options.

    Raises UsageError for images without a file, and ConfigError for a file that is unusable or
    where the mcap library is missing.
    """
    if file is not None:
        check_mcap()
        check_new_file(Path(file), "--mcap")
    elif with_images:
        raise UsageError("--mcap-images is for --mcap; name the file to record into")


def _topic_from_outside(session: PipelineSession) -> tuple[str, bool] | None:
    """Return the topic of the images, and whether they are compressed, without an own source."""
    components = {each.name: each for each in session.pipeline.components}
    if "preprocess" not in components or "media_source" in components:
        return None
    preprocess = components["preprocess"]
    is_compressed = preprocess.parameters.get("image_transport") == "compressed"
    topic = preprocess.remappings["image_raw"]
    return (f"{topic}/compressed" if is_compressed else topic), is_compressed
