"""Nodes together in one process: the by-reference bus, the container, pipeline descriptions."""
