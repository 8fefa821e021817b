"""The same network in another precision: ONNX in, ONNX out."""
