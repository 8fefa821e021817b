"""What a source of sound gives: pieces of one channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AudioBlock:
    """Samples of one channel, float32 [n] within -1..1; ``follows_gap``: some before it are missing."""

    samples: NDArray[np.float32]
    sample_rate: int
    follows_gap: bool = False


class AudioInput(ABC):
    """An opened source of sound.

    ``is_live`` sources (devices) set the pace themselves. ``origin`` is the
    file or device that the last piece came from.
    """

    origin = ""
    is_live = False

    @abstractmethod
    def read(self) -> AudioBlock | None:
        """Return the next piece; None at the end. Raises SourceError."""

    @abstractmethod
    def close(self) -> None:
        """Free the source; may be called twice."""
