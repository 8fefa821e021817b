"""Nodes from a camera to detections, and the latency node."""
