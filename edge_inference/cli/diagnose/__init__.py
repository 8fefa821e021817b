"""``edge-inference diagnose``: what held the frames of a pipeline up."""
