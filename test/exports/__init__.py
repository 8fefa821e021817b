"""Graphs with the names, shapes, types and metadata of real exporters, as far as they matter.

Each finds the red and the blue squares of an image, and understands no other color order,
normalization or size than the real model.
"""
