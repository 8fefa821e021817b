"""The perception pipeline; ``config/pipelines/perception.yaml`` lists the nodes."""

from __future__ import annotations

from edge_inference.composition.launch_description import describe_pipeline
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return describe_pipeline("perception", has_dashboard=True)
