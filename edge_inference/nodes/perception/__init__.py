"""Nodes from a camera to detections."""
