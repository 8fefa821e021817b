"""``edge-inference profile``: where the time of a model or a pipeline goes."""
