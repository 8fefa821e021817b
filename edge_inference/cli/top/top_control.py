"""What the keys do."""

from __future__ import annotations

import sys
from dataclasses import replace

from edge_inference.cli.top.top_pages import PAGES, TopPlace, TopScreen

_QUIT = ("q", "Q", "interrupt")
_HELP = ("?", "h")
_LINES = {"j": 1, "down": 1, "k": -1, "up": -1}
_PAGES = {"page down": 1, "page up": -1}
_STEPS = {"tab": 1, "right": 1, "back tab": -1, "left": -1}


class TopControl:
    """Knows what the user looks at (``place``), and whether that is enough (``has_quit``)."""

    def __init__(self) -> None:
        self.place = TopPlace()
        self.has_quit = False
        self._page_height = 1

    def settle(self, screen: TopScreen) -> None:
        """Take over what a drawing has found: the height of the page, and the last offset."""
        self._page_height = max(1, screen.page_height)
        self._scroll(min(self.place.offset, screen.max_offset))

    def press(self, key: str) -> None:
        """Do what a key stands for; a key without a meaning does nothing."""
        place = self.place
        if key in _QUIT:
            self.has_quit = True
        elif key in _HELP:
            self.place = replace(place, shows_help=not place.shows_help, offset=0)
        elif key == "escape":
            self.place = replace(place, shows_help=False, offset=0)
        elif key == "p":
            self.place = replace(place, is_paused=not place.is_paused)
        elif key in _STEPS:
            self._open((place.page + _STEPS[key]) % len(PAGES))
        elif key in map(str, range(1, len(PAGES) + 1)):
            self._open(int(key) - 1)
        elif key in _LINES:
            self._scroll(place.offset + _LINES[key])
        elif key in _PAGES:
            self._scroll(place.offset + _PAGES[key] * max(1, self._page_height - 1))
        elif key in ("home", "g"):
            self._scroll(0)
        elif key in ("end", "G"):
            self._scroll(sys.maxsize)

    def _open(self, page: int) -> None:
        self.place = replace(self.place, page=page, offset=0, shows_help=False)

    def _scroll(self, offset: int) -> None:
        """Scroll to a line; ``settle`` corrects one that is too far."""
        self.place = replace(self.place, offset=max(offset, 0))
