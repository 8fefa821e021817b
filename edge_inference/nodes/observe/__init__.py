"""Nodes that observe a pipeline: latency, what holds it up, and the commands that look at it."""
