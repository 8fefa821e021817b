"""``edge-inference top``: a monitor in the terminal."""
