"""The platform manager, once a robot; ``config/pipelines/platform.yaml`` says what runs."""

from __future__ import annotations

from edge_inference.composition.launch_description import describe_pipeline
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Describe it."""
    return describe_pipeline("platform")
