"""Pruning: channels removed, weights set to zero, and what the machine gains from it."""
