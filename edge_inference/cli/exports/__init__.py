"""``edge-inference models new``: a model folder from an ONNX file."""
