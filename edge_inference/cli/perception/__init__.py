"""Runs the perception pipeline in the process of a command."""
