"""Accuracy and latency in one figure: what a robot knows at each instant, scored on a recording."""
