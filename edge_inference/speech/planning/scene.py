"""The scene: the objects on which enough of the last images agree.

An object in only one image may be an error of the model and is not reported.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.results import Classification, Detections
from edge_inference.core.runtime.capture_stamps import (
    FUTURE_TOLERANCE_NS,
    STAMP_IN_PAST,
    stamp_fault,
)
from edge_inference.core.settings import setting

_MAX_IMAGES = 100
#: Stored objects per image, best score first.
_MAX_OBJECTS = 300


@dataclass(frozen=True)
class SceneSettings:
    """Which results are reported."""

    max_age_s: float = setting(
        3.0, "age from which images do not count", unit="s", minimum=0.1, maximum=600.0
    )
    max_images: int = setting(
        5, "number of the latest images that count", minimum=1, maximum=_MAX_IMAGES
    )
    min_images: int = setting(
        2, "number of these images that must show an object", minimum=1, maximum=_MAX_IMAGES
    )
    min_score: float = setting(0.4, "lowest score of a result", minimum=0.0, maximum=1.0)

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        if self.min_images > self.max_images:
            return f"min_images: {self.min_images} is more than max_images, {self.max_images}"
        return None


@dataclass(frozen=True)
class SeenObjects:
    """Objects of one name; ``positions`` are horizontal, from 0 at the left to 1.

    None stands for an unknown position.
    """

    name: str
    positions: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class SceneView:
    """The scene at a point in time.

    ``image_count`` is the number of images that it is based on, and ``last_age_s`` the age of the
    last one, None without any. ``known_names`` are all names that the model can report, None if
    unknown. ``is_classification``: the results classify whole images.
    """

    seen: tuple[SeenObjects, ...] = ()
    image_count: int = 0
    last_age_s: float | None = None
    known_names: frozenset[str] | None = None
    is_classification: bool = False


@dataclass(frozen=True)
class _Image:
    time_ns: int
    found: Mapping[str, Sequence[tuple[float, float | None]]]  # by name: score, position

    def of(self, name: str, min_score: float) -> list[float | None]:
        return [at for score, at in self.found.get(name, ()) if score >= min_score]


class Scene:
    """Stores the last results. Not thread-safe.

    ``spoken_name`` returns the spoken name of a label.
    """

    def __init__(self, spoken_name: Callable[[str], str]) -> None:
        self._spoken_name = spoken_name
        self._images: deque[_Image] = deque(maxlen=_MAX_IMAGES)
        self._last_ns: int | None = None
        self._source: tuple[type, str] | None = None
        self._labels: tuple[str, ...] | None = None
        self._known: frozenset[str] | None = None

    def add(self, result: Detections | Classification, now_ns: int, *, all_labels: bool) -> None:
        """Add the result for one image; results of another model replace the earlier ones.

        ``all_labels``: the result has every class name of its model. Its time is the image's stamp,
        or ``now_ns`` if the stamp is invalid.
        """
        source = (type(result), result.model)
        if source != self._source:
            self._source = source
            self._images.clear()
        labels = result.labels if all_labels else None
        if labels is not self._labels:
            self._labels = labels
            self._known = None if labels is None else frozenset(map(self._spoken_name, labels))
        is_wrong = stamp_fault(result.stamp_ns, now_ns) not in ("", STAMP_IN_PAST)
        time_ns = now_ns if is_wrong else result.stamp_ns
        self._last_ns = time_ns
        self._images.appendleft(_Image(time_ns, self._group_by_name(result)))

    def view(self, now_ns: int, settings: SceneSettings) -> SceneView:
        """Return the objects that enough of the last images show."""
        if self._last_ns is None:
            return SceneView()
        oldest_ns = now_ns - int(settings.max_age_s * 1e9)
        latest_ns = now_ns + FUTURE_TOLERANCE_NS  # the clock may have been set back
        recent = [each for each in self._images if oldest_ns <= each.time_ns <= latest_ns]
        recent = recent[: settings.max_images]
        names = dict.fromkeys(name for each in recent for name in each.found)
        seen = (_find_agreement(name, recent, settings) for name in names)
        return SceneView(
            seen=tuple(each for each in seen if len(each)),
            image_count=len(recent),
            last_age_s=abs(now_ns - self._last_ns) / 1e9,
            known_names=self._known,
            is_classification=self._source is not None and self._source[0] is Classification,
        )

    def _group_by_name(
        self, result: Detections | Classification
    ) -> dict[str, list[tuple[float, float | None]]]:
        found: dict[str, list[tuple[float, float | None]]] = {}
        # Of a classification only the most likely class counts.
        most = 1 if isinstance(result, Classification) else _MAX_OBJECTS
        for i in range(min(most, len(result))):
            at = None if isinstance(result, Classification) else _position(result, i)
            name = self._spoken_name(result.label(i))
            found.setdefault(name, []).append((float(result.scores[i]), at))
        return found


def _position(result: Detections, index: int) -> float | None:
    width = result.source_width
    return float(result.boxes[index, 0] + result.boxes[index, 2]) / 2 / width if width else None


def _find_agreement(name: str, images: list[_Image], settings: SceneSettings) -> SeenObjects:
    """Return the number of objects that ``min_images`` images show, with their latest positions.

    Images are in order newest first, their results best first.
    """
    places = [each.of(name, settings.min_score) for each in images]
    counts = sorted(map(len, places), reverse=True)
    count = counts[settings.min_images - 1] if len(counts) >= settings.min_images else 0
    latest = next((each for each in places if len(each) >= count), [])[:count]
    known = sorted(at for at in latest if at is not None)
    positions: tuple[float | None, ...] = tuple(known) if len(known) == count else (None,) * count
    return SeenObjects(name, positions)


def count_by_side(seen: SeenObjects) -> Counter[str]:
    """Count objects by side, from left to right; empty if a position is unknown."""
    known = [at for at in seen.positions if at is not None]
    return Counter("left" if at < 1 / 3 else "right" if at > 2 / 3 else "ahead" for at in known)
