"""Write docs/images/annotated-frame.jpg: an image with the objects that NanoDet finds in it.

``python scripts/annotated_frame.py`` writes the file; docs/images/NOTICE.md has the licence.
"""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.image_file import read_image, write_jpeg
from edge_inference.core.models.model_search import find_model
from edge_inference.core.results.overlay import draw
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.observe.streaming.offline_results import confidence_of, find_offline_results

_ROOT = Path(__file__).parents[1]
SOURCE = _ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg"
FILE = _ROOT / "docs" / "images" / "annotated-frame.jpg"


def draw_frame() -> Frame:
    """Return the image with its detections."""
    model = find_model("nanodet")
    selection = prepare(EngineRequest(model, "ort", "fp32"))
    assert selection.backend is not None
    with selection.backend as engine:
        (found,) = find_offline_results(
            model, engine.infer, str(SOURCE), confidence=confidence_of(model)
        )
    return Frame.from_array(draw(read_image(SOURCE), found.result))


if __name__ == "__main__":
    write_jpeg(FILE, draw_frame())
    print(f"wrote {FILE}")
