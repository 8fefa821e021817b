"""The parameters of the audio source."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting


@dataclass(frozen=True)
class AudioSourceSettings:
    """Parameters of the audio source."""

    source: str = setting(
        "device",
        "sound file, folder of sound files, device (the default input) or device:<name or number>",
    )
    pause_s: float = setting(
        1.0,
        "silence after each file, in which a speaker is heard to have ended",
        unit="s",
        minimum=0.0,
        maximum=600.0,
    )
    loop: bool = setting(False, "start over at the end")
    frame_id: str = setting("microphone", "frame_id in the header of every chunk")
