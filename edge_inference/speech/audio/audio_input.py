"""The interface of an audio input: it delivers blocks of one channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AudioBlock:
    """Samples of one channel, float32 [n] within -1..1.

    ``follows_gap``: samples before this block are missing.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    follows_gap: bool = False


class AudioInput(ABC):
    """An opened audio input.

    ``is_live`` inputs (devices) deliver samples in real time. ``origin`` is the file or device of
    the last block.
    """

    origin = ""
    is_live = False

    @abstractmethod
    def read(self) -> AudioBlock | None:
        """Return the next block; None at the end. Raises SourceError."""

    @abstractmethod
    def close(self) -> None:
        """Close the input; may be called twice."""
