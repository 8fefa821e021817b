"""Nodes from a microphone to velocities."""
