"""Targets of a pipeline, and whether measurements meet them."""
