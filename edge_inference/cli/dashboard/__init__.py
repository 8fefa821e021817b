"""``edge-inference dashboard``: the robot in a browser."""
