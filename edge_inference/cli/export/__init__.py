"""``edge-inference export``: what a robot does, passed on to other programs."""
