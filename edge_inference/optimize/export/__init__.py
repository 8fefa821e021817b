"""From a PyTorch model to an ONNX file and a model folder."""
