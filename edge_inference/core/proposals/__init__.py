"""Proposes the description of a model from its ONNX file, for ``edge-inference models new``."""
