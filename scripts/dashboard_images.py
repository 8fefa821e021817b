"""Write docs/images/dashboard*: the dashboard's page with a pipeline on this machine.

``python scripts/dashboard_images.py`` runs the pipeline on the golden images of nanodet, which are
free to use, for a minute and a half. It needs Chromium with a font, and the packages of the extra
dashboard.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chromium_page import ChromiumPage, find_chromium, open_chromium
from benchmarks.live_dashboard import live_dashboard
from benchmarks.programs import run_program
from benchmarks.ros_domain import reserve_domain

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
GOLDEN = ROOT / "models" / "nanodet" / "golden"
TARGETS = """\
name: images
scenarios:
  vision:
    pipeline: perception
    targets:
      - {what: age_ms, where: decode, statistic: p99, max: 100}
      - {what: rate_hz, where: decode, min: 10}
      - {what: memory_mib, max: 500}
      - {what: power_w, max: 20, required: false}
"""
# So much history is worth looking at.
HISTORY_S = 90
# Name, width, height, theme, and the panel at the top.
VIEWS = (
    ("dashboard.png", 1280, 1150, "light", None),
    ("dashboard-image.jpg", 1280, 800, "dark", "image"),
    ("dashboard-phone.png", 360, 800, "dark", None),
)


def main() -> int:
    """Write the images; return the exit code."""
    chromium = find_chromium()
    if chromium is None:
        print("Chromium is not installed: apt-get install chromium fonts-dejavu-core")
        return 1
    domain, lock = reserve_domain()
    with (
        lock,
        tempfile.TemporaryDirectory() as folder,
        run_program("component_container", pipeline_arguments(Path(folder)), domain),
        live_dashboard(domain) as address,
        open_chromium(chromium, Path(folder)) as page,
    ):
        page.open(address)
        page.wait_for("document.getElementById('status').textContent === 'observing'")
        page.click("#image-on")
        time.sleep(HISTORY_S)
        for view in VIEWS:
            save(page, *view)
    return 0


def pipeline_arguments(folder: Path) -> list[str]:
    """Return the arguments of the container; its file of targets is written into ``folder``."""
    targets = folder / "targets.yaml"
    targets.write_text(TARGETS)
    values = (f"source:={GOLDEN}", "loop:=true", "rate:=15", f"targets:={targets}")
    values += ("deadline_ms:=100",)
    words = [word for value in values for word in ("--argument", value)]
    return ["--pipeline", "perception", *words]


def save(
    page: ChromiumPage, name: str, width: int, height: int, theme: str, panel: str | None
) -> None:
    """Save what a screen shows."""
    page.show_as(width, height, theme)
    place = f"document.getElementById('{panel}')" if panel else "document.body"
    page.run(f"{place}.scrollIntoView({{ behavior: 'instant' }})")
    time.sleep(2)  # two more updates, in the new size
    page.save_image(IMAGES / name)
    print(f"{name}: {(IMAGES / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    sys.exit(main())
