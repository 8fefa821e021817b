"""Accuracy against latency, size and energy, and the choice of an operating point by them."""
