"""Derived models, TensorRT builds, the artifact cache, and engines in service."""
